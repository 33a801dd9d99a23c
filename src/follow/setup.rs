//! `stream setup`: slot, publications, sentinel and origin, each found again by a second call.
//!
//! Runs in the main program as a leaf.

use super::files::CdcDir;
use super::origin;
use super::slot::{self, Made, Means, SlotSettings};
use crate::catalog::{CdcSetup, Ledger, Sentinel};
use crate::conninfo::ConnInfo;
use crate::error::{Error, Result};
use crate::pg::{Canceller, Link, Profile, Token, application_name, retry};
use crate::units::{Lsn, Side};
use crate::wire;
use crate::workdir::Layout;
use std::time::Duration;

/// Title of the sessions.
const TITLE: &str = "stream setup";

/// What to set up.
pub struct SetupSettings {
    /// The source.
    pub source: ConnInfo,
    /// The target.
    pub target: ConnInfo,
    /// The work directory, which is ours while this runs.
    pub layout: Layout,
    /// The folder of change data.
    pub cdc: CdcDir,
    /// The slot.
    pub slot: SlotSettings,
    /// Name of the origin on the target.
    pub origin: String,
    /// Where to stop.
    pub endpos: Option<Lsn>,
}

/// The link to a side: its first endpoint that answers.
pub fn link(conn: &ConnInfo, side: Side, title: &str) -> Result<Link> {
    link_within(retry::FIRST_CONNECT_BUDGET, conn, side, title)
}

/// The same, trying for so long.
pub fn link_within(budget: Duration, conn: &ConnInfo, side: Side, title: &str) -> Result<Link> {
    let what = format!("connect to the {side} at {}", conn.safe_uri());
    let name = application_name(title);
    let (session, pin) = retry::with_backoff(budget, &what, &wire::stop_requested, || {
        wire::Session::connect(conn, side, &name, &[])
    })?;
    session.close();
    Ok(Link {
        conn: conn.pinned(&pin),
        pin,
        side,
    })
}

/// Sets everything up. Blocks.
pub fn run(settings: &SetupSettings, canceller: &Canceller) -> Result<()> {
    if run_holding(settings, canceller)?.holder.is_some() {
        log::warn!(
            "The snapshot of the replication slot ends with this command; for a copy that changes \
             can be applied to, hold it with \"pgcopydb snapshot --follow\""
        );
    }
    Ok(())
}

/// The same, and gives the session that holds the snapshot of a slot that was made just now.
pub fn run_holding(settings: &SetupSettings, canceller: &Canceller) -> Result<Made> {
    let mut ledger = Ledger::open(&settings.layout.ledger())?;
    let before = Sentinel::read(ledger.connection())?;
    if before.is_some() && !settings.slot.resume {
        return Err(
            Error::bad_state("the stream was set up before in this work directory").hint(
                "Use --resume to go on with it, or \"pgcopydb stream cleanup\" to remove it.",
            ),
        );
    }
    let source = link(&settings.source, Side::Source, TITLE)?;
    let target = link(&settings.target, Side::Target, TITLE)?;
    let mut session = target.session(TITLE, &Profile::TargetPlain)?;
    let _registered = canceller.register(Token::from_session(&session));
    // Whether the origin can be made is known before anything is left on the source.
    origin::check(&mut session, &ledger, &settings.origin)?;
    let means = Means {
        link: &source,
        cdc: &settings.cdc,
        title: TITLE,
        canceller,
    };
    let made = slot::make(&means, &mut ledger, &settings.slot)?;
    let file = &made.file;
    CdcSetup::put(&mut ledger, &[("source_uri", &settings.source.safe_uri())])?;
    if before.is_some() {
        log::info!("Skipping creation of pgcopydb.sentinel (--resume)");
    } else {
        let endpos = settings.endpos.unwrap_or_default();
        Sentinel::create(&mut ledger, file.lsn, endpos)?;
    }
    origin::set_up(
        &mut session,
        &mut ledger,
        &settings.cdc,
        &settings.origin,
        file.lsn,
    )?;
    Ok(made)
}

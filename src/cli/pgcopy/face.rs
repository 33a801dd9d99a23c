//! How `pgcopy` shows a run: log lines, two lines above them, the whole screen, events for programs.
//!
//! `draw` runs in the progress process, the rest in the main program.

use super::super::environment::Environment;
use crate::datacopy::{Drawing, Face, Presentation, Show};
use crate::error::Result;
use crate::report::rows::events::Stream;
use crate::report::rows::{self, Canvas};
use crate::sys::{proc, terminal};
use std::path::PathBuf;
use std::time::Duration;

/// The face of the program.
pub(in crate::cli) const FACE: Face = Face { draw, leave };

fn draw(drawing: &Drawing, nap: &dyn Fn(Duration) -> Result<()>) -> Result<()> {
    let canvas = Canvas {
        ledger: drawing.ledger.clone(),
        run: drawing.run,
        log: drawing.presentation.log.clone(),
        colour: drawing.presentation.colour,
    };
    match drawing.presentation.show {
        Show::Plain => rows::plain_loop(&canvas, nap),
        Show::Progress => rows::two_lines_loop(&canvas, nap),
        Show::Interactive => rows::screen_loop(&canvas, nap),
        Show::Json => stream(&drawing.presentation).follow((&drawing.ledger, drawing.run), nap),
    }
}

fn leave(drawing: &Drawing) {
    match drawing.presentation.show {
        Show::Plain => {}
        Show::Progress => rows::leave_region(),
        Show::Interactive => rows::leave_screen(),
        Show::Json => {
            let stream = stream(&drawing.presentation);
            if drawing.run != 0
                && let Err(error) = stream.finish(&drawing.ledger, drawing.run)
            {
                log::warn!("Events may be missing: {error}");
            }
        }
    }
}

/// The events of this invocation.
pub(super) fn stream(presentation: &Presentation) -> Stream {
    Stream {
        name: presentation.stream.clone(),
    }
}

/// What was asked for, or log lines where the terminal cannot show it.
pub(in crate::cli) fn present(
    show: Show,
    environment: &Environment,
    log: Option<PathBuf>,
) -> Presentation {
    let term = environment.get("TERM").unwrap_or_default();
    let wants_terminal = matches!(show, Show::Progress | Show::Interactive);
    let show = match terminal::obstacle(&term) {
        Some(why) if wants_terminal => {
            crate::notice!("Progress is shown as log lines, as {why}");
            Show::Plain
        }
        _ => show,
    };
    let no_colour = environment
        .get("NO_COLOR")
        .is_some_and(|value| !value.is_empty());
    Presentation {
        show,
        log: log.map(|path| {
            let size = rows::size_of(&path);
            (path, size)
        }),
        stream: proc::random_uuid(),
        colour: !no_colour,
    }
}

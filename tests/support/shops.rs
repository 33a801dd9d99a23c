//! The databases of `tests/data/datacopy.sql`, for tests of `pgcopy`.

use std::path::Path;
use std::sync::Once;

use nix::sys::signal::Signal;

use super::program::{signal, start_program};
use super::{Output, Pair, Running, WorkDir, pair};

static ROLES: Once = Once::new();

/// Two databases with the tables of `datacopy.sql`, owned by role app; rows in the source, and other, older
/// ones in the target.
pub fn shops() -> Pair {
    let pair = pair();
    ROLES.call_once(|| {
        for cluster in [pair.from, pair.to] {
            cluster.sql("postgres", "create role app login; create role boss login; create role guest login in role app");
        }
    });
    for cluster in [pair.from, pair.to] {
        let owner = format!("alter database {} owner to app", pair.db);
        cluster.sql("postgres", &owner);
        let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/datacopy.sql");
        let text = std::fs::read_to_string(file).unwrap();
        cluster.sql(&pair.db, &format!("set role app; {text}"));
    }
    pair.load("datacopy-rows.sql");
    pair.in_target(
        "set session_replication_role = replica;
         insert into shop.customer select i, 'old', 'sad', 1 from generate_series(1, 99) i;
         insert into shop.customer values (100001, 'gone on the source', 'sad', 1);
         insert into audit.trail select i, 1 + i from generate_series(1, 25) i;
         insert into shop.empty values (1, 1); insert into audit.plain_3 values (1, 'old');",
    );
    pair
}

impl Pair {
    pub fn pgcopy(&self, command: &str, work: &WorkDir, more: &[&str]) -> Output {
        let mut all = vec![command.to_owned(), "--dir".to_owned(), work.dir()];
        if command == "copy" {
            let source = self.from.uri_as(&self.db, "app", "");
            all.extend(["--source".to_owned(), source]);
        }
        let target = self.to.uri_as(&self.db, "app", "");
        all.extend(["--target".to_owned(), target]);
        all.extend(more.iter().map(|word| (*word).to_owned()));
        let words: Vec<&str> = all.iter().map(String::as_str).collect();
        start_program("pgcopy", &words).wait()
    }

    pub fn copy(&self, work: &WorkDir, more: &[&str]) -> Output {
        self.pgcopy("copy", work, &[&["--yes"], more].concat())
    }

    /// The target's schema, with what a dump does not show of keys and triggers.
    pub fn target_schema(&self) -> String {
        let keys = self.in_target(
            "select c.conrelid::regclass || ' ' || c.conname || ' ' || pg_get_constraintdef(c.oid) || ' ' ||
                    coalesce((select p.conname from pg_constraint p where p.oid = c.conparentid), '-') || ' ' ||
                    c.convalidated || c.conislocal || c.coninhcount || c.condeferrable || ' ' ||
                    coalesce(obj_description(c.oid), '')
               from pg_constraint c left join pg_constraint p on p.oid = c.conparentid
              where c.contype = 'f' and (p.oid is null or p.confrelid = c.confrelid) order by 1",
        );
        let triggers = self.in_target(
            "select tgrelid::regclass || ' ' || tgname || ' ' || tgenabled::text from pg_trigger
              where not tgisinternal order by 1",
        );
        format!("{}\n{keys}\n{triggers}", self.to.dump_schema(&self.db))
    }
}

/// A table whose rows wait at the gate of the target; app owns it on both sides.
const GATE: &str = "set role app;
    create function shop.gate(i integer) returns boolean language plpgsql immutable as
        'begin perform pg_catalog.pg_advisory_xact_lock_shared(42); return true; end';
    create table shop.gated (id integer primary key, customer integer references shop.customer, check (shop.gate(id)));";

/// Shops with a gate, which the rows of one table stand at.
pub fn gated_shops() -> Pair {
    let pair = shops();
    pair.in_source(GATE);
    pair.in_target(GATE);
    pair.in_source("insert into shop.gated select i, i from generate_series(1, 100) i");
    pair
}

impl Pair {
    pub fn start_copy(&self, work: &WorkDir, more: &[&str]) -> Running {
        let source = self.from.uri_as(&self.db, "app", "");
        let target = self.to.uri_as(&self.db, "app", "");
        let dir = work.dir();
        let all = ["copy", "-s", &source, "-t", &target, "--dir", &dir, "--yes"];
        start_program("pgcopy", &[&all[..], more].concat())
    }

    pub fn keys(&self) -> u32 {
        self.in_target("select count(*) from pg_constraint where contype = 'f' and conparentid = 0")
            .parse()
            .unwrap()
    }

    /// Everything that the target holds.
    pub fn target_state(&self) -> String {
        let rows = self.in_target(
            "select string_agg(format('%s %s', t, (xpath('/row/h/text()', query_to_xml(format(
                'select count(*) || md5(coalesce(string_agg(x::text, '','' order by x::text), '''')) as h
                   from only %s x', t), true, true, '')))[1]::text), chr(10) order by t::text)
               from (select c.oid::regclass as t from pg_class c join pg_namespace n on n.oid = relnamespace
                      where relkind = 'r' and nspname !~ '^pg_' and nspname <> 'information_schema') s",
        );
        format!("{rows}\n{}", self.target_schema())
    }
}

/// kill -9 of every process of a run.
pub fn kill_all(run: &Running) {
    let mut all = run.children();
    all.push(run.pid());
    for pid in all {
        signal(pid, Signal::SIGKILL);
    }
}

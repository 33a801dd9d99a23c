//! A clone done by hand, command by command: in any of the ways to read the source, killed at each step,
//! and each command for itself.

use nix::sys::signal::Signal::{SIGINT, SIGKILL, SIGTERM};

use crate::clone::CONFIG;
use crate::support::servers::{GATED, GATED_INDEX, lonely_pair};
use crate::support::{Output, PATIENCE, Pair, Running, WorkDir, run, start, within};

pub const RESUME: [&str; 2] = ["--resume", "--not-consistent"];
pub const SPLIT: [&str; 2] = ["--split-tables-larger-than", "200kB"];

/// The manual recipe, as it is typed after the program's name.
const RECIPE: [&str; 9] = [
    "dump schema",
    "restore pre-data",
    "copy extensions",
    "copy table-data",
    "copy blobs",
    "copy sequences",
    "copy indexes",
    "copy constraints",
    "restore post-data",
];

/// A source with something for each step.
const SOURCE: &str = "
    create extension hstore;
    create table big (id integer primary key, t text);
    insert into big select i, repeat(md5(i::text), 5) from generate_series(1, 5000) i;
    create index big_t on big (t); cluster big using big_t; comment on index big_t is 'of texts';
    create table small (id integer generated always as identity primary key,
                        big integer references big, t text unique);
    insert into small (big, t) select i, 'row ' || i from generate_series(1, 40) i;
    create table parted (k text, v integer, primary key (k)) partition by hash (k);
    create table parted_0 partition of parted for values with (modulus 2, remainder 0);
    create table parted_1 partition of parted for values with (modulus 2, remainder 1);
    insert into parted select 'key ' || i, i from generate_series(1, 500) i;
    create view seen as select * from small;
    create materialized view counted as select count(*) as n from big;
    create sequence s; select setval('s', 77);
    select lo_from_bytea(40000 + i, 'object ' || i::text::bytea) from generate_series(1, 20) i;";

impl Pair {
    /// The words of a command with the sides that it takes.
    pub fn step(&self, work: &WorkDir, command: &str, more: &[&str]) -> Vec<String> {
        let mut words: Vec<String> = command.split(' ').map(str::to_owned).collect();
        let group = words[0].clone();
        if group != "restore" {
            words.extend(["--source".to_owned(), self.source()]);
        }
        if matches!(group.as_str(), "restore" | "copy") {
            words.extend(["--target".to_owned(), self.target()]);
        }
        words.extend(["--dir".to_owned(), work.dir()]);
        words.extend(more.iter().map(|&word| word.to_owned()));
        words
    }

    pub fn start_step(&self, work: &WorkDir, command: &str, more: &[&str]) -> Running {
        let words = self.step(work, command, more);
        start(&words.iter().map(String::as_str).collect::<Vec<_>>())
    }

    /// Runs a command to its end.
    pub fn does(&self, work: &WorkDir, command: &str, more: &[&str]) -> Output {
        self.start_step(work, command, more).wait()
    }

    /// Runs the whole recipe.
    #[track_caller]
    pub fn does_all(&self, work: &WorkDir, more: &[&str]) {
        for command in RECIPE {
            let takes_it = !command.starts_with("restore");
            let mut more = if takes_it { more.to_vec() } else { Vec::new() };
            if command == "copy table-data" {
                more.extend(SPLIT);
            }
            self.does(work, command, &more).exits(0);
        }
    }

    /// Starts `pgcopydb snapshot` and waits for its file; one that was killed has left an older one.
    pub fn hold(&self, work: &WorkDir, more: &[&str]) -> (Running, String) {
        let read = || std::fs::read_to_string(work.path().join("snapshot")).unwrap_or_default();
        let (before, holder) = (read(), self.start_step(work, "snapshot", more));
        let is_there = within(PATIENCE, || read() != before && read().ends_with('\n'));
        assert!(is_there, "no snapshot:\n{}", holder.said());
        (holder, read().trim().to_owned())
    }
}

/// Kills the whole tree of a run once a process of that title is at work, or the run has ended.
pub fn kill_at(mut run: Running, title: &str) {
    within(PATIENCE, || {
        !run.children_named(title).is_empty() || run.children().is_empty()
    });
    for pid in run.children() {
        crate::support::program::signal(pid, SIGKILL);
    }
    run.kill(SIGKILL);
    run.wait_within(PATIENCE);
    assert!(run.is_gone_within(PATIENCE), "left: {:?}", run.children());
}

#[test]
fn the_sample_shop_arrives_by_the_recipe_with_a_held_snapshot() {
    let (pair, work) = (lonely_pair(), WorkDir::new());
    pair.load("shopdb.sql");
    let (holder, _) = pair.hold(&work, &[]);
    pair.does(&work, "copy roles", &[]).exits(0);
    // what is written from now on is not in the snapshot
    pair.in_source("create table public.late as select 1 as id");
    pair.does_all(&work, &[]);
    assert_eq!(
        pair.in_target("select to_regclass('public.late') is null"),
        "t"
    );
    holder.kill(SIGTERM);
    holder.wait().exits(0);
    assert!(!work.path().join("snapshot").exists());
    pair.in_source("drop table public.late");
    pair.assert_equal();
}

#[test]
fn the_recipe_needs_neither_snapshot_nor_options() {
    let (pair, work) = (Pair::with(SOURCE), WorkDir::new());
    pair.does_all(&work, &[]);
    pair.assert_equal();
}

#[test]
fn the_recipe_goes_with_resume_and_not_consistent_throughout() {
    let (pair, work) = (Pair::with(SOURCE), WorkDir::new());
    pair.does_all(&work, &RESUME);
    pair.assert_equal();
}

/// Title of the process at which each step of the recipe is killed.
const TITLES: [&str; 9] = [
    "dump schema",
    "restore pre-data",
    "copy extensions",
    "copy worker",
    "blobs worker",
    "copy sequences",
    "create index worker",
    "create index worker",
    "restore post-data",
];

/// Runs the recipe with a held snapshot, killing each step and finishing it with --resume.
#[track_caller]
fn kills_and_resumes_each(pair: &Pair, work: &WorkDir, options: &dyn Fn(&str) -> Vec<String>) {
    let (holder, _) = pair.hold(work, &[]);
    for (command, title) in RECIPE.iter().zip(TITLES) {
        let options = options(command);
        let mut options: Vec<&str> = options.iter().map(String::as_str).collect();
        if *command == "copy table-data" {
            options.extend(SPLIT);
        }
        kill_at(pair.start_step(work, command, &options), title);
        // the snapshot still lives, so that nothing else is needed
        options.push("--resume");
        pair.does(work, command, &options).exits(0);
    }
    drop(holder);
}

#[test]
fn each_step_is_finished_after_it_was_killed_and_its_whole_tree_with_it() {
    let (pair, work) = (Pair::with(SOURCE), WorkDir::new());
    kills_and_resumes_each(&pair, &work, &|_| Vec::new());
    pair.assert_equal();
}

#[test]
fn the_recipe_with_filters_ends_like_a_clone_with_them_though_each_step_is_killed() {
    let (pair, work) = (Pair::with(SOURCE), WorkDir::new());
    let filters = work.file(
        "filters.ini",
        "[exclude-table]\npublic.small\n[exclude-table-data]\npublic.parted\n[exclude-index]\npublic.big_t\n",
    );
    let source = pair.source();
    let options = |command: &str| {
        let mut options = Vec::new();
        if command != "copy blobs" {
            options.extend(["--filters".to_owned(), filters.clone()]);
        }
        if command.starts_with("restore") {
            options.extend(["--source".to_owned(), source.clone()]);
        }
        options
    };
    kills_and_resumes_each(&pair, &work, &options);
    let found = "select (select count(*) from big), to_regclass('small') is null,
        (select count(*) from parted), to_regclass('big_t') is null, to_regclass('seen') is null,
        (select n from counted), (select last_value from s), (select count(*) from pg_largeobject_metadata)";
    assert_eq!(pair.in_target(found), "5000|t|0|t|t|5000|77|20");
    for what in ["schema", "data"] {
        let (source, target) = (pair.source(), pair.target());
        let sides = ["--source", &source, "--target", &target];
        run(&[&["compare", what, "--filters", &filters], &sides[..]].concat()).exits(0);
    }
}

#[test]
fn a_copy_killed_with_its_snapshot_is_finished_without_it_and_loses_no_row() {
    let (pair, work) = (Pair::with(GATED), WorkDir::new());
    pair.in_source("insert into before select i, 'more' from generate_series(5001, 30000) i");
    for command in ["dump schema", "restore pre-data"] {
        pair.does(&work, command, &[]).exits(0);
    }
    let gate = pair.gate();
    let run = pair.start_step(&work, "copy table-data", &SPLIT);
    pair.wait_for_gate(&run);
    kill_at(run, "copy worker");
    drop(gate);
    pair.does(&work, "copy table-data", &SPLIT)
        .exits(3)
        .says(&["\"pgcopydb copy table-data\" was begun before", "--resume"]);
    pair.does(&work, "copy table-data", &["--resume"])
        .exits(1)
        .says(&["--not-consistent"]);
    // what builds on the tables is refused meanwhile, and says what to do
    pair.does(&work, "copy indexes", &[])
        .exits(3)
        .says(&["are not copied yet", "copy table-data --resume"]);
    let other = [&RESUME[..], &["--split-at", "1GB"]].concat();
    pair.does(&work, "copy table-data", &other)
        .exits(3)
        .says(&["split with other settings"]);
    pair.does(&work, "copy table-data", &[&SPLIT[..], &RESUME].concat())
        .exits(0);
    for command in ["copy blobs", "restore post-data"] {
        pair.does(&work, command, &[]).exits(0);
    }
    pair.assert_equal();
}

#[test]
fn parts_of_another_snapshot_never_go_with_those_of_the_first() {
    let (pair, work) = (Pair::with(GATED_INDEX), WorkDir::new());
    // the first parts arrive, the last ones wait
    pair.in_source("drop index gated_index; alter table gated add check (id < 12000 or gate(id))");
    for command in ["dump schema", "restore pre-data"] {
        pair.does(&work, command, &[]).exits(0);
    }
    let gate = pair.gate();
    let (holder, first) = pair.hold(&work, &[]);
    let more = [&SPLIT[..], &["--table-jobs", "1"]].concat();
    let run = pair.start_step(&work, "copy table-data", &more);
    pair.wait_for_gate(&run);
    kill_at(run, "copy worker");
    holder.kill(SIGINT);
    holder.wait().exits(0);
    drop(gate);
    // a rewrite moves every row to another place
    pair.in_source("delete from gated where id % 2 = 0; vacuum full gated");
    pair.in_source("insert into gated select i, 'new' from generate_series(50001, 60000) i");
    let (_holder, second) = pair.hold(&work, &[]);
    assert_ne!(first, second);
    let resumed = [&SPLIT[..], &["--resume"]].concat();
    pair.does(&work, "copy table-data", &resumed).exits(0);
    pair.does(&work, "restore post-data", &[]).exits(0);
    pair.assert_equal();
}

#[test]
fn a_restart_of_the_copy_empties_what_it_copied_and_copies_it_anew() {
    let (pair, work) = (Pair::with(SOURCE), WorkDir::new());
    for command in ["dump schema", "restore pre-data", "copy table-data"] {
        pair.does(&work, command, &[]).exits(0);
    }
    pair.in_source("delete from big where id > 100; refresh materialized view counted");
    pair.does(
        &work,
        "copy table-data",
        &[&SPLIT[..], &["--restart"]].concat(),
    )
    .exits(0)
    .says(&["Emptying"]);
    assert_eq!(pair.in_target("select count(*) from big"), "100");
    for command in ["copy blobs", "copy sequences", "restore post-data"] {
        pair.does(&work, command, &[]).exits(0);
    }
    pair.assert_equal();
}

#[test]
fn tables_that_are_made_anew_are_copied_anew() {
    let (pair, work) = (Pair::with(SOURCE), WorkDir::new());
    for command in ["dump schema", "restore pre-data", "copy table-data"] {
        pair.does(&work, command, &[]).exits(0);
    }
    pair.does(&work, "restore pre-data", &[]).exits(3);
    pair.does(&work, "restore pre-data", &["--restart"])
        .exits(7)
        .says(&["not empty"]);
    let source = pair.source();
    let anew = ["--restart", "--drop-if-exists", "--source", &source];
    pair.does(&work, "restore pre-data", &anew)
        .exits(0)
        .says(&["To be done again after this step: copy table-data"]);
    assert_eq!(pair.in_target("select count(*) from big"), "0");
    for command in [
        "copy table-data",
        "copy blobs",
        "copy sequences",
        "restore post-data",
    ] {
        pair.does(&work, command, &[]).exits(0);
    }
    pair.assert_equal();
}

#[test]
fn rows_of_the_target_are_never_overwritten_without_a_word() {
    let (pair, work) = (Pair::with("create table t (id integer)"), WorkDir::new());
    pair.in_source("insert into t values (1), (2)");
    pair.does(&work, "copy table-data", &[])
        .exits(7)
        .says(&["not on the target", "\"public\".\"t\""]);
    pair.in_target("create table t (id integer); insert into t values (7)");
    pair.does(&work, "copy table-data", &[])
        .exits(7)
        .says(&["already have rows", "\"public\".\"t\""]);
    pair.does(&work, "copy table-data", &["--restart"]).exits(7);
    assert_eq!(pair.in_target("select id from t"), "7");
    // here the user says that they may go
    pair.does(&work, "copy data", &["--drop-if-exists"])
        .exits(0);
    assert_eq!(
        pair.in_target("select string_agg(id::text, ' ' order by id) from t"),
        "1 2"
    );
    assert_eq!(
        pair.in_target("select to_regnamespace('pgcopydb') is null"),
        "t"
    );
}

#[test]
fn copy_data_does_all_between_pre_data_and_post_data() {
    let (pair, work) = (Pair::with(SOURCE), WorkDir::new());
    for command in ["dump schema", "restore pre-data"] {
        pair.does(&work, command, &[]).exits(0);
    }
    let output = pair
        .does(&work, "copy data", &["--json", "--skip-vacuum"])
        .exits(0);
    let figures: serde_json::Value = serde_json::from_str(&output.stdout).unwrap();
    assert_eq!(figures["tables"].as_array().unwrap().len(), 4);
    assert_eq!(
        pair.in_target("select count(*) from pg_constraint where contype = 'f'"),
        "0"
    );
    assert_eq!(
        pair.in_target("select to_regclass('big_t') is not null"),
        "t"
    );
    pair.does(&work, "restore post-data", &["--restore-jobs", "1"])
        .exits(0);
    pair.assert_equal();
}

#[test]
fn copy_schema_leaves_the_tables_empty_and_complete() {
    let (pair, work) = (Pair::with(SOURCE), WorkDir::new());
    pair.does(&work, "copy schema", &["--restore-jobs", "2"])
        .exits(0);
    assert_eq!(
        pair.in_target("select (select count(*) from big) + (select count(*) from parted)"),
        "0"
    );
    pair.in_source(
        "truncate big, small, parted; refresh materialized view counted;
         select setval('s', 1, false), lo_unlink(oid) from pg_largeobject_metadata",
    );
    pair.in_source("alter sequence small_id_seq restart");
    pair.in_target("refresh materialized view counted");
    pair.assert_equal();
}

#[test]
fn indexes_and_constraints_are_two_steps_that_fetch_what_they_need() {
    let (pair, work) = (Pair::with(SOURCE), WorkDir::new());
    let schema = WorkDir::new();
    pair.does(&schema, "dump schema", &[]).exits(0);
    pair.does(&schema, "restore pre-data", &[]).exits(0);
    // a directory that knows nothing yet
    pair.does(&work, "copy indexes", &["--index-jobs", "2"])
        .exits(0);
    let count = |kind: &str| {
        pair.in_target(&format!(
            "select count(*) from pg_index i join pg_class c on c.oid = i.indrelid
              where c.relnamespace = 'public'::regnamespace {kind}"
        ))
    };
    assert_eq!(count("and c.relname in ('big', 'small')"), "4");
    assert_eq!(count("and i.indisprimary"), "0");
    pair.does(&work, "copy indexes", &[]).exits(3);
    pair.does(
        &work,
        "copy indexes",
        &[&RESUME[..], &["--restart"]].concat(),
    )
    .exits(1);
    pair.does(&work, "copy indexes", &["--restart", "--restore-jobs", "3"])
        .exits(0)
        .says(&["Option --restore-jobs has no effect"]);
    pair.does(&work, "copy constraints", &[]).exits(0);
    assert_eq!(
        count("and i.indisprimary and c.relname in ('big', 'small')"),
        "2"
    );
    pair.does(&work, "copy constraints", &RESUME).exits(0);
}

#[test]
fn configuration_of_extensions_is_copied_with_the_versions_asked_for() {
    let (pair, work) = (Pair::with(CONFIG), WorkDir::new());
    pair.in_source("insert into conf values (2, 'mine', false)");
    pair.in_target(CONFIG);
    let wanted = work.file(
        "wanted.json",
        "[{\"name\": \"hstore\", \"version\": \"1.0\"}]",
    );
    let (bare, other) = (pair_of_hstore(), WorkDir::new());
    bare.does(&other, "copy extensions", &["--requirements", &wanted])
        .exits(7)
        .says(&["1.0"]);
    bare.does(&other, "copy extensions", &["--restart"])
        .exits(0);
    assert_eq!(
        bare.in_target("select nspname from pg_extension e join pg_namespace n on n.oid = extnamespace where extname = 'hstore'"),
        "ext"
    );
    pair.does(&work, "copy extensions", &[]).exits(0);
    assert_eq!(pair.in_target("select count(*) from conf"), "2");
    pair.does(&work, "copy extensions", &RESUME).exits(0);
    pair.does(&work, "copy extensions", &["--restart"]).exits(0);
    assert_eq!(pair.in_target("select count(*) from conf"), "2");
}

fn pair_of_hstore() -> Pair {
    Pair::with("create schema ext; create extension hstore schema ext")
}

#[test]
fn options_hold_for_the_later_steps_of_the_same_directory() {
    let (pair, work) = (Pair::with(SOURCE), WorkDir::new());
    pair.in_source(
        "comment on table small is 'a comment'; comment on large object 40001 is 'an object'",
    );
    pair.does(&work, "dump schema", &["--skip-extensions"])
        .exits(0);
    pair.does(&work, "restore pre-data", &["--no-comments"])
        .exits(0)
        .says(&["Option --skip-extensions holds"]);
    pair.does(&work, "copy blobs", &["--large-objects-jobs", "2"])
        .exits(0);
    let said = "select (select count(*) from pg_extension where extname = 'hstore'),
        obj_description('small'::regclass) is null, obj_description(40001, 'pg_largeobject') is null";
    assert_eq!(pair.in_target(said), "0|t|t");
    // the same step with another word is another step
    pair.does(&work, "restore pre-data", &["--resume", "--no-owner"])
        .exits(3)
        .says(&["other options"]);
}

#[test]
fn roles_are_dumped_once_and_restored_at_will() {
    let (pair, work) = (lonely_pair(), WorkDir::new());
    pair.in_source("create role keeper login password 'secret word'; create role guest");
    pair.in_target("create role guest login");
    pair.does(&work, "restore roles", &[])
        .exits(3)
        .says(&["roles.sql", "dump roles"]);
    pair.does(&work, "dump roles", &["--no-role-passwords"])
        .exits(0);
    pair.does(&work, "dump roles", &[]).exits(3);
    pair.does(&work, "dump roles", &["--resume", "--not-consistent"])
        .exits(0)
        .says(&["there already", "--not-consistent has no effect"]);
    let password = "select rolpassword is not null from pg_authid where rolname = 'keeper'";
    pair.does(&work, "restore roles", &["--restore-jobs", "2"])
        .exits(0)
        .says(&[
            "guest, which already exists",
            "--restore-jobs has no effect",
        ]);
    assert_eq!(pair.in_target(password), "f");
    pair.does(&work, "restore roles", &[]).exits(0);
    pair.in_target("drop role keeper");
    pair.does(&work, "dump roles", &["--restart"]).exits(0);
    pair.does(&work, "restore roles", &[]).exits(0);
    assert_eq!(pair.in_target(password), "t");
    pair.in_target("drop role keeper");
    pair.does(&work, "copy roles", &["--no-role-passwords"])
        .exits(0);
    assert_eq!(pair.in_target(password), "f");
    assert_eq!(
        pair.in_target("select rolcanlogin from pg_roles where rolname = 'guest'"),
        "t"
    );
}

#[test]
fn the_list_of_an_archive_is_printed_as_it_would_be_restored() {
    let (pair, work) = (Pair::with(SOURCE), WorkDir::new());
    let dir = work.dir();
    let list = |more: &[&str]| {
        let words = [&["restore", "parse-list", "--dir", &dir], more].concat();
        run(&words)
    };
    list(&[]).exits(3).says(&["dump schema"]);
    pair.does(&work, "dump schema", &[]).exits(0);
    let whole = list(&[]).exits(0).stdout;
    let line = |list: &str, word: &str| {
        let found = list.lines().find(|line| line.contains(word));
        found.unwrap_or_default().to_owned()
    };
    assert!(!line(&whole, " EXTENSION - hstore").starts_with(';'));
    assert!(line(&whole, " FK CONSTRAINT ").contains("small_big_fkey"));
    let less = list(&["--skip-extensions"]).exits(0).stdout;
    assert!(line(&less, " EXTENSION - hstore").starts_with(';'));
    assert!(line(&less, "COMMENT - EXTENSION hstore").starts_with(';'));
    let less = list(&["--skip-ext-comments"]).exits(0).stdout;
    assert!(!line(&less, " EXTENSION - hstore").starts_with(';'));
    assert!(line(&less, "COMMENT - EXTENSION hstore").starts_with(';'));
    let file = work.path().join("schema/pre-out.list");
    let entries = run(&["restore", "parse-list", file.to_str().unwrap()])
        .exits(0)
        .stdout;
    assert!(entries.contains(" 1259 "), "{entries}");
    assert!(entries.lines().all(|line| !line.starts_with(';')));
    let other = Pair::with("select 1");
    list(&["--source", &other.source()])
        .exits(3)
        .says(&["another source"]);
    list(&["--target", &pair.target(), "--resume"])
        .exits(0)
        .says(&["--resume has no effect"]);
}

#[test]
fn a_clone_and_its_steps_know_of_each_other() {
    let (pair, work) = (Pair::with(SOURCE), WorkDir::new());
    pair.does(&work, "dump schema", &[]).exits(0);
    pair.clone(&work, &[])
        .exits(3)
        .says(&["step by step", "dump schema"]);
    pair.does(&work, "dump schema", &["--restart"]).exits(0);
    for command in ["restore pre-data", "copy table-data"] {
        pair.does(&work, command, &[]).exits(0);
    }
    pair.does(&work, "dump schema", &["--restart"])
        .exits(3)
        .says(&["copy table-data"]);
    // the rest in one go
    pair.clone(&work, &RESUME).exits(0);
    pair.assert_equal();
    pair.does(&work, "copy blobs", &[])
        .exits(3)
        .says(&["a clone was begun before"]);
    pair.in_source("select setval('s', 99)");
    pair.does(&work, "copy sequences", &RESUME).exits(0);
    pair.assert_equal();
}

#[test]
fn options_of_other_commands_are_refused_by_name() {
    let cases = [
        ("copy blobs --table-jobs 2", "--table-jobs is not used"),
        ("copy roles --resume", "--resume is not used"),
        ("copy sequences --json", "--json is not used"),
        ("dump schema --no-owner", "--no-owner is not used"),
        ("restore roles --no-owner", "--no-owner is not used"),
        (
            "restore post-data --drop-if-exists",
            "--drop-if-exists is not used",
        ),
        ("snapshot --target x", "--target is not used"),
        ("snapshot --not-consistent", "--not-consistent is not used"),
        ("snapshot --endpos 0/1", "--endpos is not used"),
        ("copy table-data extra", "unexpected argument"),
        ("restore", "expected a command"),
        ("dump schema", "Option --source is mandatory"),
        ("restore pre-data", "Option --target is mandatory"),
        ("copy data", "Options --source and --target are mandatory"),
    ];
    for (line, why) in cases {
        run(&line.split(' ').collect::<Vec<_>>())
            .exits(1)
            .says(&[why]);
    }
}

//! Rows of extreme size: what is passed on is not held, and what is wide arrives.

use crate::support::{Pair, Running, WorkDir, program, start};
use std::collections::BTreeMap;
use std::time::Duration;

/// Memory that a process of ours may ever have had, whatever it copies.
const PROCESS_LIMIT_KB: u64 = 64 * 1024;

/// The most memory that each process of the program has had so far, in kB, by its title; its tools are not asked.
fn look(run: &Running, peaks: &mut BTreeMap<String, u64>) {
    let ours = program::path_of("pgcopydb");
    for pid in run.children().into_iter().chain([run.pid()]) {
        let is_ours = std::fs::read_link(format!("/proc/{pid}/exe")).is_ok_and(|exe| exe == ours);
        let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
        let peak = status
            .lines()
            .find_map(|line| line.strip_prefix("VmHWM:"))
            .and_then(|rest| rest.trim().trim_end_matches(" kB").parse::<u64>().ok());
        if let (true, Some(peak)) = (is_ours, peak) {
            let most = peaks.entry(program::title(pid)).or_default();
            *most = peak.max(*most);
        }
    }
}

#[test]
fn a_value_of_300_mb_passes_through_processes_of_64_mb() {
    // In text, in bytes, which take twice as much as text, and beside small ones.
    let pair = Pair::with(
        "create table t (id integer primary key, v text, b bytea);
         alter table t alter v set storage external, alter b set storage external;
         insert into t select i, 'small', 'small' from generate_series(1, 100) i;
         insert into t values (101, repeat('äbc', 78643200), null);
         insert into t values (102, null, decode(repeat('00ff5c0a', 78643200), 'hex'));
         create table b (b bytea not null);
         alter table b alter b set storage external;
         insert into b select b from t where id = 102",
    );
    let mut peaks = BTreeMap::new();
    let work = WorkDir::new();
    let (source, target, dir) = (pair.source(), pair.target(), work.dir());
    let mut run = start(&[
        "clone",
        "--source",
        &source,
        "--target",
        &target,
        "--dir",
        &dir,
        "--table-jobs=2",
    ]);
    while program::lives(run.pid()) {
        look(&run, &mut peaks);
        crate::support::pause();
    }
    run.wait_within(Duration::from_secs(60)).exits(0);
    let facts = "select string_agg(concat_ws(' ', id, octet_length(v), md5(v), length(b), md5(b)), ',' order by id) from t
        where id > 99 union all select concat_ws(' ', length(b), md5(b)) from b";
    let of_source = pair.in_source(facts);
    assert!(of_source.contains("101 314572800 "), "{of_source}");
    assert!(of_source.contains("102 314572800 "), "{of_source}");
    assert_eq!(of_source, pair.in_target(facts));
    assert!(peaks.len() > 4, "{peaks:?}");
    println!("peaks in kB: {peaks:#?}");
    let over: Vec<_> = peaks
        .iter()
        .filter(|(_, peak)| **peak > PROCESS_LIMIT_KB)
        .collect();
    assert!(over.is_empty(), "more than {PROCESS_LIMIT_KB} kB: {over:?}");
}

#[test]
fn a_table_of_1600_columns_arrives_with_its_parts_and_its_dropped_columns() {
    let names: Vec<String> = (1..1600).map(|n| format!("c{n} integer")).collect();
    let pair = Pair::with(&format!(
        "create table wide (id integer primary key, {});
         alter table wide drop column c7, drop column c1599;
         insert into wide (id, c1, c1598) select i, i, -i from generate_series(1, 500) i",
        names.join(", ")
    ));
    pair.clone(&WorkDir::new(), &["--split-tables-larger-than", "100kB"])
        .exits(0);
    pair.assert_equal();
}

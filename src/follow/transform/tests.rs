//! Lines in, lines out.

use super::*;
use crate::follow::source_table::{Column, Identity, SourceTable};

fn table(name: &str, columns: &[&str], identity: Identity) -> SourceTable {
    SourceTable {
        oid: 0,
        schema: "public".to_owned(),
        name: name.to_owned(),
        columns: columns
            .iter()
            .map(|name| Column {
                name: name.trim_end_matches('*').to_owned(),
                generated: name.ends_with('*'),
                data_type: None,
            })
            .collect(),
        identity,
        root: None,
        excluded: name == "secret",
        rewritten: None,
    }
}

fn tables() -> SourceTables {
    let key = |names: &[&str]| Identity::Key(names.iter().map(|&name| name.to_owned()).collect());
    [
        table("t", &["id", "v"], key(&["id"])),
        table("two", &["a", "b", "g*"], key(&["a", "b"])),
        table("full", &["a", "b", "g*"], Identity::Full),
        table("none", &["a"], Identity::Nothing),
        table("secret", &["a"], key(&["a"])),
    ]
    .into_iter()
    .collect()
}

fn transformed(lines: &str) -> String {
    let known = tables();
    let mut transform = Transform::new(Vec::new(), &known, false);
    for line in lines.lines() {
        transform.line(line.trim()).unwrap();
    }
    transform.finish().unwrap();
    String::from_utf8(transform.out).unwrap()
}

/// Changes of `test_decoding` in one transaction; hashes masked.
fn of_text(messages: &[&str]) -> Vec<String> {
    let mut lines = vec![r#"{"action":"B","xid":"7","lsn":"0/1","message":"BEGIN 7"}"#.to_owned()];
    for message in messages {
        let action = if message.contains("INSERT:") {
            "I"
        } else if message.contains("UPDATE:") {
            "U"
        } else if message.contains("DELETE:") {
            "D"
        } else {
            "T"
        };
        let mut text = Vec::new();
        write_string(message, &mut text);
        lines.push(format!(
            r#"{{"action":"{action}","xid":"0","lsn":"0/1","message":{}}}"#,
            String::from_utf8(text).unwrap()
        ));
    }
    lines.push(r#"{"action":"C","xid":"7","lsn":"0/2","message":"COMMIT 7"}"#.to_owned());
    let out = transformed(&lines.join("\n"));
    out.lines()
        .filter(|line| !line.starts_with("BEGIN") && !line.starts_with("COMMIT"))
        .map(|line| {
            let (word, rest) = line.split_once(' ').unwrap();
            match word {
                "PREPARE" => rest.split_once(" AS ").unwrap().1.to_owned(),
                "EXECUTE" => rest[rest.find('[').unwrap()..].to_owned(),
                _ => line.to_owned(),
            }
        })
        .collect()
}

#[test]
fn the_worked_example_of_two_segments_comes_out_as_documented() {
    let first = transformed(
        r#"{"action":"B","xid":"740","lsn":"0/5FFF000","timestamp":"2025-01-01 10:00:00.000100+0000","message":"BEGIN 740"}
        {"action":"I","xid":"0","lsn":"0/5FFF000","timestamp":"2025-01-01 10:00:00.000101+0000","message":"table public.t: INSERT: id[integer]:1 v[text]:'a''b'"}
        {"action":"X","lsn":"0/6000060"}"#,
    );
    let insert = "INSERT INTO public.t (id, v) overriding system value VALUES ($1, $2)";
    let hash = statement_hash(insert);
    assert_eq!(
        first,
        format!(
            "BEGIN; -- {{\"xid\":740,\"lsn\":\"0/5FFF000\",\"timestamp\":\"2025-01-01 10:00:00.000100+0000\"}}\n\
             PREPARE {hash:x} AS {insert};\nEXECUTE {hash:x}[\"1\",\"a'b\"];\n-- SWITCH WAL {{\"lsn\":\"0/6000060\"}}\n"
        )
    );
    let second = transformed(
        r#"{"action":"U","xid":"0","lsn":"0/6000060","timestamp":"t","message":"table public.t: UPDATE: id[integer]:1 v[text]:null"}
        {"action":"C","xid":"740","lsn":"0/6000108","timestamp":"t","message":"COMMIT 740"}
        {"action":"K","lsn":"0/6000108","timestamp":"t"}
        {"action":"E","lsn":"0/6000108"}"#,
    );
    let update = "UPDATE public.t SET v = $1 WHERE id = $2";
    let hash = statement_hash(update);
    assert_eq!(
        second,
        format!(
            "PREPARE {hash:x} AS {update};\nEXECUTE {hash:x}[null,\"1\"];\n\
             COMMIT; -- {{\"xid\":740,\"lsn\":\"0/6000108\",\"timestamp\":\"t\"}}\n\
             -- KEEPALIVE {{\"lsn\":\"0/6000108\",\"timestamp\":\"t\"}}\n-- ENDPOS {{\"lsn\":\"0/6000108\"}}\n"
        )
    );
}

#[test]
fn rows_of_one_kind_share_a_statement_and_keep_their_order() {
    assert_eq!(
        of_text(&[
            "table public.t: INSERT: id[integer]:1 v[text]:'x'",
            "table public.t: INSERT: id[integer]:2 v[text]:null",
            "table public.two: INSERT: a[integer]:1 b[integer]:2 g[integer]:3",
            "table public.t: DELETE: id[integer]:1",
            "table public.t: DELETE: id[integer]:2",
            "table public.two: DELETE: a[integer]:1 b[integer]:2",
            "table public.two: DELETE: a[integer]:3 b[integer]:4",
            "table public.t: DELETE: id[integer]:3",
        ]),
        [
            "INSERT INTO public.t (id, v) overriding system value VALUES ($1, $2), ($3, $4);",
            r#"["1","x","2",null];"#,
            "INSERT INTO public.two (a, b) overriding system value VALUES ($1, $2);",
            r#"["1","2"];"#,
            "DELETE FROM public.t WHERE id IN ($1, $2);",
            r#"["1","2"];"#,
            "DELETE FROM public.two WHERE (a, b) IN (($1, $2), ($3, $4));",
            r#"["1","2","3","4"];"#,
            "DELETE FROM public.t WHERE id = $1;",
            r#"["3"];"#,
        ]
    );
}

#[test]
fn updates_say_what_changed_and_nothing_else() {
    assert_eq!(
        of_text(&[
            "table public.t: UPDATE: id[integer]:1 v[text]:'new'",
            "table public.t: UPDATE: old-key: id[integer]:1 new-tuple: id[integer]:2 v[text]:unchanged-toast-datum",
            // Nothing changes in these two.
            "table public.t: UPDATE: id[integer]:1 v[text]:unchanged-toast-datum",
            "table public.two: UPDATE: a[integer]:1 b[integer]:2 g[integer]:9",
            // NULLs are not sent in the old row; g is computed.
            "table public.full: UPDATE: old-key: a[integer]:1 new-tuple: a[integer]:1 b[text]:'null' g[integer]:1",
            "table public.full: DELETE: b[text]:'x' g[integer]:1",
        ]),
        [
            "UPDATE public.t SET v = $1 WHERE id = $2;",
            r#"["new","1"];"#,
            "UPDATE public.t SET id = $1 WHERE id = $2;",
            r#"["2","1"];"#,
            "UPDATE public.\"full\" SET b = $1 WHERE a = $2 and b IS NULL;",
            r#"["null","1"];"#,
            "DELETE FROM public.\"full\" WHERE b = $1 and a IS NULL;",
            r#"["x"];"#,
        ]
    );
}

#[test]
fn what_cannot_be_said_in_sql_is_said_all_the_same() {
    let lines = of_text(&[
        "table public.none: UPDATE: a[integer]:1",
        "table public.none: DELETE: (no-tuple-data)",
        "table public.unknown: UPDATE: a[integer]:1",
    ]);
    assert_eq!(lines.len(), 3);
    for (line, action) in lines.iter().zip(["U", "D", "U"]) {
        let start = format!("-- CONFLICT {{\"action\":\"{action}\",\"schema\":\"public\"");
        assert!(line.starts_with(&start), "{line}");
    }
}

#[test]
fn truncates_keep_their_flags_and_lose_tables_that_are_left_out() {
    assert_eq!(
        of_text(&[
            "table public.t, public.secret, public.two: TRUNCATE: restart_seqs cascade",
            "table public.secret: TRUNCATE: (no-flags)",
            "table pgcopydb.sentinel: INSERT: a[integer]:1",
            "table public.pg_temp_1234: INSERT: a[integer]:1",
        ]),
        ["TRUNCATE ONLY public.t, public.two RESTART IDENTITY CASCADE"]
    );
}

#[test]
fn a_transaction_without_statements_is_a_keepalive() {
    assert_eq!(
        transformed(
            r#"{"action":"B","xid":"7","lsn":"0/1","message":"BEGIN 7"}
            {"action":"I","xid":"0","lsn":"0/1","message":"table public.secret: INSERT: a[integer]:1"}
            {"action":"M","xid":"0","lsn":"0/1","message":"message: transactional: 1 prefix: x, sz: 0 content:"}
            {"action":"C","xid":"7","lsn":"0/2","timestamp":"t","message":"COMMIT 7"}"#
        ),
        "-- KEEPALIVE {\"lsn\":\"0/2\",\"timestamp\":\"t\"}\n"
    );
}

#[test]
fn a_transaction_that_goes_on_in_another_file_begins_in_the_first_one() {
    let first = transformed(
        r#"{"action":"B","xid":"7","lsn":"0/1","timestamp":"t","message":"BEGIN 7"}
        {"action":"X","lsn":"0/2"}"#,
    );
    assert_eq!(
        first,
        "BEGIN; -- {\"xid\":7,\"lsn\":\"0/1\",\"timestamp\":\"t\"}\n-- SWITCH WAL {\"lsn\":\"0/2\"}\n"
    );
    let void = transformed(r#"{"action":"R","xid":"7","lsn":"0/0"}"#);
    assert_eq!(void, "ROLLBACK; -- {\"xid\":7,\"lsn\":\"0/0\"}\n");
}

#[test]
fn a_file_appears_whole_and_tells_the_ends_of_its_transactions() {
    let folder = tempfile::tempdir().unwrap();
    let (json, sql) = (folder.path().join("a.json"), folder.path().join("a.sql"));
    let known = tables();
    let options = Options {
        tables: &known,
        keep_no_op: false,
        endpos: crate::units::Lsn::UNSET,
    };
    let row =
        r#"{"action":"I","xid":"0","lsn":"0/1","message":"table public.t: INSERT: id[integer]:1"}"#;
    let begin = |xid: u32| {
        format!(r#"{{"action":"B","xid":"{xid}","lsn":"0/1","timestamp":"b","message":"BEGIN"}}"#)
    };
    let lines = [
        row.to_owned(),
        r#"{"action":"C","xid":"6","lsn":"0/2","timestamp":"c6","message":"COMMIT"}"#.to_owned(),
        begin(7),
        row.to_owned(),
        r#"{"action":"R","lsn":"0/0"}"#.to_owned(),
        begin(7),
        row.to_owned(),
        r#"{"action":"C","xid":"7","lsn":"0/3","timestamp":"c7","message":"COMMIT"}"#.to_owned(),
        begin(8),
        row.to_owned(),
        "{\"action\":\"I\",\"to".to_owned(),
    ];
    std::fs::write(&json, lines.join("\n")).unwrap();
    let counts = transform_file(&json, &sql, options).unwrap();
    assert_eq!((counts.messages, counts.transactions), (10, 2));
    let text = std::fs::read_to_string(&sql).unwrap();
    let begins: Vec<&str> = text
        .lines()
        .filter(|line| line.starts_with("BEGIN"))
        .collect();
    assert_eq!(
        begins,
        [
            r#"BEGIN; -- {"xid":7,"lsn":"0/1","timestamp":"b"}"#,
            r#"BEGIN; -- {"xid":7,"lsn":"0/1","timestamp":"c7","commit_lsn":"0/3"}"#,
            r#"BEGIN; -- {"xid":8,"lsn":"0/1","timestamp":"b"}"#,
        ]
    );
    assert!(!folder.path().join("a.sql.partial").exists());
    assert_eq!(
        std::fs::read_to_string(folder.path().join("6.json")).unwrap(),
        "{\"xid\":6,\"commit_lsn\":\"0/2\",\"timestamp\":\"c6\"}\n"
    );
    // A line that is no change data: no SQL file of it.
    std::fs::write(&json, "{\"action\":\"Q\",\"lsn\":\"0/1\"}\n").unwrap();
    std::fs::remove_file(&sql).unwrap();
    let error = transform_file(&json, &sql, options).unwrap_err();
    assert!(error.lines()[0].contains("line 1 of"), "{error}");
    assert!(!sql.exists());
}

#[test]
fn names_with_line_ends_stay_on_one_line() {
    let tables = [Table {
        schema: "s".into(),
        name: "new\nline".into(),
    }];
    let change = Change::Truncate {
        tables: tables.to_vec(),
        cascade: false,
        restart: false,
    };
    let Made::Line(line) = statement::make(&change, None, true) else {
        panic!("a TRUNCATE is a line");
    };
    assert_eq!(line, "TRUNCATE ONLY s.U&\"new\\000aline\"");
    assert_eq!(
        run::one_line("a \"x\"\"\ny\" b \"c\""),
        "a U&\"x\"\"\\000ay\" b \"c\""
    );
}

//! Columns of every built-in type, and values that are hard to carry.

use super::dice::Dice;
use crate::support::follow;

/// Texts that something on the way might take for something else.
const TEXTS: &[&str] = &[
    "",
    " ",
    "null",
    "NULL",
    "\\",
    "\\\\",
    "\\N",
    "\\.",
    "it's",
    "''",
    "\"",
    "a\nb",
    "\n",
    "\t",
    "\r\n",
    "unchanged-toast-datum",
    " new-tuple: x[text]:'y'",
    "old-key: ",
    "{}",
    "{NULL}",
    "[]",
    "$1",
    "%s",
    "COMMIT; -- {}",
    "-- KEEPALIVE",
    "é",
    "漢字",
    "🐘",
    "\u{1}",
    "\u{7f}",
    "\u{2028}",
    "(1,2)",
    "a,b",
    "x]:y",
    "'); drop table t; --",
];

/// A string constant of SQL.
pub fn quoted(text: &str) -> String {
    let escaped = text.replace('\\', "\\\\").replace('\'', "''");
    format!("E'{escaped}'")
}

/// A name of SQL.
pub fn name(text: &str) -> String {
    format!("\"{}\"", text.replace('"', "\"\""))
}

pub fn text(dice: &mut Dice) -> String {
    match dice.below(8) {
        0..3 => quoted(dice.pick(TEXTS)),
        3 => format!("'{:x}'", dice.roll()),
        4 => {
            let (one, other) = (dice.pick(TEXTS), dice.pick(TEXTS));
            quoted(&format!("{one}{other}"))
        }
        5 => format!("repeat({}, {})", quoted(dice.pick(TEXTS)), dice.below(400)),
        _ => format!("'v{}'", dice.below(50)),
    }
}

/// A text that is stored out of line.
pub fn long_text(dice: &mut Dice) -> String {
    format!(
        "(select string_agg(md5((i + {})::text), '') from generate_series(1, {}) i)",
        dice.below(1 << 30),
        80 + dice.below(300)
    )
}

/// A type, and values of it.
pub struct Type {
    pub sql: &'static str,
    values: &'static [&'static str],
    /// Those that wal2json loses by itself: it makes NULL of them.
    special: &'static [&'static str],
}

const fn of(sql: &'static str, values: &'static [&'static str]) -> Type {
    Type {
        sql,
        values,
        special: &[],
    }
}

pub const TYPES: &[Type] = &[
    of("text", &[]),
    of("smallint", &["0", "-32768", "32767"]),
    of("integer", &["0", "-2147483648", "2147483647", "7"]),
    of(
        "bigint",
        &[
            "0",
            "-9223372036854775808",
            "9223372036854775807",
            "9007199254740993",
        ],
    ),
    Type {
        sql: "numeric",
        values: &[
            "0",
            "1.0",
            "1.00",
            "-0.00000000000000006938893903907228",
            "1e100",
            "123456789012345678901234567890.123456789012345678901234567890",
            "1e-300",
        ],
        special: &["NaN", "Infinity", "-Infinity"],
    },
    of("numeric(12,3)", &["0", "1.5", "-999999999.999", "0.001"]),
    Type {
        sql: "real",
        values: &["0", "-0", "1.17549435e-38", "3.4028235e38", "0.1", "1e-45"],
        special: &["NaN", "Infinity", "-Infinity"],
    },
    Type {
        sql: "double precision",
        values: &[
            "0",
            "-0",
            "0.1",
            "1.7976931348623157e308",
            "5e-324",
            "0.30000000000000004",
            "1e15",
        ],
        special: &["NaN", "Infinity", "-Infinity"],
    },
    of("boolean", &["t", "f"]),
    of(
        "date",
        &[
            "infinity",
            "-infinity",
            "0044-03-15 BC",
            "5874897-12-31",
            "2020-02-29",
        ],
    ),
    of(
        "timestamp",
        &[
            "infinity",
            "-infinity",
            "0044-03-15 01:02:03.000001 BC",
            "294276-12-31 23:59:59.999999",
            "2020-02-29 24:00",
        ],
    ),
    of(
        "timestamptz",
        &[
            "infinity",
            "-infinity",
            "2020-02-29 12:00+05:30",
            "1883-11-18 12:03:57-04:56:02",
            "0001-01-01 BC",
        ],
    ),
    of("time", &["00:00", "24:00", "23:59:59.999999"]),
    of("timetz", &["00:00+15:59", "12:34:56.7-03"]),
    of(
        "interval",
        &[
            "1 mon -2 days 03:00:00.000001",
            "-1 year",
            "178000000 years",
            "0",
            "24 hours",
            "1 day",
        ],
    ),
    of(
        "uuid",
        &[
            "00000000-0000-0000-0000-000000000000",
            "A0EEBC99-9C0B-4EF8-BB6D-6BB9BD380A11",
        ],
    ),
    of("inet", &["10.0.0.1/8", "::1", "10.0.0.1"]),
    of("cidr", &["10.0.0.0/8", "2001:db8::/32"]),
    of("macaddr", &["08:00:2b:01:02:03"]),
    of(
        "json",
        &[
            "null",
            "{\"a\" : 1,  \"a\":2}",
            "\"\\u00e9\\n\"",
            "[1e5, 1.00]",
            "\"\"",
        ],
    ),
    of(
        "jsonb",
        &[
            "null",
            "{\"a\":\"b\\\"\"}",
            "[1.00, 1e2, 12345678901234567890.5]",
            "\"null\"",
        ],
    ),
    of("bit(5)", &["10101", "00000"]),
    of(
        "bit varying",
        &["", "1", "0101010101010101010101010101010101"],
    ),
    of("character(5)", &["", "ab", "é", "abcde", "  x"]),
    of("character varying(10)", &["", "ab  ", "éé"]),
    of("name", &["", "pg name", "x\"y"]),
    of("\"char\"", &["", "a", "\\", "'"]),
    of("bytea", &["\\x", "\\x00", "\\x5c275c", "\\xdeadbeef0a0d"]),
    of("money", &["0", "-12.34", "92233720368547758.07"]),
    of("xml", &["<a>x</a>", "text only", "<b c=\"'\">&lt;</b>"]),
    of("point", &["(1,2)", "(-0,1e300)"]),
    of("line", &["{1,-1,0.5}"]),
    of("lseg", &["[(0,0),(1,1)]"]),
    of("box", &["(1,1),(0,0)"]),
    of("path", &["[(0,0),(1,1)]", "((0,0),(1,1))"]),
    of("polygon", &["((0,0),(1,1),(1,0))"]),
    of("circle", &["<(0,0),1.5>"]),
    of("tsvector", &["fat:3A cat:1,2", "'it''s':1"]),
    of("tsquery", &["fat & !cat", "a <-> b"]),
    of("pg_lsn", &["0/0", "FFFFFFFF/FFFFFFFF"]),
    of("int4range", &["empty", "[1,5)", "(,)", "[3,]"]),
    of("numrange", &["[1.0,1.00]", "empty"]),
    of(
        "tstzrange",
        &[
            "[2020-01-01 00:00+00,infinity)",
            "[\"2020-01-01 00:00:00+03\",)",
        ],
    ),
    of("oid", &["0", "4294967295"]),
    of("xid8", &["18446744073709551615"]),
    of("tid", &["(0,1)", "(4294967295,65535)"]),
    of(
        "int[]",
        &["{}", "{1,NULL,-3}", "{{1,2},{3,4}}", "[0:1]={7,8}"],
    ),
    of(
        "text[]",
        &[
            "{}",
            "{\"a,b\",\"c\\\"d\",NULL,\"null\",\"\"}",
            "{\"\\\\\",\"{}\"}",
        ],
    ),
    of("numeric[]", &["{1.0,1.00,1e30}"]),
    of("jsonb[]", &["{\"{\\\"a\\\": 1}\",null}"]),
    of("bytea[]", &["{\"\\\\x00\",NULL}"]),
    of("s.mood", &["sad", "it's \"ok\", \\ so"]),
    of("s.pair", &["(1,\"a,b\")", "(,)", "(2,\"x\"\"y\\\\\")"]),
    of("s.mood[]", &["{sad,\"it's \\\"ok\\\", \\\\ so\"}"]),
    of("s.small", &["1", "99"]),
    of("int2vector", &["1 2 3"]),
    of("txid_snapshot", &["10:20:10,14"]),
    of("regtype", &["integer", "s.mood"]),
];

impl Type {
    /// A value as an expression of SQL.
    pub fn value(&self, dice: &mut Dice, plugin: &str) -> String {
        if dice.chance(1, 8) {
            return "null".to_owned();
        }
        if self.values.is_empty() {
            return text(dice);
        }
        if !self.special.is_empty() && plugin != follow::PLUGINS[2] && dice.chance(1, 4) {
            return format!("{}::{}", quoted(dice.pick(self.special)), self.sql);
        }
        if self.sql == "integer" && dice.chance(1, 2) {
            return dice.below(1000).to_string();
        }
        format!("{}::{}", quoted(dice.pick(self.values)), self.sql)
    }
}

/// What the types above need.
pub const PRELUDE: &str = "
create schema s;
create type s.mood as enum ('sad', 'it''s \"ok\", \\ so');
create type s.pair as (x int, y text);
create domain s.small as int check (value between 1 and 99);
";

//! What the source is asked for: the columns of a table, but blank values of CHAR(n) as nothing.
//!
//! Pure. A blank CHAR(84) is 84 bytes that the source writes, the network carries, and the target
//! counts character by character, only to store what it would have stored for an empty string as well:
//! the input of CHAR(n) pads to n in either case. Must not touch a value that the target would not pad
//! back: another type or length there, or `bpchar` without a length, whose blanks are its own.

use super::copy_format::Column;
use crate::units::Oid;

/// CHAR(n).
const BPCHAR: Oid = 1042;

/// The header that `atttypmod` of a CHAR(n) counts with its n.
const HEADER: i32 = 4;

/// Blanks that are shorter than this cost less than a look at the value.
const BLANKS_MIN: i32 = 16;

/// Expressions in the order of the source's columns, comma-separated; `None`: the plain names will do.
pub fn select_list(source: &[Column], target: &[Column]) -> Option<String> {
    if !source.iter().any(|column| pads(column, target)) {
        return None;
    }
    let items: Vec<String> = source
        .iter()
        .map(|column| match &column.attname {
            name if pads(column, target) => without_blanks(name),
            name => name.clone(),
        })
        .collect();
    Some(items.join(", "))
}

/// Whether the target pads an empty value of this column to what the source has there.
fn pads(column: &Column, target: &[Column]) -> bool {
    column.type_oid == BPCHAR
        && column.typmod >= HEADER + BLANKS_MIN
        && target.iter().any(|twin| twin == column)
}

/// Compared byte by byte: under a collation that is not deterministic, characters that it ignores would
/// equal blanks, and be lost.
fn without_blanks(name: &str) -> String {
    format!(
        "case when {name} collate pg_catalog.\"C\" operator(pg_catalog.=) ''::pg_catalog.bpchar \
         then '' else {name} end"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn column(attname: &str, type_oid: Oid, typmod: i32) -> Column {
        Column {
            attname: attname.to_owned(),
            type_oid,
            typmod,
        }
    }

    #[test]
    fn only_a_long_char_that_the_target_pads_alike_is_looked_at() {
        let source = [column("id", 23, -1), column("\"a b\"", BPCHAR, 88)];
        assert_eq!(
            select_list(&source, &source).as_deref(),
            Some(
                "id, case when \"a b\" collate pg_catalog.\"C\" operator(pg_catalog.=) \
                 ''::pg_catalog.bpchar then '' else \"a b\" end"
            )
        );
        for twin in [
            column("\"a b\"", BPCHAR, 89),
            column("\"a b\"", BPCHAR, -1),
            column("\"a b\"", 25, 88),
            column("a", BPCHAR, 88),
        ] {
            assert_eq!(
                select_list(&source, std::slice::from_ref(&twin)),
                None,
                "{twin:?}"
            );
        }
    }

    #[test]
    fn short_ones_and_those_without_a_length_are_left_alone() {
        for plain in [
            column("c", BPCHAR, -1),
            column("c", BPCHAR, 6),
            column("c", 1043, 88),
        ] {
            let all = [plain];
            assert_eq!(select_list(&all, &all), None, "{all:?}");
        }
    }
}

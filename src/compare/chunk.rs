//! What one COPY reads: a table, a range of its blocks, or some large objects, of one side.
//!
//! Pure: plans and statements. The two sides are cut each for itself, as sums do not depend on where.

use super::table::{LargeObjects, Table};
use crate::pg::quote;
use crate::units::{Oid, PgVersion};

/// Most bytes of one COPY, where a table can be cut.
const CHUNK_BYTES: u64 = 128 * 1024 * 1024;
/// First version that reads a range of blocks without a look at the others.
const TID_RANGE_SCAN_VERSION: PgVersion = PgVersion(140_000);
/// Large objects in one COPY.
const OBJECTS_MAX: usize = 2_000;
/// Bytes of a large object in one row; the server holds a few times as much.
pub(super) const SLICE_BYTES: u64 = 16 * 1024 * 1024;

/// Types whose text depends on the version: floats have their shortest text from 12 on, a `"char"` of
/// more than 7 bits is escaped from 15 on. Where the two servers stand on either side of the version,
/// the bytes of the value are compared: oid, oid of the array type, function, first version.
const VERSIONED_TEXTS: [(Oid, Oid, &str, u32); 10] = [
    (700, 1021, "float4send", 120_000),
    (701, 1022, "float8send", 120_000),
    (600, 1017, "point_send", 120_000),
    (601, 1018, "lseg_send", 120_000),
    (602, 1019, "path_send", 120_000),
    (603, 1020, "box_send", 120_000),
    (604, 1027, "poly_send", 120_000),
    (628, 629, "line_send", 120_000),
    (718, 719, "circle_send", 120_000),
    (18, 1002, "charsend", 150_000),
];

/// One COPY.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Chunk {
    /// Position of the table in the list.
    pub(super) table: usize,
    /// The statement.
    pub(super) sql: String,
    /// About how much it reads.
    pub(super) bytes: u64,
}

/// The chunks of a table on one side.
pub(super) fn of_table(
    position: usize,
    table: &Table,
    version: PgVersion,
    other: PgVersion,
) -> Vec<Chunk> {
    let name = quote::qualified(&table.schema, &table.name);
    let columns: Vec<String> = table
        .columns
        .iter()
        .map(|(name, type_oid)| value(&quote::ident(name), *type_oid, version, other))
        .collect();
    let select = format!("select {} from only {name}", columns.join(", "));
    let whole = |condition: &str| {
        vec![Chunk {
            table: position,
            sql: format!("copy ({select} {condition}) to stdout"),
            bytes: table.bytes,
        }]
    };
    if let Some(condition) = &table.condition {
        return whole(condition);
    }
    let blocks = table.main_bytes / table.block_size.max(1);
    let count = table.bytes.div_ceil(CHUNK_BYTES).min(blocks);
    if count < 2 || !table.is_heap || version < TID_RANGE_SCAN_VERSION {
        return whole("");
    }
    (0..count)
        .map(|part| {
            let from = blocks * part / count;
            let to = blocks * (part + 1) / count;
            let range = if part + 1 < count {
                format!("ctid >= '({from},0)' and ctid < '({to},0)'")
            } else {
                // Open: the table may have grown between its size and the snapshot.
                format!("ctid >= '({from},0)'")
            };
            Chunk {
                table: position,
                sql: format!("copy ({select} where {range}) to stdout"),
                bytes: table.bytes / count,
            }
        })
        .collect()
}

/// What of a column is compared: its text, or its bytes where only the text depends on the version.
fn value(name: &str, type_oid: Oid, version: PgVersion, other: PgVersion) -> String {
    for (oid, array, function, since) in VERSIONED_TEXTS {
        let since = PgVersion(since);
        if (version < since) == (other < since) {
            continue;
        }
        if type_oid == oid {
            return format!("pg_catalog.{function}({name})");
        }
        if type_oid == array {
            return format!("pg_catalog.array_send({name})");
        }
    }
    name.to_owned()
}

/// The chunks of all large objects of one side.
pub(super) fn of_large_objects(position: usize, objects: &LargeObjects) -> Vec<Chunk> {
    let mut chunks: Vec<Chunk> = objects
        .all
        .chunks(OBJECTS_MAX)
        .filter_map(|oids| {
            let (first, last) = (oids.first()?, oids.last()?);
            let excluded: Vec<String> = objects
                .large
                .iter()
                .filter(|(oid, _)| oid >= first && oid <= last)
                .map(|(oid, _)| format!(" and oid <> {oid}"))
                .collect();
            Some(Chunk {
                table: position,
                sql: format!(
                    "copy (select oid, 0, pg_catalog.lo_get(oid) \
                     from pg_catalog.pg_largeobject_metadata \
                     where oid between {first} and {last}{}) to stdout",
                    excluded.concat()
                ),
                bytes: 8192 * oids.len() as u64,
            })
        })
        .collect();
    for (oid, size) in &objects.large {
        let slices = size.div_ceil(SLICE_BYTES);
        chunks.push(Chunk {
            table: position,
            sql: format!(
                "copy (select {oid}::pg_catalog.oid, n, \
                 pg_catalog.lo_get({oid}::pg_catalog.oid, n * {SLICE_BYTES}, {SLICE_BYTES}) \
                 from pg_catalog.generate_series(0::int8, {}::int8) g(n)) to stdout",
                slices.saturating_sub(1)
            ),
            bytes: *size,
        });
    }
    chunks
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table(main_bytes: u64, bytes: u64) -> Table {
        Table {
            schema: "s".to_owned(),
            name: "t".to_owned(),
            columns: vec![("a".to_owned(), 23), ("b\"".to_owned(), 701)],
            main_bytes,
            bytes,
            block_size: 8192,
            is_heap: true,
            condition: None,
        }
    }

    const NOW: PgVersion = PgVersion(150_000);

    #[test]
    fn a_small_table_is_read_at_once_with_its_columns_by_name() {
        let chunks = of_table(3, &table(8192, 8192), NOW, NOW);
        assert_eq!(
            chunks[0].sql,
            "copy (select \"a\", \"b\"\"\" from only \"s\".\"t\" ) to stdout"
        );
        assert_eq!((chunks.len(), chunks[0].table), (1, 3));
        let old = of_table(0, &table(8192, 8192), NOW, PgVersion(110_000));
        assert!(old[0].sql.contains("pg_catalog.float8send(\"b\"\"\")"));
    }

    #[test]
    fn the_ranges_of_a_large_table_meet_and_the_last_one_is_open() {
        let chunks = of_table(0, &table(100 * 8192, 3 * CHUNK_BYTES), NOW, NOW);
        let ranges: Vec<&str> = chunks
            .iter()
            .map(|chunk| chunk.sql.split_once(" where ").unwrap().1)
            .collect();
        assert_eq!(
            ranges,
            [
                "ctid >= '(0,0)' and ctid < '(33,0)') to stdout",
                "ctid >= '(33,0)' and ctid < '(66,0)') to stdout",
                "ctid >= '(66,0)') to stdout",
            ]
        );
        let old = of_table(
            0,
            &table(100 * 8192, 3 * CHUNK_BYTES),
            PgVersion(130_000),
            NOW,
        );
        assert_eq!(old.len(), 1);
    }

    #[test]
    fn every_large_object_is_in_one_chunk() {
        let objects = LargeObjects {
            all: (1..=2001).collect(),
            large: vec![(7, 3 * SLICE_BYTES + 1)],
        };
        let chunks = of_large_objects(0, &objects);
        assert_eq!(chunks.len(), 3);
        assert!(chunks[0].sql.contains("between 1 and 2000 and oid <> 7)"));
        assert!(chunks[1].sql.contains("between 2001 and 2001)"));
        assert!(chunks[2].sql.contains("generate_series(0::int8, 3::int8)"));
    }
}

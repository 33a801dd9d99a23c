//! Decides whether the rows of a table travel in the text or in the binary format of COPY.
//!
//! Pure but for `fetch_types`, which leaves run on both sides. Must not choose binary for a type
//! whose bytes mean something else on the other server: `reg*` types are bare oids, `money` depends
//! on `lc_monetary`, `tsvector` is rebuilt with other rules, `xml` carries a declaration of its
//! encoding that a conversion makes wrong. Unknown types go as text, which is always right.
//!
//! Binary pays where the target would parse numbers, times and hexadecimal bytes; a table of texts
//! and JSON is as fast as text. Character data in binary format is converted between encodings as
//! text is, and both sessions have the same `client_encoding`.

use std::collections::HashMap;

use postgres::GenericClient;

use super::query::{Query, get};
use crate::error::Result;
use crate::units::{Oid, PgVersion, Side};

/// First oid that is not the same on every server.
const FIRST_USER_OID: Oid = 16_384;

/// Deepest nesting of types that is looked at; deeper ones go as text.
const DEPTH_MAX: u32 = 16;

/// From this target version on, arrays and composites may name user types by another oid.
const LENIENT_OIDS_VERSION: PgVersion = PgVersion(140_000);

/// Built-in types that the binary format carries unchanged, with their array types, and whether
/// reading them from text is work (numbers, times, bytes) or a mere copy of characters.
const SAFE_TYPES: [(Oid, Oid, bool); 50] = [
    (16, 1000, false),   // bool
    (17, 1001, true),    // bytea
    (18, 1002, false),   // "char"
    (19, 1003, false),   // name
    (20, 1016, true),    // int8
    (21, 1005, true),    // int2
    (23, 1007, true),    // int4
    (25, 1009, false),   // text
    (26, 1028, true),    // oid
    (28, 1011, true),    // xid
    (114, 199, false),   // json
    (600, 1017, true),   // point
    (601, 1018, true),   // lseg
    (602, 1019, true),   // path
    (603, 1020, true),   // box
    (604, 1027, true),   // polygon
    (628, 629, true),    // line
    (650, 651, true),    // cidr
    (700, 1021, true),   // float4
    (701, 1022, true),   // float8
    (718, 719, true),    // circle
    (774, 775, true),    // macaddr8
    (829, 1040, true),   // macaddr
    (869, 1041, true),   // inet
    (1042, 1014, false), // bpchar
    (1043, 1015, false), // varchar
    (1082, 1182, true),  // date
    (1083, 1183, true),  // time
    (1114, 1115, true),  // timestamp
    (1184, 1185, true),  // timestamptz
    (1186, 1187, true),  // interval
    (1266, 1270, true),  // timetz
    (1560, 1561, true),  // bit
    (1562, 1563, true),  // varbit
    (1700, 1231, true),  // numeric
    (2950, 2951, true),  // uuid
    (3220, 3221, true),  // pg_lsn
    (3802, 3807, false), // jsonb: parsed again from its text on both ways
    (3904, 3905, true),  // int4range
    (3906, 3907, true),  // numrange
    (3908, 3909, true),  // tsrange
    (3910, 3911, true),  // tstzrange
    (3912, 3913, true),  // daterange
    (3926, 3927, true),  // int8range
    (4451, 6150, true),  // int4multirange
    (4532, 6151, true),  // nummultirange
    (4533, 6152, true),  // tsmultirange
    (4534, 6153, true),  // tstzmultirange
    (4535, 6155, true),  // datemultirange
    (4536, 6157, true),  // int8multirange
];

/// A column of one side, by its quoted name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Column {
    /// Quoted name.
    pub attname: String,
    /// Type.
    pub type_oid: Oid,
    /// Its modifier, `atttypmod`; -1: none.
    pub typmod: i32,
}

/// What the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FormatPolicy {
    /// Binary where it is safe without doubt and pays.
    Auto,
    /// Never binary.
    Text,
    /// Binary wherever it is safe, user-defined types included.
    Binary,
}

/// A format of COPY.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Format {
    /// One line a row, values as text.
    Text,
    /// `FORMAT binary`.
    Binary,
}

/// How a type is made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Shape {
    /// Labels, which travel as text.
    Enum,
    /// A base type with checks.
    Domain,
    /// Elements, with the oid of their type.
    Array,
    /// Columns, with the oids of their types.
    Composite,
    /// Two bounds.
    Range,
    /// Anything else; only the built-in ones are known.
    Base,
}

/// A type with what it is made of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TypeShape {
    /// Qualified name, the same on both sides for the same type.
    pub name: String,
    /// How it is made.
    pub shape: Shape,
    /// Base type, element, columns or subtype.
    pub members: Vec<Oid>,
}

/// Types by oid.
pub type TypeMap = HashMap<Oid, TypeShape>;

/// What the decision needs to know of the two servers.
#[derive(Clone, Debug)]
pub struct FormatFacts {
    /// Both servers have `integer_datetimes`.
    pub same_datetimes: bool,
    /// Version of the target.
    pub target_version: PgVersion,
    /// User-defined types of the source; only read for [`FormatPolicy::Binary`].
    pub source_types: TypeMap,
    /// User-defined types of the target; likewise.
    pub target_types: TypeMap,
}

/// Decides the format of a table from the columns that are copied and those of the target's table,
/// which are matched by name.
pub fn copy_format(
    source: &[Column],
    target: &[Column],
    policy: FormatPolicy,
    facts: &FormatFacts,
) -> Format {
    if policy == FormatPolicy::Text || !facts.same_datetimes || source.is_empty() {
        return Format::Text;
    }
    let mut pays = policy == FormatPolicy::Binary;
    for column in source {
        let Some(twin) = target.iter().find(|twin| twin.attname == column.attname) else {
            return Format::Text;
        };
        let safe = match built_in(column.type_oid) {
            Some(parsed) => {
                pays |= parsed;
                column.type_oid == twin.type_oid
            }
            None => {
                policy == FormatPolicy::Binary
                    && same_type(facts, (column.type_oid, twin.type_oid), DEPTH_MAX, false)
            }
        };
        if !safe {
            return Format::Text;
        }
    }
    if pays { Format::Binary } else { Format::Text }
}

/// Whether the type is on the list; if so, whether reading it from text is work.
fn built_in(oid: Oid) -> Option<bool> {
    SAFE_TYPES
        .iter()
        .find(|(base, array, _)| oid == *base || oid == *array)
        .map(|entry| entry.2)
}

/// Whether values of the source's type mean the same in the target's type. `named` is set where
/// the bytes carry the oid of the type.
fn same_type(facts: &FormatFacts, pair: (Oid, Oid), depth: u32, named: bool) -> bool {
    let (source, target) = pair;
    if built_in(source).is_some() {
        return source == target;
    }
    if depth == 0 || source < FIRST_USER_OID || target < FIRST_USER_OID {
        return false;
    }
    if named && source != target && facts.target_version < LENIENT_OIDS_VERSION {
        return false;
    }
    let (Some(ours), Some(theirs)) = (
        facts.source_types.get(&source),
        facts.target_types.get(&target),
    ) else {
        return false;
    };
    if ours.name != theirs.name
        || ours.shape != theirs.shape
        || ours.members.len() != theirs.members.len()
    {
        return false;
    }
    let names_members = match ours.shape {
        Shape::Base => return false,
        Shape::Enum => return true,
        // a domain's oid stands in the bytes, its base type's does not
        Shape::Domain | Shape::Range => false,
        Shape::Array | Shape::Composite => true,
    };
    !ours.members.is_empty()
        && ours
            .members
            .iter()
            .zip(&theirs.members)
            .all(|(ours, theirs)| same_type(facts, (*ours, *theirs), depth - 1, names_members))
}

/// Reads the types of one side, with all that they are made of. Blocks on the network.
pub fn fetch_types(
    client: &mut impl GenericClient,
    side: Side,
    type_oids: &[Oid],
) -> Result<TypeMap> {
    let mut types = TypeMap::new();
    let query = Query::on(side, "list the types", include_str!("sql/list_types.sql"));
    query.each(client, &[&type_oids], |row| {
        let shape = match get::<&str>(row, "shape")? {
            "e" => Shape::Enum,
            "d" => Shape::Domain,
            "a" => Shape::Array,
            "c" => Shape::Composite,
            "r" => Shape::Range,
            _ => Shape::Base,
        };
        let members = get(row, "members")?;
        types.insert(
            get(row, "oid")?,
            TypeShape {
                name: get(row, "name")?,
                shape,
                members,
            },
        );
        Ok(())
    })?;
    Ok(types)
}

#[cfg(test)]
mod tests;

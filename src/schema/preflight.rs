//! What a preflight asks about the objects of the source: each question is one list.
//!
//! Runs in the leaf that checks, before a run changes anything. Reads the catalogs of one server,
//! writes nothing. Must not judge: whether a finding stops the run is decided by its caller.

use postgres::GenericClient;
use std::collections::BTreeMap;

use super::query::{Query, get, unsigned};
use crate::error::{Error, Result};
use crate::filter::LeftOut;
use crate::units::{Oid, PgVersion, Side};

/// An object, and what there is to say about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// Its oid; a relation's.
    pub oid: Oid,
    /// Quoted, schema-qualified name.
    pub qname: String,
    /// One word; each list says which there are.
    pub reason: String,
}

/// Figures about the relations of a source.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SourceCounts {
    /// Foreign tables, whose rows are not copied.
    pub foreign_tables: u64,
    /// Relations that `pg_dump` will lock at once.
    pub locked_relations: u64,
    /// Columns carry `pg_attver`, which an old `pg_dump` writes into the schema.
    pub has_attver: bool,
}

/// First version without tables WITH OIDS.
const NO_OIDS_VERSION: PgVersion = PgVersion(120_000);

fn findings(
    client: &mut impl GenericClient,
    what: &'static str,
    sql: &'static str,
) -> Result<Vec<Finding>> {
    Query::source(what, sql).collect(client, &[], |row| {
        Ok(Finding {
            oid: get(row, "oid")?,
            qname: get(row, "qname")?,
            reason: get(row, "reason")?,
        })
    })
}

/// Tables that the role may not read as a whole: `schema`, `columns` (only some) or `table`.
pub fn list_unreadable_tables(client: &mut impl GenericClient) -> Result<Vec<Finding>> {
    let sql = include_str!("sql/list_unreadable_tables.sql");
    findings(client, "list the tables that cannot be read", sql)
}

/// Tables of which the role may see a part only: `policy`, or `forced` for an owner.
pub fn list_row_security_tables(client: &mut impl GenericClient) -> Result<Vec<Finding>> {
    let sql = include_str!("sql/list_row_security_tables.sql");
    findings(client, "list the tables with row level security", sql)
}

/// Sequences that the role may not read: `schema` or `sequence`.
pub fn list_unreadable_sequences(client: &mut impl GenericClient) -> Result<Vec<Finding>> {
    let sql = include_str!("sql/list_unreadable_sequences.sql");
    findings(client, "list the sequences that cannot be read", sql)
}

/// Unlogged tables, which a crash of the target empties.
pub fn list_unlogged_tables(client: &mut impl GenericClient) -> Result<Vec<Finding>> {
    findings(
        client,
        "list the unlogged tables",
        include_str!("sql/list_unlogged_tables.sql"),
    )
}

/// Invalid indexes, which are not copied; the reason is the quoted name of the table.
pub fn list_invalid_indexes(client: &mut impl GenericClient) -> Result<Vec<Finding>> {
    findings(
        client,
        "list the invalid indexes",
        include_str!("sql/list_invalid_indexes.sql"),
    )
}

/// Relations of the user in schema `pgcopydb`, which nobody copies; the reason is the relkind.
pub fn list_own_schema_relations(client: &mut impl GenericClient) -> Result<Vec<Finding>> {
    let sql = include_str!("sql/list_own_schema_relations.sql");
    findings(client, "list the relations in schema pgcopydb", sql)
}

/// Tables made WITH OIDS, which are lost.
pub fn list_oid_tables(
    client: &mut impl GenericClient,
    version: PgVersion,
) -> Result<Vec<Finding>> {
    if version >= NO_OIDS_VERSION {
        return Ok(Vec::new());
    }
    let sql = include_str!("sql/list_oid_tables_pg96.sql");
    findings(client, "list the tables with oids", sql)
}

/// The first `limit` large objects that the role may not read.
pub fn list_unreadable_large_objects(
    client: &mut impl GenericClient,
    limit: i64,
) -> Result<Vec<Oid>> {
    let sql = include_str!("sql/list_unreadable_large_objects.sql");
    let query = Query::source("list the large objects that cannot be read", sql);
    query.collect(client, &[&limit], |row| get(row, "oid"))
}

/// A role that the source database names.
#[derive(Clone, Debug, PartialEq, Eq)]
#[allow(
    clippy::struct_excessive_bools,
    reason = "four independent ways of use"
)]
pub struct UsedRole {
    /// Raw name.
    pub rolname: String,
    /// Owns objects.
    pub owns: bool,
    /// Was granted something.
    pub is_granted: bool,
    /// A policy names it.
    pub in_policy: bool,
    /// Has settings of its own in this database.
    pub has_settings: bool,
}

/// Roles that the target needs for owners, grants, policies and settings.
pub fn list_used_roles(client: &mut impl GenericClient) -> Result<Vec<UsedRole>> {
    let query = Query::source(
        "list the roles in use",
        include_str!("sql/list_used_roles.sql"),
    );
    query.collect(client, &[], |row| {
        Ok(UsedRole {
            rolname: get(row, "rolname")?,
            owns: get(row, "owns")?,
            is_granted: get(row, "is_granted")?,
            in_policy: get(row, "in_policy")?,
            has_settings: get(row, "has_settings")?,
        })
    })
}

/// What the current role of the target may do on behalf of a role.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RoleRights {
    /// Raw name.
    pub rolname: String,
    /// It is a superuser.
    pub is_superuser: bool,
    /// Objects can be given to it.
    pub may_give: bool,
    /// Its objects can be used.
    pub may_use: bool,
}

/// What the current role of the target may do on behalf of roles; those that do not exist are left out.
pub fn find_role_rights(
    client: &mut impl GenericClient,
    roles: &[&str],
) -> Result<Vec<RoleRights>> {
    let sql = include_str!("sql/find_role_rights.sql");
    let query = Query::target("look at the rights on roles", sql);
    query.collect(client, &[&roles], |row| {
        Ok(RoleRights {
            rolname: get(row, "rolname")?,
            is_superuser: get(row, "is_super")?,
            may_give: get(row, "may_give")?,
            may_use: get(row, "may_use")?,
        })
    })
}

/// The same roles, without what only objects need of them that are left out.
pub fn list_roles_of_kept(
    client: &mut impl GenericClient,
    left_out: &LeftOut,
) -> Result<Vec<UsedRole>> {
    let query = Query::source(
        "list the roles in use",
        include_str!("sql/list_role_uses.sql"),
    );
    let mut roles: BTreeMap<String, UsedRole> = BTreeMap::new();
    query.each(client, &[], |row| {
        if left_out.contains(get(row, "classid")?, get(row, "objid")?) {
            return Ok(());
        }
        let rolname: String = get(row, "rolname")?;
        let role = roles.entry(rolname.clone()).or_insert(UsedRole {
            rolname,
            owns: false,
            is_granted: false,
            in_policy: false,
            has_settings: false,
        });
        match get::<&str>(row, "how")? {
            "o" => role.owns = true,
            "a" => role.is_granted = true,
            "r" => role.in_policy = true,
            _ => role.has_settings = true,
        }
        Ok(())
    })?;
    Ok(roles.into_values().collect())
}

/// What becomes of the owner of schema `public`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PublicOwner {
    /// It can be set as on the source.
    Given,
    /// It is the same already.
    Same,
    /// The current role may not change it.
    Stays,
}

/// Asks the target whether its schema `public` can get that owner; superusers need not ask.
pub fn find_public_owner(client: &mut impl GenericClient, owner: &str) -> Result<PublicOwner> {
    let sql = include_str!("sql/find_public_rights.sql");
    let query = Query::target("look at the owner of schema public", sql);
    let found = query.collect(client, &[&owner], |row| {
        let same: bool = get(row, "is_same")?;
        let given: bool = get(row, "may_give")?;
        Ok(match (same, given) {
            (true, _) => PublicOwner::Same,
            (false, true) => PublicOwner::Given,
            (false, false) => PublicOwner::Stays,
        })
    })?;
    Ok(found.first().copied().unwrap_or(PublicOwner::Given))
}

/// All roles of a cluster; raw names.
pub fn list_roles(client: &mut impl GenericClient, side: Side) -> Result<Vec<String>> {
    let query = Query::on(side, "list the roles", include_str!("sql/list_roles.sql"));
    query.collect(client, &[], |row| get(row, "rolname"))
}

/// Counts relations of the source; `left_out` are relations that do not count, `undumped` raw names of schemas that
/// `pg_dump` does not look at.
pub fn read_source_counts(
    client: &mut impl GenericClient,
    left_out: &[Oid],
    undumped: &[String],
) -> Result<SourceCounts> {
    let query = Query::source(
        "count the relations",
        include_str!("sql/read_source_counts.sql"),
    );
    let counts = query.collect(client, &[&left_out, &undumped], |row| {
        Ok(SourceCounts {
            foreign_tables: unsigned(get(row, "foreign_tables")?),
            locked_relations: unsigned(get(row, "locked_relations")?),
            has_attver: get(row, "has_attver")?,
        })
    })?;
    let none = || Error::internal("the relations of the source were not counted");
    counts.into_iter().next().ok_or_else(none)
}

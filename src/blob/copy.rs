//! One batch of large objects: bytes, owner, privileges, comment.
//!
//! Runs in large object workers, inside transactions that are open on both sides. Small objects of a
//! batch go in one round trip each way; larger ones are read and written in pieces, so that memory
//! stays bounded whatever their size.

use super::BlobFacts;
use crate::error::{Error, Result};
use crate::pg::{PgSession, quote};

/// Bytes read of each object together with its metadata; a batch of 200 needs 200 times as much.
const START_BYTES: i32 = 64 * 1024;
/// Bytes of one piece of a larger object.
const PIECE_BYTES: i32 = 4 << 20;

const READ_BATCH: &str = include_str!("sql/read_batch.sql");
const LIST_GRANTS: &str = include_str!("sql/list_grants.sql");
const CREATE: &str = include_str!("sql/create_large_objects.sql");

struct Blob {
    oid: u32,
    owner: String,
    acl: Option<String>,
    comment: Option<String>,
    start: Vec<u8>,
}

/// Copies the objects with oids from the first to the last one; returns their number and bytes.
pub(super) fn copy_batch(
    (source, target): (&mut PgSession, &mut PgSession),
    facts: BlobFacts,
    (first, last): (u32, u32),
) -> Result<(u64, u64)> {
    let rows = source.query(READ_BATCH, &[&first, &last, &START_BYTES])?;
    let blobs: Vec<Blob> = rows
        .iter()
        .map(|row| Blob {
            oid: row.get(0),
            owner: row.get(1),
            acl: row.get(2),
            comment: row.get(3),
            start: row.get(4),
        })
        .collect();
    let oids: Vec<u32> = blobs.iter().map(|blob| blob.oid).collect();
    let starts: Vec<&[u8]> = blobs.iter().map(|blob| blob.start.as_slice()).collect();
    let made = target.query(CREATE, &[&oids, &starts])?.len();
    if made != blobs.len() {
        return Err(Error::internal(format!("{made} of {} large objects were made", blobs.len())));
    }
    let mut bytes = 0;
    for blob in &blobs {
        bytes += copy_rest((source, target), blob)?;
    }
    apply_metadata((source, target), facts, &blobs, (first, last))?;
    Ok((u64::try_from(blobs.len()).unwrap_or(0), bytes))
}

/// Copies what the first read left out; returns the size of the whole object.
fn copy_rest((source, target): (&mut PgSession, &mut PgSession), blob: &Blob) -> Result<u64> {
    let mut offset = i64::try_from(blob.start.len()).unwrap_or(0);
    if offset < i64::from(START_BYTES) {
        return Ok(u64::try_from(offset).unwrap_or(0));
    }
    loop {
        let row = source.query_one(
            "select pg_catalog.lo_get($1::oid, $2::int8, $3::int4)",
            &[&blob.oid, &offset, &PIECE_BYTES],
        )?;
        let piece: &[u8] = row.get(0);
        if piece.is_empty() {
            return Ok(u64::try_from(offset).unwrap_or(0));
        }
        target.query(
            "select pg_catalog.lo_put($1::oid, $2::int8, $3::bytea)",
            &[&blob.oid, &offset, &piece],
        )?;
        offset += i64::try_from(piece.len()).unwrap_or(0);
        if piece.len() < usize::try_from(PIECE_BYTES).unwrap_or(usize::MAX) {
            return Ok(u64::try_from(offset).unwrap_or(0));
        }
    }
}

/// Sets comment, privileges and owner, the owner last: it may take the right to do the others away.
fn apply_metadata(
    (source, target): (&mut PgSession, &mut PgSession),
    facts: BlobFacts,
    blobs: &[Blob],
    (first, last): (u32, u32),
) -> Result<()> {
    let mut statements = Vec::new();
    for blob in blobs.iter().filter(|_| facts.with_comments) {
        if let Some(comment) = &blob.comment {
            let comment = quote::literal(comment);
            statements.push(format!("comment on large object {} is {comment}", blob.oid));
        }
    }
    if facts.with_owner {
        for blob in blobs {
            let owner = quote::ident(&blob.owner);
            statements.push(format!("alter large object {} owner to {owner}", blob.oid));
        }
    }
    if facts.with_acl && blobs.iter().any(|blob| blob.acl.is_some()) {
        for blob in blobs.iter().filter(|blob| blob.acl.is_some()) {
            let owner = quote::ident(&blob.owner);
            let owner = if facts.with_owner { owner } else { "current_user".to_owned() };
            statements.push(format!("revoke all on large object {} from {owner}", blob.oid));
        }
        statements.extend(grants(source, facts, blobs, (first, last))?);
    }
    if statements.is_empty() { Ok(()) } else { target.batch_execute(&statements.join("; ")) }
}

fn grants(
    source: &mut PgSession,
    facts: BlobFacts,
    blobs: &[Blob],
    (first, last): (u32, u32),
) -> Result<Vec<String>> {
    let rows = source.query(LIST_GRANTS, &[&first, &last])?;
    let statements = rows.iter().map(|row| {
        let (oid, grantee): (u32, Option<&str>) = (row.get(0), row.get(1));
        let (privilege, grantable): (&str, bool) = (row.get(2), row.get(3));
        let is_owner = blobs.iter().any(|b| b.oid == oid && Some(b.owner.as_str()) == grantee);
        let grantee = match grantee {
            None => "public".to_owned(),
            Some(_) if is_owner && !facts.with_owner => "current_user".to_owned(),
            Some(grantee) => quote::ident(grantee),
        };
        let option = if grantable { " with grant option" } else { "" };
        format!("grant {privilege} on large object {oid} to {grantee}{option}")
    });
    Ok(statements.collect())
}

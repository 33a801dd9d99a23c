//! Lists the extensions with the relations that they declare as configuration, referenced tables
//! first.
//!
//! Runs in the leaf that fetches. Reads the catalogs of the source, writes `s_extension` and
//! `s_extension_config`. Must not follow a cycle of foreign keys for ever.

use std::collections::HashSet;

use postgres::GenericClient;
use rusqlite::{Transaction, params};

use super::clear;
use super::query::{Query, get, ledger};
use crate::error::Result;
use crate::units::Oid;

const LIST: Query = Query::source(
    "list the extensions",
    include_str!("sql/list_extensions.sql"),
);

const CONFIGS: Query = Query::source(
    "list the configuration tables of extensions",
    include_str!("sql/list_extension_configs.sql"),
);

/// A configuration relation of an extension.
#[derive(Clone, Debug)]
struct Config {
    ext_oid: Oid,
    oid: Oid,
    qname: String,
    relkind: String,
    condition: String,
    refs: Vec<Oid>,
}

/// Fills `s_extension` and `s_extension_config`; counts the extensions.
pub fn fetch_extensions(client: &mut impl GenericClient, tx: &Transaction<'_>) -> Result<u64> {
    clear(tx, "delete from s_extension")?;
    clear(tx, "delete from s_extension_config")?;
    let mut insert = tx
        .prepare("insert into s_extension values (?1, ?2, ?3, ?4)")
        .map_err(ledger)?;
    let count = LIST.each(client, &[], |row| {
        insert
            .execute(params![
                get::<Oid>(row, "oid")?,
                get::<&str>(row, "extname")?,
                get::<&str>(row, "nspname")?,
                get::<&str>(row, "version")?,
            ])
            .map_err(ledger)?;
        Ok(())
    })?;
    let configs = CONFIGS.collect(client, &[], |row| {
        Ok(Config {
            ext_oid: get(row, "ext_oid")?,
            oid: get(row, "oid")?,
            qname: get(row, "qname")?,
            relkind: get(row, "relkind")?,
            condition: get(row, "condition")?,
            refs: get(row, "refs")?,
        })
    })?;
    let mut insert = tx
        .prepare("insert into s_extension_config values (?1, ?2, ?3, ?4, ?5, ?6)")
        .map_err(ledger)?;
    for extension in configs.chunk_by(|one, next| one.ext_oid == next.ext_oid) {
        for (position, config) in (1_i64..).zip(in_copy_order(extension)) {
            insert
                .execute(params![
                    config.ext_oid,
                    position,
                    config.oid,
                    config.qname,
                    config.relkind,
                    config.condition,
                ])
                .map_err(ledger)?;
        }
    }
    Ok(count)
}

/// Referenced tables before the tables that reference them, otherwise as declared. Members of a
/// cycle, which have no right order, come in their declared order.
fn in_copy_order(configs: &[Config]) -> Vec<&Config> {
    let mut ordered = Vec::with_capacity(configs.len());
    let mut waiting: Vec<&Config> = configs.iter().collect();
    while !waiting.is_empty() {
        let open: HashSet<Oid> = waiting.iter().map(|config| config.oid).collect();
        let free = |config: &Config| config.refs.iter().all(|oid| !open.contains(oid));
        let (mut ready, mut rest): (Vec<_>, Vec<_>) =
            waiting.into_iter().partition(|config| free(config));
        if ready.is_empty() {
            ready.push(rest.remove(0));
        }
        ordered.append(&mut ready);
        waiting = rest;
    }
    ordered
}

#[cfg(test)]
mod tests {
    use super::*;

    fn order(configs: &[(Oid, &[Oid])]) -> Vec<Oid> {
        let configs: Vec<Config> = configs
            .iter()
            .map(|(oid, refs)| Config {
                ext_oid: 1,
                oid: *oid,
                qname: String::new(),
                relkind: "r".to_owned(),
                condition: String::new(),
                refs: refs.to_vec(),
            })
            .collect();
        in_copy_order(&configs)
            .iter()
            .map(|config| config.oid)
            .collect()
    }

    #[test]
    fn referenced_configuration_tables_come_first() {
        assert_eq!(order(&[]), [0; 0]);
        assert_eq!(order(&[(1, &[2]), (2, &[3]), (3, &[])]), [3, 2, 1]);
        assert_eq!(order(&[(1, &[]), (2, &[1]), (3, &[1, 2])]), [1, 2, 3]);
    }

    #[test]
    fn a_cycle_of_foreign_keys_ends() {
        assert_eq!(order(&[(1, &[2]), (2, &[1])]), [1, 2]);
        assert_eq!(
            order(&[(1, &[2]), (2, &[3]), (3, &[1]), (4, &[])]),
            [4, 1, 3, 2]
        );
    }
}

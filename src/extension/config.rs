//! The rows of one configuration table or the value of one configuration sequence.
//!
//! Runs in the extension process, in a transaction of its caller on each side. The extension's own script may
//! have put rows there: those of the source win by key, and without a key only what is missing is added. What
//! is then still different is told, never dropped without a word.

use crate::error::{Error, Result};
use crate::pg::{quote, relay};
use crate::wire;

/// A configuration relation in the order to copy.
pub(super) struct Config {
    pub(super) qname: String,
    pub(super) relkind: String,
    pub(super) condition: String,
}

/// What came of one.
#[derive(Default)]
pub(super) struct Copied {
    pub(super) bytes: u64,
    /// What a person must be told.
    pub(super) notices: Vec<String>,
}

/// Source and target.
pub(super) type Both<'a> = (&'a mut wire::Session, &'a mut wire::Session);

/// Copies the rows, or sets the sequence.
pub(super) fn copy((source, target): Both<'_>, config: &Config) -> Result<Copied> {
    if config.relkind == "S" {
        set_sequence((source, target), config)?;
        return Ok(Copied::default());
    }
    let columns = Columns::read((source, target), config)?;
    let mut notices = columns.notices(config);
    let list = columns.common.join(", ");
    let (qname, condition) = (&config.qname, &config.condition);
    target.simple(&format!(
        "create temporary table pgcopydb_config on commit drop as \
         select {list} from only {qname} where false"
    ))?;
    let mut out = source.copy_out(&format!(
        "copy (select {list} from only {qname} {condition}) to stdout"
    ))?;
    let mut into = target.copy_in("copy pg_temp.pgcopydb_config from stdin")?;
    let bytes = relay::relay(&mut out, &mut into, &mut |_| Ok(()))?;
    out.finish()?;
    into.finish()?;
    let merge = Merge {
        config,
        columns: &columns,
        list,
    };
    merge.run(target, &mut notices)?;
    target.simple("drop table pg_temp.pgcopydb_config")?;
    Ok(Copied { bytes, notices })
}

fn set_sequence((source, target): Both<'_>, config: &Config) -> Result<()> {
    let sql = format!(
        "select last_value || ', ' || is_called from {}",
        config.qname
    );
    let value = first_value(source, &sql)?;
    let name = quote::literal(&config.qname);
    target.simple(&format!(
        "select pg_catalog.setval({name}::pg_catalog.regclass, {value})"
    ))?;
    Ok(())
}

fn first_value(session: &mut wire::Session, sql: &str) -> Result<String> {
    let first = list(session, sql)?.into_iter().next();
    first.ok_or_else(|| Error::internal("a query gave no value"))
}

/// The first column of all rows.
fn list(session: &mut wire::Session, sql: &str) -> Result<Vec<String>> {
    let results = session.simple(sql)?;
    let rows = results.into_iter().flat_map(|result| result.rows);
    Ok(rows
        .filter_map(|row| row.into_iter().next().flatten())
        .collect())
}

/// Columns of both sides, quoted, in the source's order.
struct Columns {
    /// On both, and not computed by the target.
    common: Vec<String>,
    /// On the source alone.
    left: Vec<String>,
    /// Of a primary key or another unique index of the target, if all of them are common.
    key: Vec<String>,
}

impl Columns {
    fn read((source, target): Both<'_>, config: &Config) -> Result<Self> {
        let relation = format!("{}::pg_catalog.regclass", quote::literal(&config.qname));
        let columns = |more: &str| {
            format!(
                "select pg_catalog.quote_ident(a.attname) from pg_catalog.pg_attribute a \
                  where a.attrelid = {relation} and a.attnum > 0 and not a.attisdropped {more} \
                  order by a.attnum"
            )
        };
        let generated = "and coalesce(pg_catalog.to_jsonb(a) ->> 'attgenerated', '')";
        let ours = list(source, &columns(""))?;
        let theirs = list(target, &columns(&format!("{generated} = ''")))?;
        let computed = list(target, &columns(&format!("{generated} <> ''")))?;
        let (common, others): (Vec<String>, Vec<String>) =
            ours.into_iter().partition(|name| theirs.contains(name));
        let left = others
            .into_iter()
            .filter(|name| !computed.contains(name))
            .collect();
        let key = list(
            target,
            &format!(
                "select pg_catalog.quote_ident(a.attname) from pg_catalog.pg_attribute a \
                   join (select i.indrelid, i.indkey from pg_catalog.pg_index i \
                          where i.indrelid = {relation} and i.indisunique and i.indisvalid \
                            and i.indimmediate and i.indpred is null and i.indexprs is null \
                          order by i.indisprimary desc, i.indexrelid limit 1) i \
                     on a.attrelid = i.indrelid and a.attnum = any (i.indkey)"
            ),
        )?;
        let is_usable = key.iter().all(|name| common.contains(name));
        Ok(Self {
            key: if is_usable { key } else { Vec::new() },
            common,
            left,
        })
    }

    fn notices(&self, config: &Config) -> Vec<String> {
        if self.left.is_empty() {
            return Vec::new();
        }
        vec![format!(
            "Columns {} of configuration table {} are not on the target, which has another version of \
             the extension: their values are left out",
            self.left.join(", "),
            config.qname
        )]
    }
}

/// From the temporary table to the one of the extension.
struct Merge<'a> {
    config: &'a Config,
    columns: &'a Columns,
    list: String,
}

impl Merge<'_> {
    /// A row as text, so that every type can be compared.
    fn row(&self, alias: &str) -> String {
        let texts: Vec<String> = self
            .columns
            .common
            .iter()
            .map(|name| format!("{alias}.{name}::text"))
            .collect();
        format!("row({})::text", texts.join(", "))
    }

    fn run(&self, target: &mut wire::Session, notices: &mut Vec<String>) -> Result<()> {
        let qname = &self.config.qname;
        let key = &self.columns.key;
        if key.is_empty() {
            self.add_missing(target)?;
        } else {
            let changed = self.upsert(target)?;
            if changed > 0 {
                log::info!(
                    "{changed} rows of {qname} were on the target, and have the source's values now"
                );
            }
        }
        let (missing, more) = self.differences(target)?;
        if missing > 0 {
            notices.push(format!(
                "{missing} rows of configuration table {qname} are not on the target as they are on the \
                 source: a trigger of it may have changed them"
            ));
        }
        if more > 0 {
            notices.push(format!(
                "{more} rows of configuration table {qname} are on the target and not on the source: they \
                 stay"
            ));
        }
        Ok(())
    }

    /// Inserts rows, and updates those whose key is there with other values; how many these were.
    fn upsert(&self, target: &mut wire::Session) -> Result<u64> {
        let (qname, list, key) = (&self.config.qname, &self.list, &self.columns.key);
        let joined: Vec<String> = key
            .iter()
            .map(|name| format!("q.{name} = t.{name}"))
            .collect();
        let changed = first_value(
            target,
            &format!(
                "select count(*) from pg_temp.pgcopydb_config t join only {qname} q on {} \
                  where {} <> {}",
                joined.join(" and "),
                self.row("q"),
                self.row("t")
            ),
        )?;
        let others = self
            .columns
            .common
            .iter()
            .filter(|name| !key.contains(name));
        let set: Vec<String> = others
            .map(|name| format!("{name} = excluded.{name}"))
            .collect();
        let on_conflict = if set.is_empty() {
            "do nothing".to_owned()
        } else {
            format!(
                "do update set {} where {} <> {}",
                set.join(", "),
                self.row("q"),
                self.row("excluded")
            )
        };
        target.simple(&format!(
            "insert into {qname} as q ({list}) overriding system value \
             select {list} from pg_temp.pgcopydb_config on conflict ({}) {on_conflict}",
            key.join(", ")
        ))?;
        Ok(changed.parse().unwrap_or(0))
    }

    /// Inserts rows that are not there, equal ones as often as the source has them.
    fn add_missing(&self, target: &mut wire::Session) -> Result<()> {
        let (qname, list) = (&self.config.qname, &self.list);
        let (ours, theirs) = (self.row("t"), self.row("q"));
        target.simple(&format!(
            "insert into {qname} ({list}) overriding system value \
             select {list} from (select t.*, {ours} as pgcopydb_row, \
                    row_number() over (partition by {ours}) as pgcopydb_number \
                      from pg_temp.pgcopydb_config t) t \
              where pgcopydb_number > (select count(*) from only {qname} q \
                                        where {theirs} = t.pgcopydb_row)"
        ))?;
        Ok(())
    }

    /// Rows that the target lacks, and that it has beyond the source's.
    fn differences(&self, target: &mut wire::Session) -> Result<(u64, u64)> {
        let theirs = format!(
            "select {} from (select * from only {} {}) q",
            self.row("q"),
            self.config.qname,
            self.config.condition
        );
        let ours = format!("select {} from pg_temp.pgcopydb_config t", self.row("t"));
        let mut count = |one: &str, other: &str| -> Result<u64> {
            let sql = format!("select count(*) from ({one} except all {other}) d");
            Ok(first_value(target, &sql)?.parse().unwrap_or(0))
        };
        Ok((count(&ours, &theirs)?, count(&theirs, &ours)?))
    }
}

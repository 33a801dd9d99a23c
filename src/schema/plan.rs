//! Cuts a large table into parts that several workers copy: by physical position (ctid), or by an
//! integer key. Every row is in exactly one part, whatever the statistics say.
//!
//! Pure: takes sizes and bounds, returns parts; no process runs it but as a part of `split`. It
//! must not encode "no bound" or "the null rows" as a number, and must not let a statistic decide
//! what is copied: sizes and histograms only place the cuts, the outer ends are always open.

/// Most parts that any table is cut into.
pub const PARTS_MAX: u64 = 100_000;

/// First server version where a range of ctids is read without reading the whole table.
pub const TID_RANGE_SCAN_VERSION: u32 = 140_000;

/// What the planner must know of a table.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TableFacts {
    /// The table access method is `heap`.
    pub is_heap: bool,
    /// Size of main fork and TOAST, bytes.
    pub bytes: u64,
    /// Pages of the main fork.
    pub pages: u64,
    /// A column to cut by, when there is one.
    pub key: Option<KeyFacts>,
}

/// What the planner must know of an integer key.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct KeyFacts {
    /// Rows may have no key.
    pub nullable: bool,
    /// Lowest and highest key; `None`: no row has one.
    pub min_max: Option<(i64, i64)>,
    /// Bounds of buckets with equal row counts, ascending; empty: not known.
    pub histogram: Vec<i64>,
}

/// What the user asked for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SplitOptions {
    /// Size from which on a table is cut, and about the size of a part; 0: never.
    pub part_bytes: u64,
    /// Most parts of a table; 0: no limit but [`PARTS_MAX`].
    pub max_parts: u64,
    /// The source reads ranges of ctids well, and the user did not forbid them.
    pub by_ctid: bool,
}

/// What the bounds of a part count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PartKind {
    /// Pages of the main fork.
    Ctid,
    /// Values of an integer column.
    Range,
}

impl PartKind {
    /// The word in the ledger.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Ctid => "ctid",
            Self::Range => "range",
        }
    }

    /// The kind with this word in the ledger.
    pub fn parse(word: &str) -> Option<Self> {
        [Self::Ctid, Self::Range]
            .into_iter()
            .find(|kind| kind.as_str() == word)
    }
}

/// One part, as `s_part` has it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PartPlan {
    /// 1, 2, ...
    pub part: u32,
    /// What the bounds count.
    pub kind: PartKind,
    /// First page or lowest key, inclusive; `None`: open.
    pub low: Option<i64>,
    /// Page or key after the last one, exclusive; `None`: open.
    pub high: Option<i64>,
    /// Takes the rows without a key, too.
    pub with_null: bool,
}

/// Cuts a table; no parts mean that it is copied whole.
pub fn plan_parts(table: &TableFacts, options: &SplitOptions) -> Vec<PartPlan> {
    let wanted = wanted_parts(table, options);
    if wanted < 2 {
        return Vec::new();
    }
    if table.is_heap && options.by_ctid {
        return ranges(PartKind::Ctid, &page_cuts(table.pages, wanted), false);
    }
    let Some(key) = &table.key else {
        return Vec::new();
    };
    let Some((min, max)) = key.min_max else {
        return Vec::new();
    };
    ranges(
        PartKind::Range,
        &key_cuts(min, max, &key.histogram, wanted),
        key.nullable,
    )
}

/// Tells whether the bounds of the key are needed, which cost a query.
pub fn needs_key(table: &TableFacts, options: &SplitOptions) -> bool {
    wanted_parts(table, options) > 1 && !(table.is_heap && options.by_ctid)
}

/// The WHERE clause of a part; `key` is the quoted column, ignored for ctid parts.
pub fn predicate(part: &PartPlan, key: &str) -> String {
    let (column, literal): (&str, fn(i64) -> String) = match part.kind {
        PartKind::Ctid => ("ctid", |page| format!("'({page},0)'::tid")),
        // quoted, as -9223372036854775808 without quotes is a numeric
        PartKind::Range => (key, |value| format!("'{value}'::int8")),
    };
    let low = part.low.map(|low| format!("{column} >= {}", literal(low)));
    let high = part
        .high
        .map(|high| format!("{column} < {}", literal(high)));
    let range = match (low, high) {
        (Some(low), Some(high)) => format!("{low} and {high}"),
        (Some(one), None) | (None, Some(one)) => one,
        (None, None) => return "true".to_owned(),
    };
    if part.with_null {
        format!("({range} or {column} is null)")
    } else {
        range
    }
}

fn wanted_parts(table: &TableFacts, options: &SplitOptions) -> u64 {
    if options.part_bytes == 0 || table.bytes < options.part_bytes {
        return 1;
    }
    let cap = if options.max_parts == 0 {
        PARTS_MAX
    } else {
        options.max_parts.min(PARTS_MAX)
    };
    table.bytes.div_ceil(options.part_bytes).min(cap)
}

/// First pages of all parts but the first. TOAST counts in the number of parts only.
fn page_cuts(pages: u64, wanted: u64) -> Vec<i64> {
    let parts = i128::from(wanted.min(pages));
    let pages = i128::from(pages);
    (1..parts)
        .filter_map(|part| i64::try_from(pages * part / parts).ok())
        .collect()
}

/// Lowest keys of all parts but the first: strictly ascending, above `min`, not above `max`.
fn key_cuts(min: i64, max: i64, histogram: &[i64], wanted: u64) -> Vec<i64> {
    let (low, high) = (i128::from(min), i128::from(max));
    // Bounds outside of what the table has now are from older statistics.
    let mut known: Vec<i128> = histogram
        .iter()
        .map(|bound| i128::from(*bound))
        .filter(|bound| (low..=high).contains(bound))
        .collect();
    known.sort_unstable();
    known.dedup();
    let parts = i128::from(wanted).min(high - low + 1);
    let mut cuts: Vec<i64> = Vec::new();
    for part in 1..parts {
        let cut = match quantile(&known, part, parts) {
            Some(cut) => cut,
            None => low + (high - low + 1) * part / parts,
        };
        let Ok(cut) = i64::try_from(cut) else {
            continue;
        };
        if cut > cuts.last().copied().unwrap_or(min) && cut <= max {
            cuts.push(cut);
        }
    }
    cuts
}

/// The value below which `part` of `parts` shares of the rows lie, interpolated within its bucket.
fn quantile(bounds: &[i128], part: i128, parts: i128) -> Option<i128> {
    let buckets = i128::try_from(bounds.len().checked_sub(1)?).ok()?;
    if buckets == 0 {
        return None;
    }
    let position = part * buckets;
    let left = usize::try_from(position / parts).ok()?;
    let from = *bounds.get(left)?;
    let to = bounds.get(left + 1).copied().unwrap_or(from);
    // rounded up, so that a cut in the first bucket is above the lowest key
    Some(from + ((to - from) * (position % parts) + parts - 1) / parts)
}

/// Parts between cuts, the outer ones open; none for a single part.
fn ranges(kind: PartKind, cuts: &[i64], nullable: bool) -> Vec<PartPlan> {
    if cuts.is_empty() {
        return Vec::new();
    }
    let lows = std::iter::once(None).chain(cuts.iter().copied().map(Some));
    let highs = cuts.iter().copied().map(Some).chain(std::iter::once(None));
    (1..)
        .zip(lows.zip(highs))
        .map(|(part, (low, high))| PartPlan {
            part,
            kind,
            low,
            high,
            with_null: nullable && low.is_none(),
        })
        .collect()
}

#[cfg(test)]
mod tests;

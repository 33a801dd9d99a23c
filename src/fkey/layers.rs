//! The order in which tables are filled while their keys stay: parents before children.
//!
//! Pure. A table that refers to itself is no obstacle: within one COPY the server looks at the end.

use crate::units::Oid;
use std::collections::{BTreeMap, BTreeSet};

/// Tables that refer to each other in a circle, so that none of them can be first.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cycle(pub Vec<Oid>);

/// Checks that the edges (child, parent) have an order, and returns them without self references and
/// duplicates. Errors: a cycle.
pub fn order(edges: &[(Oid, Oid)]) -> Result<BTreeSet<(Oid, Oid)>, Cycle> {
    let edges: BTreeSet<(Oid, Oid)> = edges.iter().copied().filter(|(c, p)| c != p).collect();
    let mut waiting: BTreeMap<Oid, BTreeSet<Oid>> = BTreeMap::new();
    for (child, parent) in &edges {
        waiting.entry(*child).or_default().insert(*parent);
        waiting.entry(*parent).or_default();
    }
    loop {
        let ready: Vec<Oid> = waiting
            .iter()
            .filter(|(_, parents)| parents.is_empty())
            .map(|(table, _)| *table)
            .collect();
        if ready.is_empty() {
            break;
        }
        for table in &ready {
            waiting.remove(table);
        }
        for parents in waiting.values_mut() {
            parents.retain(|parent| !ready.contains(parent));
        }
    }
    if waiting.is_empty() {
        return Ok(edges);
    }
    Err(Cycle(cycle_in(&waiting)))
}

/// Walks up from any table that waits until one comes again.
fn cycle_in(waiting: &BTreeMap<Oid, BTreeSet<Oid>>) -> Vec<Oid> {
    let mut path: Vec<Oid> = Vec::new();
    let mut at = waiting.keys().next().copied();
    while let Some(table) = at {
        if let Some(start) = path.iter().position(|seen| *seen == table) {
            return path.split_off(start);
        }
        path.push(table);
        at = waiting
            .get(&table)
            .and_then(|parents| parents.iter().find(|parent| waiting.contains_key(parent)))
            .copied();
    }
    path
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parents_come_first_and_a_circle_is_named() {
        let edges = order(&[(3, 2), (2, 1), (2, 2), (3, 2)]).unwrap();
        assert_eq!(edges.into_iter().collect::<Vec<_>>(), [(2, 1), (3, 2)]);
        let Cycle(mut tables) = order(&[(4, 3), (3, 2), (2, 1), (1, 3)]).unwrap_err();
        tables.sort_unstable();
        assert_eq!(tables, [1, 2, 3]);
        assert!(order(&[]).unwrap().is_empty());
    }
}

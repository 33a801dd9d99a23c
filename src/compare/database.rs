//! What counts of the database itself: only what a copy with default options brings.
//!
//! Pure. Privileges are brought where the source has some that are not the default ones, and to roles other
//! than the owner; owner and connection limit only where the copy makes databases, with all of a cluster.

use super::facts::{Facts, Object};
use std::collections::BTreeSet;

/// The fact whether somebody ever changed the privileges.
const OWN_PRIVILEGES: &str = "own privileges";

/// What facts about a role's privileges begin with.
const PRIVILEGES_OF: &str = "privileges of ";

/// Takes out of both sides what a copy leaves as it is; `name` is that of a database of several.
pub(super) fn keep_what_is_copied((source, target): (&mut Facts, &mut Facts), name: Option<&str>) {
    let object = Object {
        class: "database".to_owned(),
        name: vec!["current".to_owned()],
        detail: String::new(),
    };
    let (Some(source), Some(target)) = (source.get_mut(&object), target.get_mut(&object)) else {
        return;
    };
    let text = |said: &std::collections::BTreeMap<_, super::facts::Value>, fact: &str| {
        said.get(fact).and_then(|value| value.text.clone())
    };
    let is_own = text(source, OWN_PRIVILEGES).as_deref() == Some("true");
    let owners: BTreeSet<String> = [&*source, &*target]
        .iter()
        .filter_map(|said| text(said, "owner"))
        .collect();
    let granted: BTreeSet<String> = source.keys().cloned().collect();
    // One of the name `postgres` is there before any copy.
    let has_owner = name.is_some_and(|name| name != "postgres");
    let limit = text(source, "connection limit").unwrap_or_default();
    let has_limit = name.is_some() && limit != "-1";
    let counts = |fact: &str| match fact {
        OWN_PRIVILEGES => false,
        "owner" => has_owner,
        "connection limit" => has_limit,
        fact => match fact.strip_prefix(PRIVILEGES_OF) {
            Some("public") => is_own,
            Some(role) => is_own && granted.contains(fact) && !owners.contains(role),
            None => true,
        },
    };
    source.retain(|fact, _| counts(fact));
    target.retain(|fact, _| counts(fact));
}

#[cfg(test)]
mod tests {
    use super::super::facts::Value;
    use super::*;
    use std::collections::BTreeMap;

    fn database(facts: &[(&str, &str)]) -> Facts {
        let value = |text: &str| Value {
            text: Some(text.to_owned()),
            same_major: false,
        };
        let said: BTreeMap<String, Value> = facts
            .iter()
            .map(|(fact, text)| ((*fact).to_owned(), value(text)))
            .collect();
        let object = Object {
            class: "database".to_owned(),
            name: vec!["current".to_owned()],
            detail: String::new(),
        };
        Facts::from([(object, said)])
    }

    fn kept(source: &[(&str, &str)], name: Option<&str>) -> [Vec<String>; 2] {
        let mut source = database(source);
        let mut target = database(&[
            ("comment", "c"),
            ("owner", "me"),
            ("connection limit", "-1"),
            ("own privileges", "true"),
            ("privileges of me", "CONNECT"),
            ("privileges of public", "CONNECT"),
            ("privileges of somebody", "CONNECT"),
        ]);
        keep_what_is_copied((&mut source, &mut target), name);
        [source, target].map(|facts| {
            facts
                .values()
                .flat_map(|said| said.keys().cloned())
                .collect()
        })
    }

    #[test]
    fn what_a_copy_does_not_bring_does_not_count() {
        let mut source = vec![
            ("owner", "you"),
            ("connection limit", "3"),
            ("own privileges", "false"),
            ("privileges of public", "CONNECT"),
            ("privileges of you", "CONNECT"),
        ];
        assert_eq!(kept(&source, None), [vec![], vec!["comment".to_owned()]]);
        source[2].1 = "true";
        source.push(("privileges of guest", "CREATE"));
        let privileges = ["privileges of guest", "privileges of public"];
        assert_eq!(kept(&source, None)[0], privileges);
        assert_eq!(kept(&source, None)[1], ["comment", "privileges of public"]);
        let [here, there] = kept(&source, Some("shop"));
        assert_eq!(here[..2], ["connection limit", "owner"]);
        assert_eq!(there[1..3], ["connection limit", "owner"]);
        source[1].1 = "-1";
        assert_eq!(kept(&source, Some("postgres"))[0], privileges);
    }
}

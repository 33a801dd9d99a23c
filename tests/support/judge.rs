//! Judges a copy by `ci/equal`, which knows nothing of the program, and masks what varies.

use std::process::Command;

/// What `ci/equal` says about two databases: nothing when they are equal.
pub fn differences(source: &str, target: &str) -> Option<String> {
    let equal = concat!(env!("CARGO_MANIFEST_DIR"), "/ci/equal");
    let output = Command::new(equal)
        .args([source, target])
        .output()
        .expect("ci/equal");
    if output.status.success() {
        return None;
    }
    let text = String::from_utf8_lossy(&output.stdout);
    Some(format!("{text}{}", String::from_utf8_lossy(&output.stderr)))
}

/// Rows, sequences, large objects, settings and schema are the same on both sides.
#[track_caller]
pub fn assert_equal(source: &str, target: &str) {
    if let Some(text) = differences(source, target) {
        panic!("{text}");
    }
}

/// Puts one letter for every number of a text that varies: times, pids, ports, LSNs.
///
/// Digits, with the dots, colons and slashes between them, become `N`; a duration or
/// size keeps its unit.
pub fn mask(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    let mut rest = text.chars().peekable();
    while let Some(c) = rest.next() {
        if !c.is_ascii_digit() {
            out.push(c);
            continue;
        }
        out.push('N');
        while let Some(&next) = rest.peek() {
            let joins = matches!(next, '.' | ':' | '/' | '-');
            let mut after = rest.clone();
            after.next();
            let goes_on = after.peek().is_some_and(char::is_ascii_digit);
            if !(next.is_ascii_digit() || (joins && goes_on)) {
                break;
            }
            rest.next();
        }
    }
    out
}

#[test]
fn mask_hides_times_pids_and_positions() {
    assert_eq!(
        mask("19:18:24.447 76974 INFO at 0/16B3748, 12.5 MB"),
        "N N INFO at NBN, N MB"
    );
}

//! What a test says: its own text, and that of the functions and constants of its file which it uses.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// The code of a test's file and the test's name: `module::name` of tests/, or a path below src/ with `::name`.
pub fn source_of(test: &str) -> Option<(String, String)> {
    let (module, name) = test.rsplit_once("::")?;
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let stem = module.replace("::", "/");
    let places = [
        format!("tests/{stem}.rs"),
        format!("tests/{stem}/mod.rs"),
        stem,
    ];
    let code = places
        .iter()
        .find_map(|place| fs::read_to_string(root.join(place)).ok())?;
    Some((code, name.to_owned()))
}

/// The name of the function or constant that begins on a line; those within functions are parts of them.
fn begun(line: &str) -> Option<&str> {
    let head = line.strip_prefix("    ").unwrap_or(line);
    let head = head.strip_prefix("pub(super) ").unwrap_or(head);
    let head = head.strip_prefix("pub ").unwrap_or(head);
    let name = ["fn ", "const ", "static "]
        .iter()
        .find_map(|word| head.strip_prefix(word))?;
    name.split(|c: char| !c.is_alphanumeric() && c != '_')
        .next()
}

/// Functions and constants of a file, each with its text.
fn items(code: &str) -> BTreeMap<&str, String> {
    let mut items: BTreeMap<&str, String> = BTreeMap::new();
    let mut current = "";
    for line in code.lines() {
        current = begun(line).unwrap_or(current);
        let text = items.entry(current).or_default();
        text.push_str(line);
        text.push('\n');
    }
    items
}

fn has_word(text: &str, word: &str) -> bool {
    let is_part = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let before = text[..at].chars().next_back();
        let after = text[at + word.len()..].chars().next();
        !before.is_some_and(is_part) && !after.is_some_and(is_part)
    })
}

/// A test with all of its file that it uses, directly or not.
pub fn text_of(code: &str, name: &str) -> String {
    let items = items(code);
    let (mut used, mut text) = (vec![name], String::new());
    let mut next = 0;
    while let Some(item) = used.get(next).copied() {
        next += 1;
        let Some(own) = items.get(item) else { continue };
        text.push_str(own);
        let more = items.keys().filter(|other| has_word(own, other));
        let more: Vec<&str> = more
            .copied()
            .filter(|other| !used.contains(other))
            .collect();
        used.extend(more);
    }
    text
}

/// Whether a text has an option as it is typed, or as a field of a structure.
pub fn has_option(text: &str, option: &str) -> bool {
    let field = option.trim_start_matches('-').replace('-', "_");
    let typed = text.match_indices(option).any(|(at, _)| {
        let after = text[at + option.len()..].chars().next();
        !after.is_some_and(|c| c.is_alphanumeric() || c == '-')
    });
    typed || has_word(text, &field)
}

/// Whether a text runs a command: by its words together or one by one, by the function that runs a clone, or as
/// one of all that have the option.
pub fn has_command(text: &str, command: &str, option: &str) -> bool {
    let together = format!("\"{command}\"");
    let single: Vec<&str> = command.split(' ').collect();
    let bare: String = text.split_whitespace().collect();
    let one_by_one = format!("\"{}\"", single.join("\",\""));
    let of_all = [format!("having(\"{option}\")"), "having(option)".to_owned()];
    let by_function = match single.as_slice() {
        ["clone"] => has_word(text, "clone") || has_word(text, "start"),
        // modules of their own, whose functions put the first word before
        ["list" | "compare", rest @ ..] => text.contains(&format!("\"{}\"", rest.join(" "))),
        _ => false,
    };
    let is_of_all = of_all.iter().any(|call| text.contains(call));
    text.contains(&together) || bare.contains(&one_by_one) || is_of_all || by_function
}

#[test]
fn what_a_test_uses_counts_and_what_stands_beside_it_does_not() {
    let code = "const A: &str = \"--dir\";\nfn uses() -> &str {\n    A\n}\n#[test]\nfn one() {\n    \
                uses(\"copy data\");\n}\n#[test]\nfn two() {\n    run([\"copy\", \"--directory\"]);\n}\n";
    let (one, two) = (text_of(code, "one"), text_of(code, "two"));
    assert!(has_option(&one, "--dir") && !has_option(&two, "--dir"));
    assert!(has_command(&one, "copy data", "--dir") && !has_command(&two, "copy data", "--dir"));
}

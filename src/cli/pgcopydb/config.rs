//! `pgcopydb config show` and `config check`: what holds without options, and where it comes from.
//!
//! Runs in the main program. Reads the environment and the configuration file; connects to nothing.

use super::super::args::{self, ConfigCommand};
use super::super::config::{ConfigFile, VARIABLES, Value, ValueKind, check_all};
use super::super::{Call, output, resolve};
use crate::conninfo::redact;
use crate::error::Result;

/// One line of `config show`.
struct Setting {
    option: String,
    value: Option<String>,
    origin: &'static str,
    /// The variable or the file.
    place: Option<String>,
    kind: ValueKind,
}

/// Runs the command. Errors: the first bad variable or line of the file.
pub(in crate::cli) fn run(command: ConfigCommand, call: &Call<'_>) -> Result<()> {
    let looked = look(call);
    if command == ConfigCommand::Check && call.globals.json {
        let (file, error) = match &looked {
            Ok((file, _)) => (file.as_ref().map(|file| file.path.clone()), None),
            Err(error) => (None, Some(crate::logging::scrub(&error.lines().join("\n")))),
        };
        let document = serde_json::json!({
            "format": 1, "result": if error.is_none() { "good" } else { "bad" },
            "file": file, "error": error,
        });
        output::to_stdout(&format!("{document:#}\n"))?;
    }
    let (file, settings) = looked?;
    match (command, call.globals.json) {
        (ConfigCommand::Check, true) => Ok(()),
        (ConfigCommand::Check, false) => output::to_stdout(&match file {
            Some(file) => format!(
                "configuration file \"{}\" and the environment are good\n",
                file.path.display()
            ),
            None => "the environment is good; there is no configuration file\n".to_owned(),
        }),
        (ConfigCommand::Show, true) => output::to_stdout(&as_json(file.as_ref(), &settings)),
        (ConfigCommand::Show, false) => output::to_stdout(&as_text(&settings)),
    }
}

fn look(call: &Call<'_>) -> Result<(Option<ConfigFile>, Vec<Setting>)> {
    check_all(call.environment, false)?;
    let file = ConfigFile::find_at(call.globals.config.clone(), None, call.environment)?;
    let mut tree = args::tree();
    tree.build();
    if let Some(file) = &file {
        file.check(&tree)?;
    }
    for variable in &VARIABLES {
        variable.check_connection(call.environment)?;
    }
    let settings = settings(file.as_ref(), call)?;
    Ok((file, settings))
}

/// Every option that has a variable or a line in the file.
fn settings(file: Option<&ConfigFile>, call: &Call<'_>) -> Result<Vec<Setting>> {
    let entry =
        |option: &str| file.and_then(|file| file.entries.iter().find(|entry| entry.key == option));
    let place = file.map(|file| file.path.display().to_string());
    let from_file = |option: &str, kind| {
        entry(option).map(|entry| Setting {
            option: option.to_owned(),
            value: Some(plain(&entry.value)),
            origin: "file",
            place: place.clone(),
            kind,
        })
    };
    let mut all = vec![dir(call, from_file("dir", ValueKind::Text))];
    for variable in VARIABLES {
        let (option, kind) = (variable.option.to_owned(), variable.kind);
        if option == "config" {
            continue;
        }
        let set = variable.read(call.environment)?;
        all.push(match set {
            Some(text) => Setting {
                option,
                value: Some(match (variable.name, kind) {
                    ("PGCOPYDB_LOG_JSON", _) if is_true(&text) => "json".to_owned(),
                    ("PGCOPYDB_LOG_JSON", _) => "text".to_owned(),
                    (_, ValueKind::Switch) => is_true(&text).to_string(),
                    _ => text,
                }),
                origin: "env",
                place: Some(variable.name.to_owned()),
                kind,
            },
            None => from_file(variable.option, kind).unwrap_or_else(|| Setting {
                option,
                value: (!variable.default.is_empty()).then(|| variable.default.to_owned()),
                origin: "default",
                place: None,
                kind,
            }),
        });
    }
    let known: Vec<String> = all.iter().map(|setting| setting.option.clone()).collect();
    for entry in file.map_or(&[][..], |file| &file.entries) {
        if !known.contains(&entry.key) {
            all.extend(from_file(&entry.key, ValueKind::Text));
        }
    }
    Ok(all)
}

/// The work directory, whose variable is not ours alone.
fn dir(call: &Call<'_>, from_file: Option<Setting>) -> Setting {
    let by_variable = call
        .environment
        .get("TMPDIR")
        .is_some_and(|text| !text.is_empty());
    from_file.unwrap_or_else(|| Setting {
        option: "dir".to_owned(),
        value: Some(resolve::default_dir(call.environment).display().to_string()),
        origin: if by_variable { "env" } else { "default" },
        place: by_variable.then(|| "TMPDIR".to_owned()),
        kind: ValueKind::Text,
    })
}

fn is_true(text: &str) -> bool {
    args::value::boolean(text).unwrap_or(false)
}

fn plain(value: &Value) -> String {
    match value {
        Value::Text(text) => text.clone(),
        Value::Number(number) => number.to_string(),
        Value::Switch(switch) => switch.to_string(),
    }
}

fn as_text(settings: &[Setting]) -> String {
    let width = |cell: fn(&Setting) -> usize, least: usize| {
        settings.iter().map(cell).max().unwrap_or(0).max(least)
    };
    let value = |setting: &Setting| setting.value.as_deref().map(redact).unwrap_or_default();
    let (one, two) = (
        width(|setting| setting.option.len(), 6),
        width(
            |setting| {
                setting
                    .value
                    .as_deref()
                    .map_or(0, |text| redact(text).len())
            },
            5,
        ),
    );
    let head = [
        format!("{:<one$} | {:<two$} | Origin", "Option", "Value"),
        format!("{:-<one$}-+-{:-<two$}-+-{:-<20}", "", "", ""),
    ];
    let lines = settings.iter().map(|setting| {
        let (option, origin) = (&setting.option, setting.origin);
        let place = setting.place.as_deref().unwrap_or("");
        let line = format!(
            "{option:<one$} | {:<two$} | {origin} {place}",
            value(setting)
        );
        line.trim_end().to_owned()
    });
    let all: Vec<String> = head.into_iter().chain(lines).collect();
    all.join("\n") + "\n"
}

fn as_json(file: Option<&ConfigFile>, settings: &[Setting]) -> String {
    let value = |setting: &Setting| {
        let text = redact(setting.value.as_deref()?);
        let number = matches!(
            setting.kind,
            ValueKind::Jobs | ValueKind::Parts | ValueKind::Port
        );
        Some(match text.as_str() {
            "true" => true.into(),
            "false" => false.into(),
            _ if number => text
                .parse::<i64>()
                .map_or_else(|_| text.clone().into(), Into::into),
            _ => serde_json::Value::from(text),
        })
    };
    let options: Vec<serde_json::Value> = settings
        .iter()
        .map(|setting| {
            serde_json::json!({
                "name": setting.option, "value": value(setting), "origin": setting.origin,
                "place": setting.place,
            })
        })
        .collect();
    let document = serde_json::json!({
        "format": 1, "file": file.map(|file| &file.path), "options": options,
    });
    format!("{document:#}\n")
}

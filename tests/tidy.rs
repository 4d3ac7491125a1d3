//! Rules of the house, held by a test: layers, file heads and sizes, words that stand for unfinished work, the table of
//! handlers, reasons at every `allow`.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

/// Modules of the root crate from left to right: each may use only those before it.
const LAYERS: &[&str] = &[
    "planted",
    "env",
    "config",
    "telemetry",
    "metadata",
    "quota",
    "replication",
    "partition",
    "coordinator",
    "controller",
    "fetch_session",
    "handlers",
    "dispatch",
    "network",
    "broker",
    "cli",
];
/// Pairs that may not use each other whatever their order.
const STRANGERS: &[(&str, &str)] = &[("controller", "coordinator"), ("cli", "network"), ("cli", "broker")];
/// Lines of a file without its test module. Tables and generated files are longer by nature.
const FILE_LINES: usize = 600;
const TABLES: &[&str] = &["error_code.rs", "/table/", "guard/table", "/schema"];

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

fn sources(dirs: &[&str]) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    let mut todo: Vec<PathBuf> = dirs.iter().map(|dir| root().join(dir)).collect();
    while let Some(path) = todo.pop() {
        if path.is_dir() {
            let entries = fs::read_dir(&path).expect("directory");
            todo.extend(entries.map(|entry| entry.expect("entry").path()));
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).expect("source");
            found.push((path.strip_prefix(root()).expect("below the root").to_path_buf(), text));
        }
    }
    found.sort();
    assert!(found.len() > 10, "found only {} sources in {dirs:?}", found.len());
    found
}

fn all_sources() -> Vec<(PathBuf, String)> {
    sources(&[
        "src",
        "protocol/src",
        "storage/src",
        "compat-tests/src",
        "bench/src",
        "tests",
    ])
}

/// The text in front of the inline test module.
fn without_tests(text: &str) -> &str {
    text.split("#[cfg(test)]\nmod tests {").next().unwrap_or(text)
}

fn report(what: &str, faults: &[String]) {
    assert!(faults.is_empty(), "{what}:\n  {}", faults.join("\n  "));
}

#[test]
fn modules_use_only_layers_to_their_left() {
    let place: BTreeMap<_, _> = LAYERS
        .iter()
        .enumerate()
        .map(|(index, layer)| (*layer, index))
        .collect();
    let mut faults = Vec::new();
    for (path, text) in sources(&["src"]) {
        let parts: Vec<_> = path.iter().skip(1).filter_map(|part| part.to_str()).collect();
        let own = parts[0].trim_end_matches(".rs");
        if own == "main" || own == "lib" {
            continue;
        }
        let own_place = *place
            .get(own)
            .unwrap_or_else(|| panic!("src/{own} is no layer: add it to LAYERS"));
        for (number, line) in without_tests(&text).lines().enumerate() {
            for used in line
                .split("crate::")
                .skip(1)
                .filter_map(|rest| rest.split(|c: char| !c.is_alphanumeric() && c != '_').next())
            {
                let Some(used_place) = place.get(used) else { continue };
                let strangers = STRANGERS
                    .iter()
                    .any(|(a, b)| (own, used) == (*a, *b) || (own, used) == (*b, *a));
                if *used_place > own_place || strangers {
                    faults.push(format!("{}:{}: {own} may not use {used}", path.display(), number + 1));
                }
            }
        }
    }
    report("layers", &faults);
}

#[test]
fn libraries_know_nothing_above_them() {
    let mut faults = Vec::new();
    for (dir, banned) in [
        ("protocol/src", &["tokio", "storage::"][..]),
        ("storage/src", &["tokio", "kafka_protocol"][..]),
    ] {
        for (path, text) in sources(&[dir]) {
            for (number, line) in without_tests(&text).lines().enumerate() {
                let code = line.split("//").next().unwrap_or("");
                for word in banned.iter().filter(|word| code.contains(**word)) {
                    faults.push(format!("{}:{}: uses {word}", path.display(), number + 1));
                }
            }
        }
    }
    report("libraries", &faults);
}

#[test]
fn every_file_says_what_it_owns_and_is_short() {
    let mut faults = Vec::new();
    for (path, text) in all_sources() {
        if !text.starts_with("//!") {
            faults.push(format!("{}: opens without `//!`", path.display()));
        }
        let name = path.to_string_lossy();
        let lines = without_tests(&text).lines().count();
        if lines > FILE_LINES && !TABLES.iter().any(|table| name.contains(table)) && !name.ends_with("tests.rs") {
            faults.push(format!("{}: {lines} lines, more than {FILE_LINES}", path.display()));
        }
    }
    report("files", &faults);
}

#[test]
fn nothing_is_left_open_and_every_allow_has_its_reason() {
    let open = ["todo", "unimplemented"].map(|name| format!("{name}!("));
    let words = ["FIX", "XX", "HA"].map(|start| {
        start.to_owned()
            + if start == "FIX" {
                "ME"
            } else if start == "XX" {
                "X"
            } else {
                "CK"
            }
    });
    let mut faults = Vec::new();
    for (path, text) in all_sources() {
        for (number, line) in text.lines().enumerate() {
            let at = format!("{}:{}", path.display(), number + 1);
            if open.iter().any(|open| line.contains(open)) || words.iter().any(|word| line.contains(word)) {
                faults.push(format!("{at}: unfinished"));
            }
            let allows = line.trim_start().starts_with("#[allow(")
                || line.trim_start().starts_with("#![allow(")
                || line.trim_start().starts_with("#[expect(");
            let rest: String = text.lines().skip(number).take(6).collect();
            if allows && !rest.split(")]").next().unwrap_or("").contains("reason") {
                faults.push(format!("{at}: an allow without a reason"));
            }
        }
    }
    report("open ends", &faults);
}

#[test]
fn names_say_what_a_thing_is() {
    let banned = ["Manager", "Helper", "Util", "Common"];
    let mut faults = Vec::new();
    for (path, text) in sources(&["src", "protocol/src", "storage/src"]) {
        for (number, line) in text.lines().enumerate() {
            let declares = ["struct ", "enum ", "trait ", "mod "]
                .iter()
                .any(|word| line.trim_start().trim_start_matches("pub ").starts_with(word));
            if declares && banned.iter().any(|word| line.contains(word)) {
                faults.push(format!("{}:{}: {}", path.display(), number + 1, line.trim()));
            }
        }
    }
    report("names", &faults);
}

/// Handler files and the served APIs are the same set.
#[test]
fn every_served_api_has_its_handler_file_and_no_other_exists() {
    let snake = |name: &str| {
        let mut snake = String::new();
        for (index, letter) in name.chars().enumerate() {
            if letter.is_uppercase() && index > 0 {
                snake.push('_');
            }
            snake.extend(letter.to_lowercase());
        }
        snake
    };
    let served: BTreeSet<_> = protocol::api::APIS.iter().map(|api| snake(api.name)).collect();
    let files: BTreeSet<_> = fs::read_dir(root().join("src/handlers"))
        .expect("handlers")
        .filter_map(|entry| {
            entry
                .expect("entry")
                .file_name()
                .to_str()
                .map(|name| name.trim_end_matches(".rs").to_owned())
        })
        .filter(|name| !["mod", "by_topic", "context", "reply", "session", "verification"].contains(&name.as_str()))
        .collect();
    assert_eq!(files, served);
    let table = fs::read_to_string(root().join("src/handlers/mod.rs")).expect("table");
    for api in protocol::api::APIS {
        assert!(
            table.contains(&format!("\n        {} => ", api.key)),
            "{} is not in the handler table",
            api.name
        );
    }
    let architecture = fs::read_to_string(root().join("ARCHITECTURE.md")).expect("ARCHITECTURE.md");
    for layer in LAYERS {
        assert!(
            architecture.contains(&format!("`{layer}`")),
            "ARCHITECTURE.md does not speak of `{layer}`"
        );
    }
}

/// The project speaks of itself alone, and the top level holds nothing stray.
#[test]
fn the_top_level_is_as_it_should_be() {
    let expected = [
        ".ci",
        ".git",
        ".github",
        ".gitignore",
        "ARCHITECTURE.md",
        "CONTRIBUTING.md",
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "bench",
        "clippy.toml",
        "compat-tests",
        "docker",
        "docs",
        "monedula-data",
        "protocol",
        "rustfmt.toml",
        "src",
        "storage",
        "target",
        "tests",
    ];
    let stray: Vec<_> = fs::read_dir(root())
        .expect("root")
        .filter_map(|entry| entry.expect("entry").file_name().into_string().ok())
        .filter(|name| !expected.contains(&name.as_str()))
        .collect();
    report("stray at the top level", &stray);
}

//! Checks the source for the invariants of the crate documentation.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

/// Every source file below `directory`, by its path from there, with its text.
fn sources(directory: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join(directory);
    let mut found = Vec::new();
    let mut pending = vec![root.clone()];
    while let Some(directory) = pending.pop() {
        for entry in fs::read_dir(directory).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                pending.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path
                    .strip_prefix(&root)
                    .unwrap()
                    .to_str()
                    .unwrap()
                    .to_owned();
                found.push((name, fs::read_to_string(path).unwrap()));
            }
        }
    }
    found.sort();
    assert!(!found.is_empty());
    found
}

/// The text without comments and tests, for which the invariants do not hold.
fn code(text: &str) -> String {
    let text = text.split("#[cfg(test)]").next().unwrap();
    let lines = text.lines().map(|line| line.split("//").next().unwrap());
    lines.collect::<Vec<_>>().join("\n")
}

/// The names that follow this prefix in the text.
fn used_after<'a>(text: &'a str, prefix: &str) -> Vec<&'a str> {
    let ends = |c: char| !c.is_alphanumeric() && c != '_';
    let names = text.split(prefix).skip(1).flat_map(|rest| {
        let list = rest.strip_prefix('{').and_then(|it| it.split('}').next());
        let names = list.unwrap_or(rest.split(ends).next().unwrap());
        names.split(',').map(str::trim)
    });
    names.collect()
}

/// The module a source file belongs to.
fn module(file: &str) -> &str {
    file.split(['/', '.']).next().unwrap()
}

fn is_door(file: &str) -> bool {
    ["server", "cli", "main"].contains(&module(file))
}

#[test]
fn only_the_doors_use_sockets_the_clock_and_the_terminal() {
    let words = [
        "tiny_http",
        "hyper::",
        "tokio::",
        "async ",
        "std::net",
        "::now()",
        "std::io",
        "println!",
        "eprintln!",
        "std::env::",
        "thread::",
    ];
    let mut doors = 0;
    for (file, text) in sources("src") {
        let text = code(&text);
        for word in words.iter().filter(|word| text.contains(**word)) {
            // An IP address is a value, not a socket.
            let has_address = file == "store/postgres/ssl_mode.rs" && *word == "std::net";
            // The client limits the time of each call, also if the database hangs.
            let is_client = file == "store/postgres/client.rs" && *word == "::now()";
            let is_client = is_client || file.starts_with("store/postgres") && *word == "tokio::";
            assert!(
                is_door(&file) || has_address || is_client,
                "{file} names {word}"
            );
            doors += 1;
        }
    }
    assert!(doors > 10, "the doors no longer use these words");
}

#[test]
fn only_the_doors_and_the_stores_have_a_mutex() {
    for (file, text) in sources("src") {
        let locks = code(&text).contains("Mutex");
        let may = is_door(&file) || module(&file) == "store";
        assert!(!locks || may, "{file}");
    }
}

#[test]
fn only_the_store_of_a_database_uses_its_crate() {
    for (file, text) in sources("src") {
        for (name, store) in [("rusqlite", "store/sqlite"), ("rustls", "store/postgres")] {
            let names = code(&text).contains(name);
            assert!(!names || file.starts_with(store), "{file} names {name}");
        }
    }
}

#[test]
fn responses_of_the_server_are_made_in_two_places() {
    for (file, text) in sources("src") {
        let text = code(&text);
        let chooses = text.contains("Response::new(");
        let may = ["problem", "resource", "message"].contains(&module(&file));
        let wraps = ["server/tiny_http/raw_request.rs", "http.rs"].contains(&file.as_str());
        assert!(!chooses || may || wraps, "{file}");
    }
}

#[test]
fn modules_use_only_modules_above_them() {
    let lib = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src/lib.rs")).unwrap();
    let order: Vec<_> = lib
        .lines()
        .filter_map(|line| line.trim_start_matches("pub ").strip_prefix("mod "))
        .map(|line| line.trim_end_matches(';'))
        .collect();
    let place = |name: &str| order.iter().position(|module| *module == name);
    for (file, text) in sources("src") {
        let Some(own) = place(module(&file)) else {
            continue;
        };
        for used in used_after(&code(&text), "crate::") {
            let above = place(used).unwrap_or_else(|| panic!("{file} uses crate::{used}"));
            assert!(
                above < own || used == module(&file),
                "{file} uses {used}, which stands below"
            );
        }
    }
}

/// No two files of a directory use each other, directly or through other files.
#[test]
fn the_files_of_a_directory_have_an_order() {
    let mut directories: BTreeMap<String, BTreeMap<String, String>> = BTreeMap::new();
    for (file, text) in sources("src") {
        if let Some((directory, name)) = file.trim_end_matches(".rs").rsplit_once('/') {
            let files = directories.entry(directory.replace('/', "::")).or_default();
            files.insert(name.to_owned(), code(&text));
        }
    }
    for (directory, mut files) in directories {
        let prefix = format!("crate::{directory}::");
        while !files.is_empty() {
            let uses_no_other = |(own, text): &(&String, &String)| {
                let mut used = used_after(text, &prefix).into_iter();
                used.all(|name| name == own.as_str() || !files.contains_key(name))
            };
            let first = files.iter().find(uses_no_other);
            let first = first.map(|(name, _)| name.clone());
            let Some(first) = first else {
                panic!("in {directory} these use each other: {:?}", files.keys());
            };
            files.remove(&first);
        }
    }
}

#[test]
fn there_is_no_unsafe_code_and_no_unwrap() {
    for file in ["lib.rs", "main.rs"] {
        let text = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("src").join(file));
        assert!(
            text.unwrap().contains("\n#![forbid(unsafe_code)]\n"),
            "{file}"
        );
    }
    for (file, text) in sources("src") {
        assert!(!code(&text).contains(".unwrap()"), "{file}");
    }
}

#[test]
fn files_have_at_most_400_lines() {
    for directory in ["src", "examples"] {
        for (file, text) in sources(directory) {
            assert!(
                text.lines().count() <= 400,
                "{file} has {} lines",
                text.lines().count()
            );
        }
    }
    for (file, _) in sources("src") {
        for bag in ["util", "common", "helper", "misc", "types"] {
            assert!(!file.contains(bag), "the name of {file} says nothing");
        }
    }
}

#[test]
fn functions_have_at_most_50_lines() {
    for (file, text) in sources("src") {
        let mut start = None;
        for (number, line) in text.lines().enumerate() {
            let trimmed = line.trim_start();
            let indent = line.len() - trimmed.len();
            let begins = [
                "fn ",
                "pub fn ",
                "pub(crate) fn ",
                "pub(super) fn ",
                "async fn ",
                "pub(super) async fn ",
            ];
            if start.is_none() && begins.iter().any(|begin| trimmed.starts_with(begin)) {
                start = Some((number, indent));
            }
            if let Some((first, depth)) = start
                && indent == depth
                && (trimmed.starts_with('}') || trimmed.ends_with(';'))
            {
                assert!(
                    number - first < 50,
                    "{file}:{} is {} lines long",
                    first + 1,
                    number - first + 1
                );
                start = None;
            }
        }
    }
}

#[test]
fn the_version_is_in_the_changelog_once() {
    let changelog = include_str!("../../CHANGELOG.md");
    let heading = concat!("## ", env!("CARGO_PKG_VERSION"), " ");
    assert_eq!(
        changelog
            .lines()
            .filter(|line| line.starts_with(heading))
            .count(),
        1
    );
}

#[test]
fn the_default_build_has_five_dependencies() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    // In a package, the manifest of the repository is beside the one that cargo has made.
    let manifest = fs::read_to_string(root.join("Cargo.toml.orig"))
        .or_else(|_| fs::read_to_string(root.join("Cargo.toml")))
        .unwrap();
    let section = manifest
        .split("[dependencies]\n")
        .nth(1)
        .unwrap()
        .split("\n[")
        .next()
        .unwrap();
    let (optional, always): (Vec<_>, Vec<_>) = section
        .lines()
        .filter(|line| line.contains(" = "))
        .partition(|line| line.contains("optional = true"));
    let name = |line: &&str| line.split(' ').next().unwrap().to_owned();
    let always: Vec<_> = always.iter().map(name).collect();
    assert_eq!(always, ["time"], "the only dependency without features");
    assert!(manifest.contains("\ndefault = [\"server\"]\n"));
    let server = manifest.split("\nserver = [").nth(1).unwrap();
    let server = server.split(']').next().unwrap();
    let brought = |name: &String| server.contains(&format!("\"dep:{name}\""));
    let brought: Vec<_> = optional.iter().map(name).filter(brought).collect();
    assert_eq!(brought, ["md5", "serde", "serde_json", "tiny_http"]);
    assert_eq!(server.matches("dep:").count(), brought.len(), "{server}");
}

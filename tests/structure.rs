//! The rules of the house that a program can check, read from the sources.
#![allow(clippy::unwrap_used)]

use std::{
    fs,
    path::{Path, PathBuf},
};

/// A line of Rust without its comment, where it stands.
struct Line {
    file: String,
    number: usize,
    code: String,
}

/// Every Rust file below a folder of the project, as `(path from the root, text)`.
fn files(folder: &str) -> Vec<(String, String)> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(&folder).unwrap() {
            let path: PathBuf = entry.unwrap().path();
            if path.is_dir() {
                folders.push(path);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                let name = path.strip_prefix(root).unwrap().to_str().unwrap().to_owned();
                found.push((name, fs::read_to_string(&path).unwrap()));
            }
        }
    }
    found.sort();
    found
}

/// The code lines below a folder, without comments and unit tests, be they at the end of a file or files of their own.
fn code(folder: &str) -> Vec<Line> {
    let mut lines = Vec::new();
    for (file, text) in files(folder).into_iter().filter(|(file, _)| !file.ends_with("tests.rs")) {
        for (index, line) in text.lines().enumerate() {
            if line.trim_start().starts_with("#[cfg(test)]") {
                break;
            }
            let code = line.split("//").next().unwrap_or_default().to_owned();
            lines.push(Line { file: file.clone(), number: index + 1, code });
        }
    }
    assert!(!lines.is_empty(), "{folder} holds no code");
    lines
}

/// Whether a word stands in the code as a word of its own.
fn has_word(code: &str, word: &str) -> bool {
    let inside = |c: char| c.is_alphanumeric() || c == '_';
    code.match_indices(word).any(|(at, _)| {
        let before = code[..at].chars().next_back();
        let after = code[at + word.len()..].chars().next();
        !before.is_some_and(inside) && !after.is_some_and(inside)
    })
}

/// Fails with every line in which one of the words stands, except in the allowed files or folders.
fn forbid(folder: &str, words: &[&str], allowed: &[&str], rule: &str) {
    let broken: Vec<String> = code(folder)
        .iter()
        .filter(|line| !allowed.iter().any(|prefix| line.file.starts_with(prefix)))
        .filter(|line| words.iter().any(|word| has_word(&line.code, word)))
        .map(|line| format!("{}:{}: {}", line.file, line.number, line.code.trim()))
        .collect();
    assert!(broken.is_empty(), "{rule}\n{}", broken.join("\n"));
}

#[test]
fn the_pure_rings_name_no_io_crate() {
    let crates =
        ["actix", "actix_web", "actix_web_actors", "tokio", "sqlx", "redis", "tracing", "reqwest", "prometheus"];
    for ring in ["src/domain", "src/engine"] {
        forbid(ring, &crates, &[], "domain and engine do no IO");
        forbid(ring, &["HashMap", "HashSet", "RandomState"], &[], "random iteration order breaks seeds");
        forbid(
            ring,
            &["Instant", "SystemTime", "Utc::now", "Local::now", "rand::rng", "new_v4", "now_v7"],
            &[],
            "time and chance are arguments",
        );
        forbid(
            ring,
            &["std::env", "std::fs", "std::net", "std::thread"],
            &[],
            "domain and engine see nothing of the system",
        );
    }
}

#[test]
fn the_pure_rings_do_not_look_outwards() {
    let outer = [
        "crate::actors",
        "crate::app",
        "crate::cache",
        "crate::cli",
        "crate::config",
        "crate::http",
        "crate::store",
        "crate::wire",
        "crate::clock",
        "crate::metrics",
        "crate::supervisor",
    ];
    forbid("src/domain", &outer, &[], "domain knows nothing around it");
    forbid("src/domain", &["crate::engine"], &[], "domain does not know the engine");
    forbid("src/engine", &outer, &[], "engine knows only the domain");
}

#[test]
fn one_file_reads_the_clock_and_one_the_environment() {
    let clocks = ["SystemTime", "Utc::now", "Local::now", "std::time::Instant", "now_v7", "new_v7_now"];
    forbid("src", &clocks, &["src/clock.rs"], "only src/clock.rs reads a clock");
    for (file, text) in files("src").iter().filter(|(file, _)| file != "src/clock.rs") {
        let imports = text.split("use std::").skip(1).filter_map(|rest| rest.split(';').next());
        for import in imports {
            assert!(!has_word(import, "Instant"), "{file} measures with std's clock; tokio's can be paused");
        }
    }
    let environment = ["env::var", "env::var_os", "env::vars", "env::vars_os", "option_env"];
    forbid("src", &environment, &["src/config.rs"], "only src/config.rs reads the environment");
}

#[test]
fn actor_types_stay_with_the_actors() {
    let types = [
        "actix::Actor",
        "actix::Addr",
        "actix::Context",
        "actix::Recipient",
        "actix::Handler",
        "actix::Message",
        "actix::Arbiter",
        "actix::prelude",
        "actix::Supervised",
        "actix::SystemRunner",
    ];
    forbid("src", &types, &["src/actors/", "src/app.rs"], "only the actors and app.rs name actix's actor types");
    forbid("src", &["actix"], &["src/actors/", "src/app.rs"], "only the actors and app.rs use the crate actix");
    let sockets = ["src/actors/rider_session/", "src/actors/operator_session/"];
    forbid("src", &["actix_web_actors"], &sockets, "the websocket crate can be exchanged in the two session folders");
}

#[test]
fn sql_stands_in_the_store_and_asks_nobody_for_the_time() {
    let sql = [
        "sqlx::query",
        "sqlx::query_as",
        "sqlx::query_scalar",
        "query!",
        "query_as!",
        "query_scalar!",
        "sqlx::raw_sql",
        "QueryBuilder",
        "copy_in_raw",
    ];
    forbid("src", &sql, &["src/store/"], "every SQL statement stands in src/store");
    let clocks = [
        "now()",
        "CURRENT_TIMESTAMP",
        "current_timestamp",
        "clock_timestamp()",
        "statement_timestamp()",
        "localtimestamp",
    ];
    for line in code("src/store") {
        let asks = clocks.iter().any(|word| line.code.contains(word)) && !line.code.contains("clock.now()");
        assert!(!asks, "{}:{}: SQL never asks what time it is: {}", line.file, line.number, line.code.trim());
    }
}

#[test]
fn redis_commands_stand_in_the_cache() {
    forbid(
        "src",
        &["redis::cmd", "redis::pipe", "redis::Client", "redis::aio"],
        &["src/cache/"],
        "Redis is spoken in src/cache",
    );
}

#[test]
fn files_are_short_and_say_what_they_are_for() {
    for folder in ["src", "loadtest/src", "tests"] {
        for (file, text) in files(folder) {
            let lines = text.lines().count();
            assert!(lines <= 450, "{file} has {lines} lines, more than 450");
            let first = text.lines().next().unwrap_or_default();
            assert!(
                first.starts_with("//! ") || first.contains("doc = include_str!"),
                "{file} does not say what it is for"
            );
        }
    }
}

#[test]
fn every_migration_is_compiled_in() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("migrations");
    let names = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let count = names.filter(|path| path.extension().is_some_and(|extension| extension == "sql")).count();
    assert_eq!(dispatch_engine::store::migrate::MIGRATIONS.iter().count(), count);
}

#[test]
fn the_word_search_finds_words_only() {
    assert!(has_word("use tokio::time;", "tokio") && has_word("let x = env::var(\"A\");", "env::var"));
    assert!(!has_word("let tokiolike = 1;", "tokio") && !has_word("env::vars()", "env::var"));
}

#[test]
fn the_words_of_the_sockets_stand_in_one_place() {
    let literals = ["BadFrame::new(\"", "Farewell::for_now(\"", "Farewell::for_good(\"", "farewell(\"", "code: \""];
    let broken: Vec<String> = code("src/actors/rider_session")
        .iter()
        .chain(&code("src/actors/operator_session"))
        .filter(|line| literals.iter().any(|literal| line.code.contains(literal)))
        .map(|line| format!("{}:{}: {}", line.file, line.number, line.code.trim()))
        .collect();
    assert!(broken.is_empty(), "words come from src/wire/codes.rs\n{}", broken.join("\n"));
}

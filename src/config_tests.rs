//! Later sources win, every key is documented, and no secret shows.

use super::*;

fn load(pairs: &[(&str, &str)]) -> Result<Config, ConfigError> {
    Config::load(None, &pairs.iter().copied().collect())
}

#[test]
fn the_documented_file_says_what_the_code_says_and_leaves_no_key_out() {
    let code = format!("{:#?}", Config::default());
    assert_eq!(format!("{:#?}", load(&[]).unwrap()), code);
    let file = include_str!("../config/default.toml");
    for line in code.lines() {
        let Some((key, value)) = line.trim().split_once(": ") else { continue };
        // A section within a section has both names.
        let section = |line: &str| line == format!("[{key}]") || line.ends_with(&format!(".{key}]"));
        let is_section = value.ends_with('{');
        let documents = |line: &str| if is_section { section(line) } else { line.starts_with(&format!("{key} = ")) };
        assert!(file.lines().any(|line| documents(line.trim_start_matches("# "))), "{key} is not documented");
    }
}

#[test]
fn later_sources_win() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("site.toml");
    std::fs::write(&file, "[server]\nlisten = \"127.0.0.1:1\"\nworkers = 3\n[database]\nurl = \"postgres://file\"")
        .unwrap();
    let environment = [("DISPATCH__SERVER__LISTEN", "127.0.0.1:2"), ("DATABASE_URL", "postgres://well-known")];
    let config = Config::load(Some(&file), &environment.into_iter().collect()).unwrap();
    assert_eq!(config.server.listen.port(), 2);
    assert_eq!(config.server.workers, 3);
    assert_eq!(config.database_url().unwrap().expose(), "postgres://well-known");
}

#[test]
fn an_error_names_the_key_and_never_a_secret() {
    let wrong_type = load(&[("DISPATCH__SERVER__WORKERS", "many")]).unwrap_err().to_string();
    assert!(wrong_type.contains("server.workers") && wrong_type.contains("environment"), "{wrong_type}");
    let unknown = load(&[("DISPATCH__SERVER__WORKER", "2")]).unwrap_err().to_string();
    assert!(unknown.contains("worker"), "{unknown}");
    let range = load(&[("DISPATCH__CLOCK__SPEED", "0")]).unwrap_err().to_string();
    assert!(range.contains("clock.speed"), "{range}");
    let share = load(&[("DISPATCH__LOCATION_LOG__SPOOL__DRAIN_SHARE", "0")]).unwrap_err().to_string();
    assert!(share.contains("location_log.spool.drain_share"), "{share}");
    let short = load(&[("DISPATCH_JWT_SECRET", "hunter2")]).unwrap_err().to_string();
    assert!(short.contains("DISPATCH_JWT_SECRET") && !short.contains("hunter2"), "{short}");
    let key = load(&[("DISPATCH_CONTACT_KEY", "hunter2")]).unwrap_err().to_string();
    assert!(key.contains("DISPATCH_CONTACT_KEY") && !key.contains("hunter2"), "{key}");
    let filter = load(&[("RUST_LOG", "=;=")]).unwrap_err().to_string();
    assert!(filter.contains("log.filter"), "{filter}");
}

#[test]
fn a_token_needs_its_secret_and_nothing_else() {
    let secret = "0123456789abcdef0123456789abcdef";
    let load = |pairs: &[(&str, &str)]| Config::load_jwt_secret(None, &pairs.iter().copied().collect());
    let broken =
        [("DISPATCH_JWT_SECRET", secret), ("DISPATCH__CLOCK__SPEED", "0"), ("DISPATCH__SERVER__WORKERS", "many")];
    assert_eq!(load(&broken).unwrap().expose(), secret);
    let missing = load(&[]).unwrap_err().to_string();
    assert!(missing.contains("DISPATCH_JWT_SECRET"), "{missing}");
    let short = load(&[("DISPATCH_JWT_SECRET", "hunter2")]).unwrap_err().to_string();
    assert!(short.contains("too short") && !short.contains("hunter2"), "{short}");
}

#[test]
fn the_log_holds_a_batch_and_a_frame_at_least() {
    let rows =
        |rows: &str| load(&[("DISPATCH__LOCATION_LOG__MAX_ROWS", rows)]).map(|config| config.location_log.max_rows);
    let short = rows("10499").unwrap_err().to_string();
    assert!(short.contains("location_log.max_rows") && short.contains("10500"), "{short}");
    assert_eq!(rows("10500").unwrap(), 10_500);
}

#[test]
fn secrets_do_not_show() {
    let config = load(&[("DATABASE_URL", "postgres://app:hunter2@db/app")]).unwrap();
    assert!(!format!("{config:?}").contains("hunter2"));
    assert!(config.jwt_secret().unwrap_err().to_string().contains("DISPATCH_JWT_SECRET"));
}

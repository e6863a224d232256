//! Where the system keeps the server programs.

use std::path::{Path, PathBuf};

use tokio::process::Command;

use super::SupervisorError;

/// Where Debian and its relatives install one folder per major version.
const DEBIAN_VERSIONS: &str = "/usr/lib/postgresql";

/// Finds the folder that holds `initdb` and `postgres`: the given one, else what `pg_config --bindir` says, else
/// Debian's highest version, else the search path. A given folder that does not hold them is an error, not a hint.
///
/// # Errors
/// [`SupervisorError::NoPostgres`], naming every place.
pub async fn postgres(given: Option<&Path>, search_path: &str) -> Result<PathBuf, SupervisorError> {
    if let Some(folder) = given {
        let looked = || SupervisorError::NoPostgres { looked: format!("PGBIN={}", folder.display()) };
        return holds_server(folder).then(|| folder.to_owned()).ok_or_else(looked);
    }
    let mut places = Vec::new();
    if let Ok(output) = Command::new("pg_config").arg("--bindir").process_group(0).output().await {
        places.push(PathBuf::from(String::from_utf8_lossy(&output.stdout).trim()));
    }
    places.extend(debian_versions(Path::new(DEBIAN_VERSIONS)));
    places.extend(std::env::split_paths(search_path));
    places.iter().find(|place| holds_server(place)).cloned().ok_or_else(|| SupervisorError::NoPostgres {
        looked: format!("PGBIN, pg_config --bindir, {DEBIAN_VERSIONS}/*/bin and PATH"),
    })
}

/// Finds `redis-server` on the search path.
#[must_use]
pub fn redis(search_path: &str) -> Option<PathBuf> {
    std::env::split_paths(search_path).map(|dir| dir.join("redis-server")).find(|path| path.is_file())
}

fn holds_server(folder: &Path) -> bool {
    ["initdb", "postgres"].iter().all(|name| folder.join(name).is_file())
}

/// The `bin` folders of all installed versions, highest first.
fn debian_versions(parent: &Path) -> Vec<PathBuf> {
    let Ok(entries) = std::fs::read_dir(parent) else { return Vec::new() };
    let mut found: Vec<(u32, PathBuf)> = entries
        .filter_map(Result::ok)
        .filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path().join("bin"))))
        .collect();
    found.sort_unstable_by(|a, b| b.cmp(a));
    found.into_iter().map(|(_, bin)| bin).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fake_server(folder: &Path) {
        std::fs::create_dir_all(folder).unwrap();
        for name in ["initdb", "postgres"] {
            std::fs::write(folder.join(name), "").unwrap();
        }
    }

    #[test]
    fn the_highest_version_comes_first() {
        let dir = tempfile::tempdir().unwrap();
        for version in ["9", "15", "17", "notes"] {
            fake_server(&dir.path().join(version).join("bin"));
        }
        let found = debian_versions(dir.path());
        assert_eq!(found, ["17", "15", "9"].map(|v| dir.path().join(v).join("bin")));
    }

    #[tokio::test]
    async fn a_given_folder_without_a_server_is_an_error_that_names_it_and_the_packages() {
        let dir = tempfile::tempdir().unwrap();
        let message = postgres(Some(dir.path()), "").await.unwrap_err().to_string();
        assert!(message.contains("PGBIN") && message.contains("apt-get install"), "{message}");
        fake_server(dir.path());
        assert_eq!(postgres(Some(dir.path()), "").await.unwrap(), dir.path());
    }
}

//! The secrets of a demo: drawn once per data folder and kept there, readable by this user only.

use std::{
    fs::{self, File},
    io::{ErrorKind, Write},
    os::unix::fs::OpenOptionsExt,
    path::Path,
};

use anyhow::Context;
use base64::{Engine, engine::general_purpose::STANDARD};

use crate::config::{Config, Secret};

/// The length of 32 bytes in base64 with padding.
const ENCODED_LEN: usize = 44;

/// Fills in what the configuration leaves out.
///
/// # Errors
/// When a file cannot be read or made.
pub fn fill(config: &mut Config, folder: &Path) -> anyhow::Result<()> {
    for (name, slot) in [("jwt-secret", &mut config.auth.jwt_secret), ("contact-key", &mut config.contacts.key)] {
        if slot.is_none() {
            let path = folder.join(name);
            *slot = Some(kept(&path).with_context(|| format!("the secret {} cannot be kept", path.display()))?);
        }
    }
    Ok(())
}

/// 32 random bytes in base64.
fn kept(path: &Path) -> std::io::Result<Secret> {
    match fs::read_to_string(path) {
        Ok(text) if text.len() == ENCODED_LEN => return Ok(Secret::new(text)),
        Ok(_cut_off) => fs::remove_file(path)?,
        Err(error) if error.kind() == ErrorKind::NotFound => {}
        Err(error) => return Err(error),
    }
    let bytes: [u8; 32] = rand::random();
    let text = STANDARD.encode(bytes);
    File::options().create_new(true).write(true).mode(0o600).open(path)?.write_all(text.as_bytes())?;
    Ok(Secret::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_is_drawn_once_and_given_ones_are_left_alone() {
        let dir = tempfile::tempdir().unwrap();
        let mut first = Config::default();
        fill(&mut first, dir.path()).unwrap();
        let mut second = Config::default();
        second.contacts.key = Some(Secret::new("given".into()));
        fill(&mut second, dir.path()).unwrap();
        assert_eq!(first.auth.jwt_secret, second.auth.jwt_secret);
        assert_eq!(second.contacts.key.unwrap().expose(), "given");
        assert_ne!(first.auth.jwt_secret, first.contacts.key);
    }
}

//! Page tokens: where a list goes on. A token carries a place, which clients have no business with, and is bound by a keyed
//! digest to the list that it was given out for: one that was made up, cut or taken to another filter is refused, so that a
//! place is one that this server named. Who may see what is checked on each page all the same.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;
use uuid::Uuid;

use super::{
    Deps,
    problem::{Code, Failure},
};

const VERSION: u8 = 2;
/// Of the digest, as many as nobody guesses.
const CHECK_BYTES: usize = 16;

/// Signs page tokens and knows them again. Derived from the secret of the bearer tokens, so that the tokens of one process
/// are good in every other one. Cheap to clone.
#[derive(Clone)]
pub struct PageKey(Hmac<Sha256>);

impl PageKey {
    /// From another secret, of any length; neither says anything about the other.
    #[must_use]
    pub fn derive(secret: &[u8]) -> Self {
        let key = keyed(secret).chain_update(b"dispatch page token 2").finalize().into_bytes();
        Self(keyed(&key))
    }

    /// The token for the page after `last`, within the list that `filter` describes.
    #[must_use]
    pub fn token(&self, filter: &str, last: Uuid) -> String {
        self.token_at(filter, last.as_bytes())
    }

    /// The token for the page after a place that is told by more than an id.
    #[must_use]
    pub fn token_at(&self, filter: &str, place: &[u8]) -> String {
        let mut bytes = vec![VERSION];
        bytes.extend(place);
        bytes.extend(&self.digest(filter, place).finalize().into_bytes()[..CHECK_BYTES]);
        URL_SAFE_NO_PAD.encode(bytes)
    }

    /// The last entry of the page before.
    ///
    /// # Errors
    /// `bad_page_token` when the token was not given out for this list.
    pub fn after(&self, filter: &str, token: &str) -> Result<Uuid, Failure> {
        Uuid::from_slice(&self.place(filter, token)?).map_err(|_| Failure::new(Code::BadPageToken))
    }

    /// The place of a token of [`Self::token_at`].
    ///
    /// # Errors
    /// `bad_page_token` when the token was not given out for this list.
    pub fn place(&self, filter: &str, token: &str) -> Result<Vec<u8>, Failure> {
        self.read(filter, token).ok_or_else(|| Failure::new(Code::BadPageToken))
    }

    fn read(&self, filter: &str, token: &str) -> Option<Vec<u8>> {
        let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
        let (version, rest) = bytes.split_first()?;
        let (place, given) = rest.split_at_checked(rest.len().checked_sub(CHECK_BYTES)?)?;
        // Compares in constant time.
        let genuine = self.digest(filter, place).verify_truncated_left(given).is_ok();
        (*version == VERSION && genuine).then(|| place.to_vec())
    }

    fn digest(&self, filter: &str, place: &[u8]) -> Hmac<Sha256> {
        // With its length before it, no end of a place is taken for the beginning of a filter.
        self.0.clone().chain_update((place.len() as u64).to_be_bytes()).chain_update(place).chain_update(filter)
    }
}

#[expect(clippy::expect_used, reason = "HMAC takes a key of any length")]
fn keyed(secret: &[u8]) -> Hmac<Sha256> {
    Hmac::new_from_slice(secret).expect("a key of any length will do")
}

/// The number of entries of a page.
///
/// # Errors
/// `bad_query` for a number that is zero or above the limit.
pub fn size(deps: &Deps, asked: Option<u32>) -> Result<u32, Failure> {
    let most = deps.options.page_size_max;
    match asked {
        None => Ok(deps.options.page_size.min(most)),
        Some(asked) if (1..=most).contains(&asked) => Ok(asked),
        Some(_) => Err(Failure::query(format!("limit must lie in 1..={most}"))),
    }
}

/// Cuts a page that was read with one entry too many; answers the last entry's id when there are more.
pub fn cut<T>(entries: &mut Vec<T>, size: u32, id: impl Fn(&T) -> Uuid) -> Option<Uuid> {
    let size = usize::try_from(size).unwrap_or(usize::MAX);
    let more = entries.len() > size;
    entries.truncate(size);
    entries.last().filter(|_| more).map(id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_reads_back_for_its_own_list_only() {
        let last = Uuid::from_u128(0x1234_5678);
        let key = PageKey::derive(b"a secret");
        let token = key.token("city=a", last);
        assert_eq!(key.after("city=a", &token).unwrap(), last);
        assert_eq!(PageKey::derive(b"a secret").after("city=a", &token).unwrap(), last, "of another process");
        assert_eq!(key.after("city=b", &token).unwrap_err().code(), Code::BadPageToken);
        for made_up in ["", "AQ", "next", &token[1..], &format!("{token}AA"), &"A".repeat(token.len())] {
            assert_eq!(key.after("city=a", made_up).unwrap_err().code(), Code::BadPageToken, "{made_up}");
        }
    }

    #[test]
    fn without_the_key_nobody_makes_a_token() {
        let key = PageKey::derive(b"a secret");
        for other in [&b"another secret"[..], b""] {
            let token = PageKey::derive(other).token_at("list", b"place");
            assert_eq!(key.place("list", &token).unwrap_err().code(), Code::BadPageToken);
        }
        // The secret itself is not the key.
        let raw = PageKey(keyed(b"a secret")).token_at("list", b"place");
        assert_eq!(key.place("list", &raw).unwrap_err().code(), Code::BadPageToken);
        // What is moved from the place to the filter is another place of another list.
        let token = key.token_at("list", b"place in a ");
        assert_eq!(key.place("list", &token).unwrap(), b"place in a ");
        let bytes = URL_SAFE_NO_PAD.decode(token).unwrap();
        let shorter = [&bytes[..6], &bytes[bytes.len() - CHECK_BYTES..]].concat();
        let shorter = URL_SAFE_NO_PAD.encode(shorter);
        assert_eq!(key.place(" in a list", &shorter).unwrap_err().code(), Code::BadPageToken);
    }
}

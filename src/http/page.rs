//! Page tokens: where a list goes on. A token is bound to the list it was given out for by a checksum, so that one that
//! was made up, cut or taken to another filter is refused. It grants nothing: who may see what is checked on each page.

use base64::{Engine, engine::general_purpose::URL_SAFE_NO_PAD};
use sha2::{Digest, Sha256};
use uuid::Uuid;

use super::{
    Deps,
    problem::{Code, Failure},
};

const VERSION: u8 = 1;
const CHECK_BYTES: usize = 12;

/// The token for the page after `last`, within the list that `filter` describes.
pub fn token(filter: &str, last: Uuid) -> String {
    token_at(filter, last.as_bytes())
}

/// The token for the page after a place that is told by more than an id.
pub fn token_at(filter: &str, place: &[u8]) -> String {
    let mut bytes = vec![VERSION];
    bytes.extend(place);
    bytes.extend(&check(filter, place)[..CHECK_BYTES]);
    URL_SAFE_NO_PAD.encode(bytes)
}

/// The last entry of the page before.
///
/// # Errors
/// `bad_page_token` when the token was not given out for this list.
pub fn after(filter: &str, token: &str) -> Result<Uuid, Failure> {
    Uuid::from_slice(&place(filter, token)?).map_err(|_| Failure::new(Code::BadPageToken))
}

/// The place of a token of [`token_at`].
///
/// # Errors
/// `bad_page_token` when the token was not given out for this list.
pub fn place(filter: &str, token: &str) -> Result<Vec<u8>, Failure> {
    read(filter, token).ok_or_else(|| Failure::new(Code::BadPageToken))
}

fn read(filter: &str, token: &str) -> Option<Vec<u8>> {
    let bytes = URL_SAFE_NO_PAD.decode(token).ok()?;
    let (version, rest) = bytes.split_first()?;
    let (place, given) = rest.split_at_checked(rest.len().checked_sub(CHECK_BYTES)?)?;
    (*version == VERSION && given == &check(filter, place)[..CHECK_BYTES]).then(|| place.to_vec())
}

fn check(filter: &str, place: &[u8]) -> [u8; 32] {
    Sha256::new().chain_update("page token 1\0").chain_update(place).chain_update(filter).finalize().into()
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
        let token = token("city=a", last);
        assert_eq!(after("city=a", &token).unwrap(), last);
        assert_eq!(after("city=b", &token).unwrap_err().code(), Code::BadPageToken);
        for made_up in ["", "AQ", "next", &token[1..], &format!("{token}AA"), &"A".repeat(token.len())] {
            assert_eq!(after("city=a", made_up).unwrap_err().code(), Code::BadPageToken, "{made_up}");
        }
    }
}

//! Idempotency keys over REST: the same request under the same key gets the first answer again, also after a restart.

use std::time::Duration;

use actix_web::{HttpRequest, http::header::HeaderName};
use serde::Serialize;
use serde_json::{Value, json};
use sha2::{Digest, Sha256};

use super::{
    Deps,
    problem::{Code, Failure},
    storage,
};
use crate::{domain::access::Principal, engine::command::IdempotencyRecord, store};

/// The header in which a caller gives the key.
const IDEMPOTENCY_KEY: &str = "Idempotency-Key";
/// The header that says that the answer is an earlier one.
pub const REPLAYED: HeaderName = HeaderName::from_static("idempotent-replayed");

/// One caller's key with the digest of what is asked under it.
#[derive(Clone, Debug)]
pub struct Key {
    caller: String,
    key: String,
    digest: Vec<u8>,
}

impl Key {
    /// The key of a request, when it has one. The digest tells requests apart: of `body` alone, or together with `scope`,
    /// the path, where the body does not say what it is about.
    ///
    /// # Errors
    /// `bad_idempotency_key`.
    pub fn of(
        request: &HttpRequest,
        caller: &Principal,
        scope: Option<&str>,
        body: &impl Serialize,
    ) -> Result<Option<Self>, Failure> {
        let bad = || Failure::new(Code::BadIdempotencyKey);
        let Some(value) = request.headers().get(IDEMPOTENCY_KEY) else { return Ok(None) };
        let key = value.to_str().map_err(|_| bad())?;
        if !(1..=128).contains(&key.len()) || !key.bytes().all(|b| b.is_ascii_graphic()) {
            return Err(bad());
        }
        let actor = caller.actor();
        let caller = format!("{}:{}", actor.kind, actor.id.as_deref().unwrap_or_default());
        Ok(Some(Self { caller, key: key.to_owned(), digest: digest(scope, body)? }))
    }

    /// The key of one part of a request that is stored part by part.
    ///
    /// # Errors
    /// Only when the part cannot be written as JSON.
    pub fn part(&self, name: &str, what: &impl Serialize) -> Result<Self, Failure> {
        // A length of its own, whatever the caller's; parts of different keys do not meet.
        let name = Sha256::new().chain_update(&self.key).chain_update([0]).chain_update(name).finalize();
        let key = name.iter().fold("part:".to_owned(), |text, byte| format!("{text}{byte:02x}"));
        Ok(Self { caller: self.caller.clone(), key, digest: digest(None, what)? })
    }

    /// The answer that this request got before.
    ///
    /// # Errors
    /// `idempotency_key_reused` when the key was used for another request, or the store does not answer.
    pub async fn answered(&self, deps: &Deps) -> Result<Option<Value>, Failure> {
        let stored = store::idempotency::find(&deps.db, &self.caller, &self.key, deps.clock.now());
        match storage::read(deps, stored).await? {
            None => Ok(None),
            Some(earlier) if earlier.digest == self.digest => Ok(Some(earlier.answer)),
            Some(_) => Err(Failure::new(Code::IdempotencyKeyReused)),
        }
    }

    /// What is stored with the change.
    #[must_use]
    pub fn record(self, deps: &Deps, answer: Value) -> IdempotencyRecord {
        let Self { caller, key, digest } = self;
        let expires_at = deps.clock.now() + Duration::from_secs(u64::from(deps.options.idempotency_ttl_s));
        IdempotencyRecord { caller, key, digest, answer, expires_at }
    }
}

/// SHA-256 of a body in one canonical form, so that blanks and the order of fields do not matter.
fn digest(scope: Option<&str>, body: &impl Serialize) -> Result<Vec<u8>, Failure> {
    let mut value = serde_json::to_value(body).map_err(Failure::internal)?;
    if let Some(scope) = scope {
        value = json!({ "path": scope, "body": value });
    }
    value.sort_all_objects();
    Ok(Sha256::digest(serde_json::to_vec(&value).map_err(Failure::internal)?).to_vec())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rest::NewOrder;

    #[test]
    fn the_digest_sees_values_and_not_their_writing() {
        let read = |text: &str| digest(None, &serde_json::from_str::<NewOrder>(text).unwrap()).unwrap();
        let place = r#""pickup":{"lat":1,"lon":2},"drop":{"lat":1,"lon":3}"#;
        let one = read(&format!(r#"{{"city":"aa",{place},"metadata":{{"a":1,"b":[2]}}}}"#));
        assert_eq!(one, read(&format!(r#"{{ "metadata":{{"b":[2],"a":1}}, {place}, "city":"aa" }}"#)));
        assert_ne!(one, read(&format!(r#"{{"city":"aa",{place},"metadata":{{"a":1,"b":[3]}}}}"#)));
    }

    #[test]
    fn the_same_body_on_another_path_is_another_request() {
        let body = json!({ "reason": "sold out" });
        let of = |path| digest(Some(path), &body).unwrap();
        assert_eq!(of("/v1/orders/1/cancel"), of("/v1/orders/1/cancel"));
        assert_ne!(of("/v1/orders/1/cancel"), of("/v1/orders/2/cancel"));
    }

    #[test]
    fn parts_have_keys_of_their_own() {
        let key = |name: &str| Key { caller: "operator:olga".into(), key: name.into(), digest: vec![] };
        let part = |of: &str, name: &str| key(of).part(name, &json!(1)).unwrap().key;
        assert_eq!(part("a", "b"), part("a", "b"));
        assert_ne!(part("a", "b"), part("a", "c"));
        assert_ne!(part("ab", ""), part("a", "b"));
        assert!(part(&"x".repeat(128), "b").len() <= 128);
    }
}

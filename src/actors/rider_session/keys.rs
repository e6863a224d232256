//! What makes a frame the same frame: its id and the digest of what it asks for. And what of a report is nobody's business:
//! the recipient's one-time code, of which only a keyed digest goes further. Pure.

use serde_json::Value;
use sha2::{Digest, Sha256};

use super::codec::BadFrame;
use crate::{
    domain::{
        ids::OrderId,
        otp::{Otp, OtpDigest},
    },
    store::contacts::Sealer,
    wire::{
        codes::frame,
        rider::{Progress, Up},
    },
};

/// The member of a proof that holds the code.
const CODE: &str = "otp";

/// Takes the code out of a report's proof.
///
/// # Errors
/// [`BadFrame`] `malformed_frame` when it is no code.
pub fn take_code(progress: &mut Progress, sealer: &Sealer) -> Result<Option<OtpDigest>, BadFrame> {
    let Some(Value::Object(proof)) = &mut progress.proof else { return Ok(None) };
    let Some(code) = proof.remove(CODE) else { return Ok(None) };
    if proof.is_empty() {
        progress.proof = None;
    }
    let code = code.as_str().and_then(|text| Otp::parse(text).ok());
    let code = code.ok_or_else(|| BadFrame::new(frame::MALFORMED_FRAME, "proof.otp is a text of 4 to 8 digits"))?;
    Ok(Some(sealer.code_digest(OrderId(progress.order), &code)))
}

/// SHA-256 of what a frame asks for. Neither its id nor the time that the device gives it belongs to that: an app may
/// stamp a repetition anew. The code of the recipient has been taken out, and counts by its keyed digest, so that nobody
/// finds it by trying.
#[must_use]
pub fn digest(up: &Up, code: Option<OtpDigest>) -> [u8; 32] {
    // A frame that was read can be written: its types have no maps with keys other than texts.
    let mut value = serde_json::to_value(up).unwrap_or_default();
    if let Value::Object(members) = &mut value {
        members.remove("id");
        members.remove("at");
    }
    value.sort_all_objects();
    let hash = Sha256::new().chain_update(value.to_string());
    match code {
        Some(OtpDigest(code)) => hash.chain_update([0]).chain_update(code).finalize().into(),
        None => hash.finalize().into(),
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn progress(id: &str, at: i64, proof: Value) -> Progress {
        let text = json!({
            "id": id, "order": uuid::Uuid::nil(), "step": "delivered", "at": at, "proof": proof
        });
        serde_json::from_value(text).unwrap()
    }

    fn digest_of(mut progress: Progress) -> [u8; 32] {
        let code = take_code(&mut progress, &Sealer::new(&[1; 32])).unwrap();
        digest(&Up::Progress(progress), code)
    }

    #[test]
    fn a_repetition_has_the_same_digest_and_another_report_has_not() {
        let first = digest_of(progress("a", 5, json!({"otp": "4711", "photo": "k"})));
        assert_eq!(first, digest_of(progress("a", 9, json!({"photo": "k", "otp": "4711"}))));
        for other in [json!({"otp": "4712", "photo": "k"}), json!({"photo": "k"}), json!({"otp": "4711"})] {
            assert_ne!(first, digest_of(progress("a", 5, other)));
        }
    }

    #[test]
    fn the_code_is_taken_out() {
        let sealer = Sealer::new(&[1; 32]);
        let mut with_more = progress("a", 5, json!({"otp": "4711", "photo": "k"}));
        assert!(take_code(&mut with_more, &sealer).unwrap().is_some());
        assert_eq!(with_more.proof, Some(json!({"photo": "k"})));
        let mut alone = progress("a", 5, json!({"otp": "4711"}));
        assert!(take_code(&mut alone, &sealer).unwrap().is_some());
        assert_eq!(alone.proof, None, "a code that is gone proves nothing by itself");
        for bad in [json!({"otp": 4711}), json!({"otp": "47"}), json!({"otp": "digits"})] {
            assert!(take_code(&mut progress("a", 5, bad), &sealer).is_err());
        }
        assert_eq!(take_code(&mut progress("a", 5, json!("sig-9")), &sealer).unwrap(), None);
    }
}

//! What is sent, and what refusals mean.

use http::HeaderValue;
use uuid::Uuid;

use super::*;
use crate::{domain::ids::OfferId, engine::wake::WakeWhy};

fn judged(status: u16, after: Option<&'static str>, body: &Value) -> PushError {
    let mut headers = HeaderMap::new();
    if let Some(after) = after {
        headers.insert(header::RETRY_AFTER, HeaderValue::from_static(after));
    }
    // Wed, 21 Oct 2015 07:27:50 GMT
    let now = Timestamp::from_millis(1_445_412_470_000);
    judge(StatusCode::from_u16(status).unwrap(), &headers, body.to_string().as_bytes(), now)
}

fn fcm_error(status: &str, code: &str) -> Value {
    let kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError";
    json!({ "error": { "status": status, "details": [{ "@type": kind, "errorCode": code }] } })
}

#[test]
fn a_message_says_what_waits_and_nothing_of_an_order() {
    let offer = OfferId(Uuid::from_u128(7));
    let mut message = PushMessage {
        why: WakeWhy::Offer,
        offer: Some(offer),
        expires_at: Timestamp::from_millis(1_234),
        time_left: Duration::from_millis(29_900),
    };
    let token = PushToken::new("t".into());
    assert_eq!(
        body(&token, &message),
        json!({ "message": {
            "token": "t",
            "data": { "purpose": "offer", "offer": offer.to_string(), "expires_at": "1234" },
            "android": { "priority": "high", "ttl": "29s", "collapse_key": format!("offer-{offer}") },
        }})
    );
    (message.why, message.offer) = (WakeWhy::AutoOffWarning, None);
    message.time_left = Duration::from_secs(1_000_000_000);
    let warning = body(&token, &message);
    assert_eq!(warning["message"]["data"], json!({ "purpose": "auto_off_warning", "expires_at": "1234" }));
    assert_eq!(warning["message"]["android"]["collapse_key"], "auto_off_warning");
    assert_eq!(warning["message"]["android"]["ttl"], "2419200s");
}

#[test]
fn tokens_that_are_gone_are_told_from_mistakes_of_ours() {
    for body in [fcm_error("NOT_FOUND", "UNREGISTERED"), json!({ "error": { "status": "NOT_FOUND" } })] {
        assert_eq!(judged(404, None, &body), PushError::TokenGone);
    }
    assert_eq!(judged(403, None, &fcm_error("PERMISSION_DENIED", "SENDER_ID_MISMATCH")), PushError::TokenGone);
    assert_eq!(judged(400, None, &fcm_error("INVALID_ARGUMENT", "INVALID_ARGUMENT")), PushError::TokenGone);
    let mut form = fcm_error("INVALID_ARGUMENT", "INVALID_ARGUMENT");
    let violation = json!({ "fieldViolations": [{ "field": "message.android.ttl" }] });
    form["error"]["details"].as_array_mut().unwrap().push(violation);
    for (status, body) in [
        (400, form),
        (403, json!({ "error": { "status": "PERMISSION_DENIED" } })),
        (404, json!("an address where nobody knows FCM")),
        (401, fcm_error("UNAUTHENTICATED", "THIRD_PARTY_AUTH_ERROR")),
    ] {
        assert!(matches!(judged(status, None, &body), PushError::Misconfigured(_)), "{status}");
    }
}

#[test]
fn what_may_pass_is_tried_again_when_the_provider_says() {
    let after = |error| if let PushError::Retryable { after, .. } = error { Some(after) } else { None };
    let quota = fcm_error("RESOURCE_EXHAUSTED", "QUOTA_EXCEEDED");
    assert_eq!(after(judged(429, Some("7"), &quota)), Some(Some(Duration::from_secs(7))));
    let date = Some("Wed, 21 Oct 2015 07:28:00 GMT");
    assert_eq!(after(judged(503, date, &fcm_error("UNAVAILABLE", "UNAVAILABLE"))), Some(Some(Duration::from_secs(10))));
    assert_eq!(after(judged(500, Some("soon"), &json!("<html>"))), Some(None));
    assert_eq!(after(judged(401, None, &json!({}))), Some(Some(Duration::ZERO)));
}

//! Firebase Cloud Messaging, HTTP v1. No crate fits: those for FCM are small and unattended or generated from Google's
//! whole API, and none takes the address of a server for tests; what is needed is one request and its error codes.

use std::{fmt, time::Duration};

use chrono::DateTime;
use http::{HeaderMap, StatusCode, Uri, header};
use serde::Deserialize;
use serde_json::{Value, json};

use super::{
    Options, ProviderError, PushError, PushMessage, PushProvider, Sending, Sent, ServiceAccount,
    https::{Answer, Https},
    oauth::AccessTokens,
};
use crate::{clock::Clock, config::Secret, domain::device::PushToken, domain::time::Timestamp};

/// The longest that a provider keeps a message: what FCM takes.
const LONGEST: Duration = Duration::from_secs(28 * 24 * 3_600);

/// The provider.
#[derive(Debug)]
pub struct Fcm {
    send_url: Uri,
    tokens: AccessTokens,
    https: Https,
}

impl Fcm {
    /// Sends for a project; asks nobody yet.
    ///
    /// # Errors
    /// [`ProviderError::Address`].
    pub fn new(account: ServiceAccount, options: &Options) -> Result<Self, ProviderError> {
        let https = Https::new(Duration::from_millis(options.timeout_ms));
        let base = options.fcm_url.trim_end_matches('/');
        let send_url = address("push.fcm_url", &format!("{base}/v1/projects/{}/messages:send", account.project))?;
        let token_url = address("push.token_url", options.token_url.as_deref().unwrap_or(&account.token_uri))?;
        Ok(Self { send_url, tokens: AccessTokens::new(account, token_url, https.clone()), https })
    }

    async fn deliver(&self, token: &PushToken, message: &PushMessage) -> Result<Sent, PushError> {
        let access = self.tokens.get().await?;
        let body = body(token, message).to_string();
        let answer = self.https.post(&self.send_url, "application/json", Some(access.expose()), body).await?;
        if answer.status.is_success() {
            return Ok(Sent { id: name_of(&answer) });
        }
        Err(self.refusal(&answer, &access).await)
    }

    async fn refusal(&self, answer: &Answer, access: &Secret) -> PushError {
        let error = judge(answer.status, &answer.headers, &answer.body, Clock::wall());
        if answer.status == StatusCode::UNAUTHORIZED {
            self.tokens.refused(access).await;
        }
        error
    }
}

impl PushProvider for Fcm {
    fn name(&self) -> &'static str {
        "fcm"
    }

    fn takes(&self, provider: &str) -> bool {
        provider == "fcm"
    }

    fn send<'a>(&'a self, token: &'a PushToken, message: &'a PushMessage) -> Sending<'a> {
        Box::pin(self.deliver(token, message))
    }
}

fn address(key: &'static str, text: &str) -> Result<Uri, ProviderError> {
    let uri: Uri = text.parse().map_err(|_| ProviderError::Address { key })?;
    let is_web = matches!(uri.scheme_str(), Some("http" | "https")) && uri.host().is_some();
    if is_web { Ok(uri) } else { Err(ProviderError::Address { key }) }
}

/// A data message: the app decides what to show. Every value is text, as FCM wants it.
fn body(token: &PushToken, message: &PushMessage) -> Value {
    let mut data = json!({
        "purpose": message.purpose(),
        "expires_at": message.expires_at.as_millis().to_string(),
    });
    // One message per offer, and one warning, is kept for a device that is off the network.
    let mut collapse = message.purpose().to_owned();
    if let Some(offer) = message.offer {
        data["offer"] = json!(offer.to_string());
        collapse = format!("offer-{offer}");
    }
    // Whole seconds, rounded down: it must not arrive when its time is over. 0 means now or never.
    let ttl = format!("{}s", message.time_left.min(LONGEST).as_secs());
    json!({ "message": {
        "token": token.expose(),
        "data": data,
        "android": { "priority": "high", "ttl": ttl, "collapse_key": collapse },
    }})
}

fn name_of(answer: &Answer) -> String {
    #[derive(Deserialize)]
    struct Named {
        name: String,
    }
    serde_json::from_slice(&answer.body).map(|named: Named| named.name).unwrap_or_default()
}

impl fmt::Display for Code {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.fcm)?;
        if self.fcm.is_empty() { f.write_str(&self.status) } else { Ok(()) }
    }
}

/// What the body of a refusal says.
#[derive(Debug, Default)]
struct Code {
    /// The canonical code, as in `NOT_FOUND`.
    status: String,
    /// FCM's own, as in `UNREGISTERED`.
    fcm: String,
    /// Fields at fault.
    fields: Vec<String>,
}

impl Code {
    fn of(body: &[u8]) -> Self {
        let body: Value = serde_json::from_slice(body).unwrap_or_default();
        let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
        let details = body["error"]["details"].as_array().map_or(&[][..], Vec::as_slice);
        let violations = details.iter().filter_map(|detail| detail["fieldViolations"].as_array()).flatten();
        Self {
            status: text(&body["error"]["status"]),
            fcm: details
                .iter()
                .map(|detail| text(&detail["errorCode"]))
                .find(|code| !code.is_empty())
                .unwrap_or_default(),
            fields: violations.map(|violation| text(&violation["field"])).collect(),
        }
    }
}

/// What a refusal means for us.
fn judge(status: StatusCode, headers: &HeaderMap, body: &[u8], now: Timestamp) -> PushError {
    let code = Code::of(body);
    let said = format!("{} {code}", status.as_u16());
    match (status.as_u16(), code.fcm.as_str()) {
        // 404 without a word of FCM is a wrong project or address.
        (_, "UNREGISTERED" | "SENDER_ID_MISMATCH") => PushError::TokenGone,
        (404, "") if code.status == "NOT_FOUND" => PushError::TokenGone,
        // The form of our message is the same for every device, so an argument that is not named is the token.
        (400, "INVALID_ARGUMENT") if code.fields.iter().all(|field| field == "message.token") => PushError::TokenGone,
        // The certificate of another push service, which the project holds.
        (401, "THIRD_PARTY_AUTH_ERROR") => PushError::Misconfigured(said),
        // Our access token has ended early; the next one is fetched for the next try.
        (401, _) => PushError::Retryable { after: Some(Duration::ZERO), why: said },
        (429 | 500..=599 | 408, _) => PushError::Retryable { after: retry_after(headers, now), why: said },
        _ => PushError::Misconfigured(said),
    }
}

/// Seconds, or a date.
fn retry_after(headers: &HeaderMap, now: Timestamp) -> Option<Duration> {
    let text = headers.get(header::RETRY_AFTER)?.to_str().ok()?.trim();
    if let Ok(seconds) = text.parse() {
        return Some(Duration::from_secs(seconds));
    }
    let date = DateTime::parse_from_rfc2822(text).ok()?;
    Some(Timestamp::from_millis(date.timestamp_millis()).since(now))
}

#[cfg(test)]
#[path = "fcm_tests.rs"]
mod tests;

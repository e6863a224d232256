//! REST as an impatient client speaks it: an answer that does not come counts as none.

use std::{net::SocketAddr, time::Duration};

use reqwest::{Method, StatusCode};
use serde::Serialize;
use serde_json::Value;

/// The longest wait for an answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// A client.
#[derive(Clone, Debug)]
pub struct Rest {
    client: reqwest::Client,
    address: SocketAddr,
}

/// A status and a body.
pub type Answer = (StatusCode, Value);

impl Rest {
    /// Of an engine.
    pub fn new(address: SocketAddr) -> Self {
        let client = reqwest::Client::builder().timeout(PATIENCE).build().unwrap();
        Self { client, address }
    }

    /// POST with a token and perhaps an idempotency key; `None` when no whole answer came.
    pub async fn post(&self, path: &str, token: &str, key: Option<&str>, body: &impl Serialize) -> Option<Answer> {
        let request = self.client.request(Method::POST, format!("http://{}{path}", self.address)).bearer_auth(token);
        let request = key.into_iter().fold(request, |request, key| request.header("Idempotency-Key", key));
        let answer = request.json(body).send().await.ok()?;
        let status = answer.status();
        // A body that breaks off is no answer.
        let text = answer.text().await.ok()?;
        Some((status, serde_json::from_str(&text).unwrap_or(Value::String(text))))
    }

    /// POST that must succeed at once, for what is set up before the storm.
    pub async fn make(&self, path: &str, token: &str, body: &impl Serialize) -> Value {
        let (status, answer) = self.post(path, token, None, body).await.expect("an answer");
        assert!(status.is_success(), "{path}: {status} {answer}");
        answer
    }
}

//! A client over REST.

use reqwest::{Method, RequestBuilder, StatusCode};
use serde::Serialize;
use serde_json::Value;

use super::{TestApp, token};

/// What came back.
#[derive(Debug)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: reqwest::header::HeaderMap,
    /// The body; null when there is none.
    pub body: Value,
}

impl Answer {
    /// The problem's stable code.
    pub fn code(&self) -> &str {
        self.body["code"].as_str().unwrap_or_default()
    }
}

impl TestApp {
    /// A request with a token.
    pub fn request(&self, method: Method, path: &str, token: &str) -> RequestBuilder {
        reqwest::Client::new().request(method, self.url(path)).bearer_auth(token)
    }

    /// GET as an administrator.
    pub async fn get(&self, path: &str) -> Answer {
        answer(self.request(Method::GET, path, &token("admin", "tests"))).await
    }

    /// POST as an administrator.
    pub async fn post(&self, path: &str, body: &impl Serialize) -> Answer {
        answer(self.request(Method::POST, path, &token("admin", "tests")).json(body)).await
    }
}

/// Sends a request and reads its answer.
pub async fn answer(request: RequestBuilder) -> Answer {
    let response = request.send().await.unwrap();
    let (status, headers) = (response.status(), response.headers().clone());
    let text = response.text().await.unwrap();
    let body = if text.is_empty() { Value::Null } else { serde_json::from_str(&text).unwrap_or(Value::String(text)) };
    Answer { status, headers, body }
}

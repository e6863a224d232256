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

    /// Asserts that this is a problem of the given code, whose form is right, and returns its body.
    #[track_caller]
    pub fn problem(&self, status: u16, code: &str) -> &Value {
        assert_eq!((self.status.as_u16(), self.code()), (status, code), "{}", self.body);
        assert_eq!(self.headers["content-type"], "application/problem+json");
        assert_eq!(self.body["type"], format!("urn:dispatch:problem:{code}"));
        assert_eq!(self.body["status"], status);
        assert!(self.headers.contains_key("x-request-id"));
        &self.body
    }

    /// Asserts that this is an answer of the given status, and returns its body.
    #[track_caller]
    pub fn ok(&self, status: u16) -> &Value {
        assert_eq!(self.status.as_u16(), status, "{}", self.body);
        &self.body
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

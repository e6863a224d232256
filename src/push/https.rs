//! The HTTP client of the providers: one POST, its answer read up to a bound, over pooled connections.
//!
//! reqwest is not it: any of its TLS features would want a process-wide cryptography provider from every other client of
//! this workspace, or bring a second one beside the ring that sqlx uses. hyper's own client takes ours as an argument.

use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, Request, StatusCode, Uri, header};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::{
    client::legacy::{Client, connect::HttpConnector},
    rt::TokioExecutor,
};

use super::PushError;

/// The longest answer that is read, bytes.
const MAX_ANSWER: usize = 64 * 1024;

/// Connections that stay open for the next message, per host. HTTP/1.1 carries one request at a time on each.
const IDLE: usize = 16;

/// Cheap to clone; all clones share the connections.
#[derive(Clone, Debug)]
pub(super) struct Https {
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    timeout: Duration,
}

/// What a server answered.
#[derive(Debug)]
pub(super) struct Answer {
    pub status: StatusCode,
    pub headers: HeaderMap,
    pub body: Bytes,
}

impl Https {
    /// `timeout` is for one request, connecting included (real time).
    pub fn new(timeout: Duration) -> Self {
        let connector = HttpsConnectorBuilder::new()
            .with_provider_and_webpki_roots(rustls::crypto::ring::default_provider())
            .map(|builder| builder.https_or_http().enable_http1().build());
        #[expect(clippy::expect_used, reason = "fails only for a provider without TLS 1.2 and 1.3, and ring has both")]
        let connector = connector.expect("ring speaks TLS 1.2 and 1.3");
        let client = Client::builder(TokioExecutor::new()).pool_max_idle_per_host(IDLE).build(connector);
        Self { client, timeout }
    }

    /// One POST. Whatever status comes is an answer.
    ///
    /// # Errors
    /// [`PushError::Retryable`] when no whole answer came in time.
    pub async fn post(
        &self,
        url: &Uri,
        content_type: &'static str,
        bearer: Option<&str>,
        body: impl Into<Bytes>,
    ) -> Result<Answer, PushError> {
        let mut request = Request::post(url).header(header::CONTENT_TYPE, content_type);
        if let Some(token) = bearer {
            request = request.header(header::AUTHORIZATION, format!("Bearer {token}"));
        }
        let request =
            request.body(Full::new(body.into())).map_err(|error| PushError::Misconfigured(error.to_string()))?;
        let exchange = async {
            let response = self.client.request(request).await.map_err(|error| PushError::later(chain(&error)))?;
            let (head, body) = response.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await.map_err(PushError::later)?.to_bytes();
            Ok(Answer { status: head.status, headers: head.headers, body })
        };
        tokio::time::timeout(self.timeout, exchange).await.map_err(|_elapsed| PushError::later("no answer in time"))?
    }
}

/// An error with its causes: hyper's own text says only which step failed.
fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(cause) = next {
        text = format!("{text}: {cause}");
        next = cause.source();
    }
    text
}

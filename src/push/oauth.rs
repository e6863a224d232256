//! Access tokens of Google for a service account (RFC 7523): a signed statement of who we are, exchanged for a token that
//! is used until shortly before its end.

use std::{fmt, time::Duration};

use http::Uri;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde::{Deserialize, Serialize};
use tokio::{sync::Mutex, time::Instant};

use super::{PushError, SCOPE, https::Https};
use crate::{clock::Clock, config::Secret};

/// How long a signed statement holds: the longest that Google takes.
const STATEMENT_S: i64 = 3_600;

/// A token is not used in its last minute: requests on their way must not meet its end.
const MARGIN: Duration = Duration::from_secs(60);

/// Why a service account cannot be used. The texts hold nothing of it.
#[derive(Debug, thiserror::Error)]
pub enum BadAccount {
    /// It is no JSON, or a field is missing.
    #[error("it is not the JSON of a service account (line {line}, column {column})")]
    Form {
        /// Where.
        line: usize,
        /// Where.
        column: usize,
    },
    /// Its key is no RSA key.
    #[error("its private_key is no RSA key in PEM form")]
    Key,
}

/// What Google hands out for a program: the fields that are used.
pub struct ServiceAccount {
    pub(super) project: String,
    email: String,
    pub(super) token_uri: String,
    key: EncodingKey,
}

impl ServiceAccount {
    /// Reads the JSON.
    ///
    /// # Errors
    /// [`BadAccount`].
    pub fn parse(text: &str) -> Result<Self, BadAccount> {
        #[derive(Deserialize)]
        struct File {
            project_id: String,
            client_email: String,
            token_uri: String,
            private_key: Secret,
        }
        // The parser's own words may quote what it read.
        let form = |error: serde_json::Error| BadAccount::Form { line: error.line(), column: error.column() };
        let file: File = serde_json::from_str(text).map_err(form)?;
        let key = EncodingKey::from_rsa_pem(file.private_key.expose().as_bytes()).map_err(|_| BadAccount::Key)?;
        Ok(Self { project: file.project_id, email: file.client_email, token_uri: file.token_uri, key })
    }
}

impl fmt::Debug for ServiceAccount {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ServiceAccount").field("project", &self.project).finish_non_exhaustive()
    }
}

#[derive(Serialize)]
struct Statement<'a> {
    iss: &'a str,
    scope: &'static str,
    aud: &'a str,
    iat: i64,
    exp: i64,
}

#[derive(Deserialize)]
struct Grant {
    access_token: String,
    expires_in: u64,
}

/// The current access token. Senders that need a new one at the same time wait for one exchange.
#[derive(Debug)]
pub(super) struct AccessTokens {
    account: ServiceAccount,
    url: Uri,
    https: Https,
    current: Mutex<Option<Current>>,
}

#[derive(Debug)]
struct Current {
    token: Secret,
    until: Instant,
}

impl AccessTokens {
    pub fn new(account: ServiceAccount, url: Uri, https: Https) -> Self {
        Self { account, url, https, current: Mutex::new(None) }
    }

    /// A token that holds for a while.
    ///
    /// # Errors
    /// [`PushError`], never [`PushError::TokenGone`].
    pub async fn get(&self) -> Result<Secret, PushError> {
        let mut current = self.current.lock().await;
        if let Some(current) = &*current
            && Instant::now() < current.until
        {
            return Ok(current.token.clone());
        }
        let grant = self.exchange().await?;
        let life = Duration::from_secs(grant.expires_in);
        let token = Secret::new(grant.access_token);
        *current = Some(Current { token: token.clone(), until: Instant::now() + life.saturating_sub(MARGIN) });
        Ok(token)
    }

    /// A token that was refused is not used again.
    pub async fn refused(&self, token: &Secret) {
        let mut current = self.current.lock().await;
        if current.as_ref().is_some_and(|current| current.token == *token) {
            *current = None;
        }
    }

    async fn exchange(&self) -> Result<Grant, PushError> {
        let iat = Clock::wall().as_millis() / 1_000;
        let statement = Statement {
            iss: &self.account.email,
            scope: SCOPE,
            aud: &self.account.token_uri,
            iat,
            exp: iat + STATEMENT_S,
        };
        let signed = jsonwebtoken::encode(&Header::new(Algorithm::RS256), &statement, &self.account.key)
            .map_err(|error| PushError::Misconfigured(format!("the service account cannot sign: {error}")))?;
        // Nothing in a JWT needs escaping.
        let body = format!("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&assertion={signed}");
        let answer = self.https.post(&self.url, "application/x-www-form-urlencoded", None, body).await?;
        let status = answer.status;
        if status.is_success() {
            // Whatever stands there in its place may be secret.
            return serde_json::from_slice(&answer.body)
                .map_err(|_| PushError::later("the token server gave no access token"));
        }
        if status.is_server_error() || status.as_u16() == 429 {
            return Err(PushError::later(format_args!("the token server answered {status}")));
        }
        #[derive(Default, Deserialize)]
        struct Refusal {
            #[serde(default)]
            error: String,
        }
        let refusal: Refusal = serde_json::from_slice(&answer.body).unwrap_or_default();
        Err(PushError::Misconfigured(format!("the token server answered {status} {}", refusal.error)))
    }
}

//! The engine's REST interface, as a client uses it.

use std::time::Duration;

use chrono::{DateTime, Utc};
use dispatch_engine::wire::{
    operator::CityState,
    problem::Problem,
    rest::{
        CancelOrder, ChangeReady, CityBody, ClockBody, MerchantBody, NewCity, NewMerchant, NewOrder, NewRider,
        OrderBody, OrderPage, OrderReceipt, RiderBody,
    },
};
use reqwest::{RequestBuilder, StatusCode, header::RETRY_AFTER};
use serde::de::DeserializeOwned;
use tokio::time::Instant;
use uuid::Uuid;

use crate::{
    clock::Reading,
    token::{Minter, Role},
};

/// Real time after which a request counts as unanswered.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Entries asked for per page.
const PAGE: u32 = 200;

/// Why a request got no good answer.
#[derive(Debug, thiserror::Error)]
pub enum ApiError {
    /// No answer, or not one of this interface.
    #[error("no usable answer: {0}")]
    Transport(#[from] reqwest::Error),
    /// The engine refused.
    #[error("{status} {code}: {detail}")]
    Refused {
        /// The HTTP status.
        status: u16,
        /// The stable code; `http_<status>` where the answer had none.
        code: String,
        /// For people.
        detail: String,
        /// When the engine asks to come back, real time.
        retry_after: Option<Duration>,
    },
    /// The caller's token could not be made.
    #[error("no token: {0}")]
    Token(#[from] jsonwebtoken::errors::Error),
}

impl ApiError {
    /// A stable word for counting.
    pub fn code(&self) -> &str {
        match self {
            Self::Transport(e) if e.is_timeout() => "timeout",
            Self::Transport(e) if e.is_connect() => "connect",
            Self::Transport(_) => "transport",
            Self::Refused { code, .. } => code,
            Self::Token(_) => "token",
        }
    }

    /// Whether the same request may be sent again, and after how long at the earliest.
    pub fn retry_after(&self) -> Option<Duration> {
        match self {
            Self::Transport(_) => Some(Duration::from_millis(200)),
            Self::Refused { status: 429 | 503 | 504, retry_after, .. } => {
                Some(retry_after.unwrap_or(Duration::from_millis(200)))
            }
            Self::Refused { status: 409, code, .. } if code == "order_busy" => Some(Duration::from_millis(100)),
            Self::Refused { .. } | Self::Token(_) => None,
        }
    }

    /// Whether the request may have been carried out although the answer is missing.
    pub fn leaves_doubt(&self) -> bool {
        match self {
            Self::Transport(e) => !e.is_connect(),
            // A city that fails drops the answers to what it may have stored.
            Self::Refused { status, code, .. } => matches!(status, 500 | 502 | 504) || code == "city_unavailable",
            Self::Token(_) => false,
        }
    }
}

/// A good answer.
#[derive(Debug)]
pub struct Answer<T> {
    /// Its body.
    pub body: T,
    /// Whether the engine says that it gave this answer before.
    pub replayed: bool,
}

/// A client of the engine.
#[derive(Clone, Debug)]
pub struct Api {
    client: reqwest::Client,
    base: String,
    minter: Minter,
}

impl Api {
    /// For the engine at `base`, such as `http://127.0.0.1:8080`.
    ///
    /// # Errors
    /// When the HTTP client cannot be made.
    pub fn new(base: &str, minter: Minter) -> Result<Self, ApiError> {
        let client = reqwest::Client::builder().timeout(TIMEOUT).tcp_nodelay(true).no_proxy().build()?;
        Ok(Self { client, base: base.trim_end_matches('/').to_owned(), minter })
    }

    /// Makes tokens.
    pub fn minter(&self) -> &Minter {
        &self.minter
    }

    async fn send<T: DeserializeOwned>(&self, role: Role, request: RequestBuilder) -> Result<Answer<T>, ApiError> {
        let answer = request.bearer_auth(self.minter.mint(role)?).send().await?;
        let status = answer.status();
        if status.is_success() {
            let replayed = answer.headers().get("Idempotent-Replayed").is_some_and(|v| v.as_bytes() == b"true");
            return Ok(Answer { body: answer.json().await?, replayed });
        }
        let retry_after = answer
            .headers()
            .get(RETRY_AFTER)
            .and_then(|v| v.to_str().ok())
            .and_then(|v| v.parse::<u64>().ok())
            .map(Duration::from_secs);
        let text = answer.text().await.unwrap_or_default();
        let (code, detail) = match serde_json::from_str::<Problem>(&text) {
            Ok(problem) => (problem.code, problem.detail.unwrap_or(problem.title)),
            Err(_) => (format!("http_{}", status.as_u16()), text.chars().take(200).collect()),
        };
        Err(ApiError::Refused { status: status.as_u16(), code, detail, retry_after })
    }

    fn get(&self, path: &str) -> RequestBuilder {
        self.client.get(format!("{}{path}", self.base))
    }

    fn post(&self, path: &str) -> RequestBuilder {
        self.client.post(format!("{}{path}", self.base))
    }

    /// Reads the engine's clock: a reading and its speed.
    pub async fn clock(&self) -> Result<(Reading, f64), ApiError> {
        let asked = Instant::now();
        let body: ClockBody = self.send(Role::Admin, self.get("/v1/clock")).await?.body;
        Ok((Reading { asked, answered: Instant::now(), now: body.now }, body.speed))
    }

    /// A city; `None` when the engine does not have it.
    pub async fn city(&self, code: &str) -> Result<Option<CityBody>, ApiError> {
        match self.send(Role::Admin, self.get(&format!("/v1/cities/{code}"))).await {
            Ok(answer) => Ok(Some(answer.body)),
            Err(ApiError::Refused { status, .. }) if status == StatusCode::NOT_FOUND.as_u16() => Ok(None),
            Err(e) => Err(e),
        }
    }

    /// Makes or changes a city.
    pub async fn put_city(&self, city: &NewCity) -> Result<CityBody, ApiError> {
        Ok(self.send(Role::Admin, self.post("/v1/cities").json(city)).await?.body)
    }

    /// What a city holds in memory now.
    pub async fn snapshot(&self, code: &str) -> Result<CityState, ApiError> {
        Ok(self.send(Role::Admin, self.get(&format!("/v1/cities/{code}/snapshot"))).await?.body)
    }

    /// Makes a city fail, where the engine is built for that.
    pub async fn inject(&self, code: &str, kind: &str) -> Result<(), ApiError> {
        let request = self.post(&format!("/v1/cities/{code}/faults")).json(&serde_json::json!({ "kind": kind }));
        let _: Answer<serde_json::Value> = self.send(Role::Admin, request).await?;
        Ok(())
    }

    /// Makes a merchant.
    pub async fn create_merchant(&self, name: &str) -> Result<MerchantBody, ApiError> {
        let body = NewMerchant { name: name.to_owned() };
        Ok(self.send(Role::Admin, self.post("/v1/merchants").json(&body)).await?.body)
    }

    /// Makes a rider.
    pub async fn create_rider(&self, rider: &NewRider) -> Result<RiderBody, ApiError> {
        Ok(self.send(Role::Admin, self.post("/v1/riders").json(rider)).await?.body)
    }

    /// Places an order as its merchant, under an idempotency key.
    pub async fn place(&self, merchant: Uuid, key: &str, order: &NewOrder) -> Result<Answer<OrderReceipt>, ApiError> {
        let request = self.post("/v1/orders").header("Idempotency-Key", key).json(order);
        self.send(Role::Merchant(merchant), request).await
    }

    /// Cancels an order as its merchant.
    pub async fn cancel(&self, merchant: Uuid, order: Uuid, reason: &str) -> Result<OrderReceipt, ApiError> {
        let body = CancelOrder { reason: reason.to_owned(), expected_version: None };
        let request = self.post(&format!("/v1/orders/{order}/cancel")).json(&body);
        Ok(self.send(Role::Merchant(merchant), request).await?.body)
    }

    /// Announces another ready time as the order's merchant.
    pub async fn change_ready(
        &self,
        merchant: Uuid,
        order: Uuid,
        ready_at: DateTime<Utc>,
    ) -> Result<OrderReceipt, ApiError> {
        let request =
            self.post(&format!("/v1/orders/{order}/ready")).json(&ChangeReady { ready_at, expected_version: None });
        Ok(self.send(Role::Merchant(merchant), request).await?.body)
    }

    /// One order with its history.
    pub async fn order(&self, order: Uuid) -> Result<OrderBody, ApiError> {
        Ok(self.send(Role::Admin, self.get(&format!("/v1/orders/{order}"))).await?.body)
    }

    /// One page of a city's orders placed in a time, newest first.
    pub async fn orders(
        &self,
        city: &str,
        from: DateTime<Utc>,
        to: DateTime<Utc>,
        page: Option<&str>,
    ) -> Result<OrderPage, ApiError> {
        let times = [("from", from), ("to", to)].map(|(name, at)| (name, at.to_rfc3339()));
        let mut request = self.get("/v1/orders").query(&[("city", city)]).query(&times).query(&[("limit", PAGE)]);
        if let Some(page) = page {
            request = request.query(&[("page", page)]);
        }
        Ok(self.send(Role::Admin, request).await?.body)
    }
}

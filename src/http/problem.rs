//! Errors over REST: one table of stable codes, and one error type that renders itself as RFC 9457
//! `application/problem+json`. Handlers return it; the middleware in `observe` counts it by code and logs it once.

use std::fmt;

use actix_web::{
    HttpResponse, ResponseError,
    http::{
        StatusCode,
        header::{self, HeaderValue},
    },
};

use crate::{
    actors::city::CityCallError,
    domain::{order::OrderStatus, position::PositionError},
    engine::command::{OperatorRefusal, Refusal},
    store::StoreError,
    wire::problem::{CurrentOrder, Problem},
};

/// Seconds after which a client may try again, for codes that say so.
type RetryAfter = Option<u32>;

macro_rules! codes {
    ($($(#[$doc:meta])* $variant:ident = $name:literal, $status:literal $(retry $after:literal)?, $title:literal;)*) => {
        /// Every code that a REST client can see, with its status and title; `docs/ERRORS.md` lists them.
        #[derive(Clone, Copy, Debug, PartialEq, Eq)]
        pub enum Code { $($(#[$doc])* #[doc = $title] $variant,)* }

        impl Code {
            /// Every code, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable name.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $name,)* }
            }

            /// The HTTP status.
            #[must_use]
            pub const fn status(self) -> u16 {
                match self { $(Self::$variant => $status,)* }
            }

            /// A short sentence for people.
            #[must_use]
            pub const fn title(self) -> &'static str {
                match self { $(Self::$variant => $title,)* }
            }

            /// The value of `Retry-After`, seconds.
            #[must_use]
            pub const fn retry_after(self) -> RetryAfter {
                match self { $(Self::$variant => codes!(@after $($after)?),)* }
            }
        }
    };
    (@after) => { None };
    (@after $after:literal) => { Some($after) };
}

codes! {
    TokenMissing = "token_missing", 401, "a bearer token is needed";
    TokenMalformed = "token_malformed", 401, "the Authorization header or the token has no valid form";
    TokenExpired = "token_expired", 401, "the token has expired";
    TokenInvalid = "token_invalid", 401, "the token was not issued here or names nobody";
    WrongRole = "wrong_role", 403, "the role of the token may not do this";
    WrongCity = "wrong_city", 403, "the operator may not act in this city";

    NoSuchRoute = "no_such_route", 404, "nothing is served at this path";
    MethodNotAllowed = "method_not_allowed", 405, "the path does not take this method";
    BadRequest = "bad_request", 400, "the request could not be understood";
    BadPath = "bad_path", 400, "a part of the path has no valid form";
    BadQuery = "bad_query", 400, "a query parameter has no valid form";
    BadPageToken = "bad_page_token", 400, "the page token was not given out for this list";
    WebsocketExpected = "websocket_expected", 426, "this path takes websocket handshakes only";
    UnsupportedSubprotocol = "unsupported_subprotocol", 400, "none of the subprotocols offered is spoken here";
    BadIdempotencyKey = "bad_idempotency_key", 400, "Idempotency-Key takes 1 to 128 visible ASCII characters";
    UnsupportedMediaType = "unsupported_media_type", 415, "the body must be application/json";
    BodyTooLarge = "body_too_large", 413, "the body is larger than the limit";
    BodyTimeout = "body_timeout", 408, "the body did not arrive in time";
    MalformedJson = "malformed_json", 400, "the body is not JSON";
    UnknownField = "unknown_field", 400, "the body has a field that is not known";
    MissingField = "missing_field", 400, "the body lacks a field";
    WrongType = "wrong_type", 400, "a field has the wrong type or form";
    InvalidField = "invalid_field", 422, "a field's value is not acceptable";
    OutOfWorld = "out_of_world", 422, "the position lies outside the world";
    NullIsland = "null_island", 422, "0, 0 is what a receiver without a fix reports";

    UnknownCity = "unknown_city", 404, "no such city";
    UnknownMerchant = "unknown_merchant", 404, "no such merchant";
    MerchantSuspended = "merchant_suspended", 403, "the merchant is suspended";
    UnknownRider = "unknown_rider", 404, "no such rider";
    MobileTaken = "mobile_taken", 409, "another rider has this mobile number";
    UnknownOrder = "unknown_order", 404, "no such order";
    UnknownDispute = "unknown_dispute", 404, "no such dispute";
    DisputeClosed = "dispute_closed", 409, "the dispute was decided otherwise";
    OrderEnded = "order_ended", 409, "the order has ended";
    PickedUp = "picked_up", 409, "the goods are picked up already";
    OrderBusy = "order_busy", 409, "the order is being changed; try again";
    VersionConflict = "version_conflict", 409, "the stored order has moved on; try again";
    ExternalRefTaken = "external_ref_taken", 409, "the merchant has an order of that external_ref";
    IdempotencyKeyReused = "idempotency_key_reused", 422, "the idempotency key was used for another request";
    OutsideCity = "outside_city", 422, "a place lies outside the service area";
    IllegalStep = "illegal_step", 422, "this does not follow from where the order stands";
    StorageRefused = "storage_refused", 422, "the store refused the change";
    WrongStatus = "wrong_status", 409, "the action does not fit where the order stands";
    RiderBusy = "rider_busy", 409, "the rider has no hand free";
    RiderUnavailable = "rider_unavailable", 409, "the rider is not at work here";
    RiderUnfit = "rider_unfit", 409, "the order does not suit the rider";
    HeldByOther = "held_by_other", 409, "another operator holds the order";
    BadHold = "bad_hold", 422, "a hold ends in the future, within the policy's limit";
    LocationUnknown = "location_unknown", 404, "no position of the rider is known";

    RateLimited = "rate_limited", 429 retry 1, "the caller reads too often";

    CityPaused = "city_paused", 503 retry 60, "the city takes no new orders now";
    CityFull = "city_full", 503 retry 30, "a bound of the city is reached";
    CityUnavailable = "city_unavailable", 503 retry 5, "the city is not being served now";
    CityMoved = "city_moved", 503 retry 5, "this process no longer serves the city";
    CityBusy = "city_busy", 503 retry 1, "the city's queue is full";
    CityDeadline = "city_deadline", 504, "the city did not answer in time; the request may still take effect";
    StorageBusy = "storage_busy", 503 retry 1, "the store cannot take the change now";
    StorageUnavailable = "storage_unavailable", 503 retry 5, "the database does not answer";
    ServerStopping = "server_stopping", 503 retry 5, "this process is ending; another one takes over";
    InternalError = "internal_error", 500, "something is wrong with the server";
}

impl Code {
    /// The code of a given stable name.
    #[must_use]
    pub fn by_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|code| code.as_str() == name)
    }
}

type Source = Box<dyn std::error::Error + Send + Sync>;

/// A failed request: what its client sees, and for the log what stands behind it.
#[derive(Debug)]
pub struct Failure(Box<Inner>);

#[derive(Debug)]
struct Inner {
    code: Code,
    detail: Option<String>,
    pointer: Option<String>,
    allow: Option<HeaderValue>,
    current: Option<CurrentOrder>,
    source: Option<Source>,
    retry_after: RetryAfter,
}

impl Failure {
    /// A failure of the given kind.
    #[must_use]
    pub fn new(code: Code) -> Self {
        let retry_after = code.retry_after();
        Self(Box::new(Inner {
            code,
            detail: None,
            pointer: None,
            allow: None,
            current: None,
            source: None,
            retry_after,
        }))
    }

    /// A field of the body with an unacceptable value.
    #[must_use]
    pub fn field(pointer: impl Into<String>, detail: impl Into<String>) -> Self {
        Self::new(Code::InvalidField).at(pointer).because(detail)
    }

    /// A query parameter that is not acceptable.
    #[must_use]
    pub fn query(detail: impl Into<String>) -> Self {
        Self::new(Code::BadQuery).because(detail)
    }

    /// A fault of this program or of what it stores; the source is logged and never shown.
    #[must_use]
    pub fn internal(source: impl Into<Source>) -> Self {
        Self::new(Code::InternalError).caused_by(source)
    }

    /// Names the field at fault by its JSON pointer.
    #[must_use]
    pub fn at(mut self, pointer: impl Into<String>) -> Self {
        self.0.pointer = Some(pointer.into());
        self
    }

    /// Says what was wrong this time. The client reads it: it must hold nobody's data but the client's own.
    #[must_use]
    pub fn because(mut self, detail: impl Into<String>) -> Self {
        self.0.detail = Some(detail.into());
        self
    }

    /// Keeps an error for the log.
    #[must_use]
    pub fn caused_by(mut self, source: impl Into<Source>) -> Self {
        self.0.source = Some(source.into());
        self
    }

    /// The methods that a path takes, for `method_not_allowed`.
    #[must_use]
    pub fn allowing(mut self, methods: Option<HeaderValue>) -> Self {
        self.0.allow = methods;
        self
    }

    /// Says when the client may try again, where it is not what the code says: whole seconds.
    #[must_use]
    pub fn retry_after(mut self, seconds: u32) -> Self {
        self.0.retry_after = Some(seconds);
        self
    }

    /// Says where the order stands now.
    #[must_use]
    pub fn current(mut self, status: OrderStatus, version: i32) -> Self {
        self.0.current = Some(CurrentOrder { status: status.to_string(), version });
        self
    }

    /// The code.
    #[must_use]
    pub fn code(&self) -> Code {
        self.0.code
    }

    /// What stands behind it, from the outermost error to the innermost, for the log.
    #[must_use]
    pub fn chain(&self) -> String {
        let mut text = String::new();
        let mut next: Option<&(dyn std::error::Error + 'static)> = self.0.source.as_deref().map(|e| e as _);
        while let Some(error) = next {
            if !text.is_empty() {
                text.push_str(": ");
            }
            text.push_str(&error.to_string());
            next = error.source();
        }
        text
    }

    /// What the client sees.
    #[must_use]
    pub fn problem(&self) -> Problem {
        let Inner { code, detail, pointer, current, .. } = &*self.0;
        Problem {
            kind: format!("urn:dispatch:problem:{}", code.as_str()),
            title: code.title().to_owned(),
            status: code.status(),
            code: code.as_str().to_owned(),
            detail: detail.clone(),
            pointer: pointer.clone(),
            current: current.clone(),
        }
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.0.code.as_str())
    }
}

impl ResponseError for Failure {
    fn status_code(&self) -> StatusCode {
        StatusCode::from_u16(self.0.code.status()).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR)
    }

    fn error_response(&self) -> HttpResponse {
        let mut response = HttpResponse::build(self.status_code());
        if self.0.code.status() == 401 {
            response.insert_header((header::WWW_AUTHENTICATE, "Bearer realm=\"dispatch\""));
        }
        if self.0.code == Code::WebsocketExpected {
            response.insert_header((header::UPGRADE, "websocket"));
        }
        if let Some(seconds) = self.0.retry_after {
            response.insert_header((header::RETRY_AFTER, seconds));
        }
        if let Some(methods) = &self.0.allow {
            response.insert_header((header::ALLOW, methods.clone()));
        }
        // Never compressed: to a request that asks for an upgrade actix-http writes a body of unknown length unframed,
        // under a header that announces chunks, and the client cannot read it.
        response.insert_header((header::CONTENT_ENCODING, "identity"));
        response.insert_header((header::CONTENT_TYPE, "application/problem+json")).json(self.problem())
    }
}

impl From<StoreError> for Failure {
    fn from(error: StoreError) -> Self {
        let code = if error.is_transient() { Code::StorageUnavailable } else { Code::InternalError };
        Self::new(code).caused_by(error)
    }
}

impl From<CityCallError> for Failure {
    fn from(error: CityCallError) -> Self {
        match error {
            CityCallError::Unknown => Self::new(Code::UnknownCity),
            CityCallError::Gone => Self::new(Code::CityUnavailable),
            CityCallError::Full => Self::new(Code::CityBusy),
            CityCallError::Deadline => Self::new(Code::CityDeadline),
            CityCallError::Refused(refusal) => refusal.into(),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let Some(code) = Code::by_name(refusal.code()) else {
            // A refusal that only a rider's socket can meet.
            return Self::internal(refusal);
        };
        let text = refusal.to_string();
        match refusal {
            // What the database said of a statement is for the log only.
            Refusal::Invalid(why) => Self::new(code).caused_by(why),
            Refusal::OutsideCity(place) => Self::new(code).at(format!("/{place}")).because(text),
            Refusal::Moved { status, version }
            | Refusal::Operator(OperatorRefusal::WrongStatus { status, version, .. }) => {
                Self::new(code).because(text).current(status, version)
            }
            _ => Self::new(code).because(text),
        }
    }
}

impl From<PositionError> for Failure {
    fn from(error: PositionError) -> Self {
        Self::new(match error {
            PositionError::OutOfWorld => Code::OutOfWorld,
            PositionError::NullIsland => Code::NullIsland,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_statuses_real() {
        for (index, code) in Code::ALL.iter().enumerate() {
            assert_eq!(Code::by_name(code.as_str()), Some(*code), "{index}");
            assert!(StatusCode::from_u16(code.status()).is_ok_and(|s| s.is_client_error() || s.is_server_error()));
        }
    }

    #[test]
    fn nothing_of_the_database_reaches_a_client() {
        let secret = "SELECT secret FROM riders";
        let refused = StoreError::Refused(sqlx::Error::Protocol(secret.into()));
        for failure in [Failure::from(refused), Refusal::Invalid(secret.into()).into()] {
            assert!(!serde_json::to_string(&failure.problem()).unwrap().contains("secret"));
            assert!(failure.chain().contains(secret));
        }
    }

    #[test]
    fn refusals_over_rest_keep_their_code() {
        for refusal in [
            Refusal::UnknownOrder,
            Refusal::OrderBusy,
            Refusal::OutsideCity("drop"),
            Refusal::CityPaused,
            Refusal::CityFull("waiting orders"),
            Refusal::PickedUp,
            Refusal::Conflict,
            Refusal::Fenced,
            Refusal::StorageBusy,
            Refusal::StorageUnavailable,
            Refusal::KeyReused,
            Refusal::Invalid("x".into()),
            Refusal::Moved { status: OrderStatus::Assigned, version: 4 },
        ] {
            assert_eq!(Failure::from(refusal.clone()).code().as_str(), refusal.code());
        }
        assert_eq!(Failure::from(Refusal::Superseded).code(), Code::InternalError);
        assert!(OperatorRefusal::CODES.iter().all(|code| Code::by_name(code).is_some()));
    }

    /// The rows of `docs/ERRORS.md` below a heading, cell by cell.
    fn table(heading: &str) -> Vec<Vec<&'static str>> {
        let text = include_str!("../../docs/ERRORS.md").split_once(heading).unwrap().1;
        // Up to the next heading of any level.
        let text = text.split("\n##").next().unwrap();
        let rows = text.lines().filter(|line| line.starts_with("| `"));
        rows.map(|row| row.trim_matches('|').split('|').map(|cell| cell.trim().trim_matches('`')).collect()).collect()
    }

    #[test]
    fn the_documentation_lists_every_rest_code_and_no_other() {
        let documented = table("\n## REST\n");
        let codes: Vec<Vec<String>> = Code::ALL
            .iter()
            .map(|code| {
                let after = code.retry_after().map(|s| s.to_string()).unwrap_or_default();
                vec![code.as_str().to_owned(), code.status().to_string(), after, code.title().to_owned()]
            })
            .collect();
        assert_eq!(documented, codes);
    }

    #[test]
    fn the_documentation_lists_every_refusal() {
        let source = include_str!("../engine/refusal.rs").split_once("pub const fn code").unwrap().1;
        let codes: Vec<&str> =
            source.lines().filter_map(|line| line.split_once("=> \"")?.1.split('"').next()).collect();
        assert!(codes.len() > 15);
        let codes = codes.into_iter().chain(OperatorRefusal::CODES);
        let documented = table("\n### What a city refuses\n");
        for code in codes {
            assert!(documented.iter().any(|row| row[0] == code), "{code} is not documented");
        }
    }

    #[test]
    fn the_documentation_lists_every_word_of_the_sockets_and_no_other() {
        use crate::wire::codes;
        for (heading, words) in [
            ("Rider socket: errors", codes::frame::ALL),
            ("Rider socket: bye", codes::rider_bye::ALL),
            ("Rider socket: refused points", codes::ping::ALL),
            ("Operator socket: bye", codes::operator_bye::ALL),
            ("Operator socket: alerts", codes::alert::ALL),
        ] {
            let documented: Vec<&str> = table(&format!("\n### {heading}\n")).iter().map(|row| row[0]).collect();
            assert_eq!(documented, words, "{heading}");
        }
        for error in [PositionError::OutOfWorld, PositionError::NullIsland] {
            assert!(codes::frame::ALL.contains(&error.code()) && codes::ping::ALL.contains(&error.code()));
        }
    }
}

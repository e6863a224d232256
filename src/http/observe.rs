//! Around every request: its id, its line in the log, its figures; and the one place where a failure is counted and
//! logged. No body, no query and no token is ever logged.

use actix_web::{
    Error,
    body::{EitherBody, MessageBody},
    dev::{ServiceRequest, ServiceResponse},
    http::{
        Method, StatusCode,
        header::{HeaderName, HeaderValue},
    },
    middleware::Next,
    web,
};
use prometheus::{HistogramVec, IntCounterVec};
use tokio::time::Instant;
use tracing::Instrument;
use uuid::Uuid;

use super::{
    Deps,
    problem::{Code, Failure},
};
use crate::metrics::Metrics;

const REQUEST_ID: HeaderName = HeaderName::from_static("x-request-id");

/// The figures of the REST interface.
#[derive(Clone, Debug)]
pub struct Figures {
    requests: HistogramVec,
    problems: IntCounterVec,
}

impl Figures {
    /// Registers them; once per process.
    #[must_use]
    pub fn new(metrics: &Metrics) -> Self {
        Self {
            requests: metrics.seconds_by(
                "dispatch_http_request_seconds",
                "Requests by method, route and class of status: their number and how long they took",
                &["method", "route", "status"],
            ),
            problems: metrics.counters("dispatch_http_problems_total", "Failed requests by code", &["code"]),
        }
    }
}

/// The middleware.
///
/// # Errors
/// Never by itself: a failure of a handler is a response already.
pub async fn observe<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, Error> {
    let started = Instant::now();
    let figures = request.app_data::<web::Data<Deps>>().map(|deps| deps.figures.clone());
    let id = request_id(&request);
    let method = request.method().clone();
    let span = tracing::info_span!("request", id = id.to_str().unwrap_or_default(), %method, path = request.path());
    let response = next.call(request).instrument(span.clone()).await?;
    let _entered = span.enter();

    let mut response = match response.response().error().filter(|error| error.as_error::<Failure>().is_none()) {
        // An error that is not ours (a failed handshake, say) gets our form.
        Some(error) => {
            let failure = foreign(error, response.status());
            response.error_response(failure).map_into_right_body()
        }
        None => response.map_into_left_body(),
    };

    let route = response.request().match_pattern().unwrap_or_else(|| "none".to_owned());
    let elapsed = started.elapsed();
    let status = response.status();
    if let Some(figures) = figures {
        let class = ["1xx", "2xx", "3xx", "4xx", "5xx"].get(usize::from(status.as_u16() / 100).wrapping_sub(1));
        figures
            .requests
            .with_label_values(&[known(&method), route.as_str(), class.copied().unwrap_or("other")])
            .observe(elapsed.as_secs_f64());
        if let Some(failure) = response.response().error().and_then(|error| error.as_error::<Failure>()) {
            figures.problems.with_label_values(&[failure.code().as_str()]).inc();
        }
    }
    log(&response, elapsed.as_millis());
    response.headers_mut().insert(REQUEST_ID, id);
    Ok(response)
}

fn log<B>(response: &ServiceResponse<B>, took_ms: u128) {
    let status = response.status().as_u16();
    match response.response().error().and_then(|error| error.as_error::<Failure>()) {
        // Try again later: a city is paused, full or starting, or the database is away.
        Some(failure) if status == 503 => {
            tracing::warn!(status, took_ms, code = failure.code().as_str(), cause = failure.chain(), "request put off");
        }
        Some(failure) if status >= 500 => {
            tracing::error!(status, took_ms, code = failure.code().as_str(), cause = failure.chain(), "request failed");
        }
        Some(failure) => {
            tracing::debug!(
                status,
                took_ms,
                code = failure.code().as_str(),
                cause = failure.chain(),
                "request refused"
            );
        }
        None => tracing::debug!(status, took_ms, "request served"),
    }
}

/// The status is that of the response: the status of an error itself may differ from what it answers.
fn foreign(error: &Error, status: StatusCode) -> Failure {
    if status.is_client_error() {
        Failure::new(Code::BadRequest).because(error.to_string())
    } else {
        Failure::internal(error.to_string())
    }
}

/// The client's own id when it has a harmless form, else a new one.
fn request_id(request: &ServiceRequest) -> HeaderValue {
    let given = request.headers().get(&REQUEST_ID).filter(|value| {
        let bytes = value.as_bytes();
        (1..=64).contains(&bytes.len()) && bytes.iter().all(|b| b.is_ascii_alphanumeric() || b"-_.".contains(b))
    });
    match given {
        Some(value) => value.clone(),
        None => {
            let mut text = Uuid::encode_buffer();
            let text = Uuid::new_v4().as_hyphenated().encode_lower(&mut text);
            HeaderValue::from_str(text).unwrap_or(HeaderValue::from_static("none"))
        }
    }
}

impl Figures {
    /// Counts and logs what failed within a request that was answered all the same.
    pub fn part_failed(&self, failure: &Failure) {
        let code = failure.code().as_str();
        self.problems.with_label_values(&[code]).inc();
        match failure.code().status() {
            500.. => tracing::warn!(code, cause = failure.chain(), "a part of a request failed"),
            _ => tracing::debug!(code, cause = failure.chain(), "a part of a request was refused"),
        }
    }
}

/// A label from a fixed set: a client must not be able to grow the metrics by inventing methods.
fn known(method: &Method) -> &'static str {
    match *method {
        Method::GET => "GET",
        Method::POST => "POST",
        Method::PUT => "PUT",
        Method::PATCH => "PATCH",
        Method::DELETE => "DELETE",
        Method::HEAD => "HEAD",
        Method::OPTIONS => "OPTIONS",
        _ => "other",
    }
}

//! What watches this process reads: liveness, readiness, metrics; and the clock.

use std::{collections::BTreeMap, time::Duration};

use actix_web::{HttpResponse, get, http::header::CONTENT_TYPE, web};
use chrono::{DateTime, Utc};
use serde::Serialize;
use utoipa::ToSchema;

use super::{
    Deps,
    auth::Caller,
    problem::{Code, Failure},
};
use crate::{
    actors::router::Slot,
    cache::Cache,
    domain::access::Principal,
    store,
    wire::{problem::Problem, rest::ClockBody},
};

/// Whether this process can do its work.
#[derive(Debug, Serialize, ToSchema)]
pub struct Readiness {
    /// Whether requests should be sent here.
    pub ready: bool,
    /// `up` or `down`.
    pub database: &'static str,
    /// `up`, `down` or `in_process`. Nothing waits for it, so it does not count.
    pub cache: &'static str,
    /// Each known city: `running`, or why it does not run. A city that is `starting` makes this process not ready, and so
    /// do cities that other processes hold when none runs here: a standby is no place for requests. One city that is
    /// kept down must not take its neighbours out of service.
    pub cities: BTreeMap<String, &'static str>,
    /// The cities that are `held` by other processes.
    pub held: BTreeMap<String, HeldCity>,
}

/// A city that another process holds.
#[derive(Debug, Serialize, ToSchema)]
pub struct HeldCity {
    /// The instance that holds it.
    pub by: String,
    /// Until when, unless it renews its lease; real time.
    pub until: DateTime<Utc>,
}

/// What time it is here, and how fast it passes.
#[utoipa::path(tag = "meta", security(()), responses((status = 200, description = "the server's clock", body = ClockBody)))]
#[get("/v1/clock")]
pub async fn get_clock(deps: web::Data<Deps>) -> web::Json<ClockBody> {
    web::Json(ClockBody { now: deps.clock.now().as_millis(), speed: deps.clock.speed() })
}

/// The process runs.
#[utoipa::path(tag = "meta", security(()), responses((status = 200, description = "alive", body = String, content_type = "text/plain")))]
#[get("/health/live")]
pub async fn get_live() -> &'static str {
    "alive\n"
}

/// The process can do its work: the database answers, and no city is still starting.
#[utoipa::path(
    tag = "meta",
    security(()),
    responses(
        (status = 200, description = "ready", body = Readiness),
        (status = 503, description = "not ready", body = Readiness),
    )
)]
#[get("/health/ready")]
pub async fn get_ready(deps: web::Data<Deps>) -> HttpResponse {
    let deadline = Duration::from_millis(deps.options.ready_deadline_ms);
    let (database, cache) = tokio::join!(
        tokio::time::timeout(deadline, store::ping(&deps.db)),
        tokio::time::timeout(deadline, deps.cache.ping())
    );
    let database = matches!(database, Ok(Ok(())));
    let cache = match (&deps.cache, cache) {
        (Cache::InProcess(_), _) => "in_process",
        (Cache::Redis(_), Ok(Ok(()))) => "up",
        (Cache::Redis(_), _) => "down",
    };
    let mut held = BTreeMap::new();
    let cities: BTreeMap<String, &'static str> = deps
        .router
        .cities()
        .into_iter()
        .map(|(code, slot)| {
            let state = match slot {
                Slot::Running(handle) if handle.is_running() => "running",
                Slot::Running(_) => "stopped",
                Slot::Down(why) => why,
                Slot::Held(lease) => {
                    held.insert(code.to_string(), HeldCity { by: lease.by.clone(), until: lease.until.to_datetime() });
                    "held"
                }
            };
            (code.to_string(), state)
        })
        .collect();
    let any = |wanted: &[&str]| cities.values().any(|state| wanted.contains(state));
    let ready = database && !any(&["starting"]) && (any(&["running"]) || !any(&["held", "fenced"]));
    let mut response = if ready { HttpResponse::Ok() } else { HttpResponse::ServiceUnavailable() };
    let database = if database { "up" } else { "down" };
    response.json(Readiness { ready, database, cache, cities, held })
}

/// Every figure, in the text format of Prometheus. Unless the server is configured otherwise it takes no token; else
/// that of an operator or admin.
#[utoipa::path(
    tag = "meta",
    security((), ("bearer" = [])),
    responses(
        (status = 200, description = "the figures", body = String, content_type = "text/plain"),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[get("/metrics")]
pub async fn get_metrics(deps: web::Data<Deps>, caller: Result<Caller, Failure>) -> Result<HttpResponse, Failure> {
    if !deps.options.open_metrics {
        match caller?.0 {
            Principal::Admin { .. } | Principal::Operator { .. } => {}
            Principal::Rider(_) | Principal::Merchant(_) => return Err(Failure::new(Code::WrongRole)),
        }
    }
    let text = deps.metrics.render().map_err(Failure::internal)?;
    Ok(HttpResponse::Ok().insert_header((CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")).body(text))
}

//! Cities: their area, calendar and policies, and the live state of one.

use actix_web::{HttpResponse, get, http::header::LOCATION, post, web};

use super::{
    Deps,
    auth::{Caller, may_operate, only_admin},
    body::{self, Body},
    check,
    convert::city_body,
    problem::{Code, Failure},
};
use crate::{
    actors::operator_session::city_state,
    domain::{
        access::Principal,
        city::{Boundary, City, CityStatus},
        ids::CityCode,
        money::Currency,
        policy::DispatchPolicy,
    },
    store::{self, cities::PayPolicy},
    wire::{
        operator::CityState,
        problem::Problem,
        rest::{CityBody, NewCity},
    },
};

const DEFAULT_BASE_MINOR: i64 = 3_000;
const DEFAULT_PER_KM_MINOR: i64 = 800;
/// More than any delivery pays in any currency.
const MAX_PAY_MINOR: i64 = 1_000_000_000;

/// Adds a city, or changes one; a policy that differs from the one in force becomes its next version. May be sent again.
#[utoipa::path(
    tag = "cities",
    request_body = NewCity,
    responses(
        (status = 201, description = "added", body = CityBody),
        (status = 200, description = "changed", body = CityBody),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[post("/v1/cities")]
pub async fn put_city(deps: web::Data<Deps>, caller: Caller, body: Body<NewCity>) -> Result<HttpResponse, Failure> {
    only_admin(&caller.0)?;
    let author = caller.0.actor().id.unwrap_or_default();
    let (city, pay) = read(&body.0)?;
    let (city, created) = store::cities::upsert(&deps.db, &city, pay, &author, deps.clock.now()).await?;
    deps.reads.warn_of(&city);
    let body = city_body(&city)?;
    (deps.apply_city)(city)
        .await
        .map_err(|error| Failure::new(Code::CityUnavailable).because("stored, but not started").caused_by(error))?;
    let mut response = if created { HttpResponse::Created() } else { HttpResponse::Ok() };
    Ok(response.insert_header((LOCATION, format!("/v1/cities/{}", body.code))).json(body))
}

/// The cities that the caller may know of: an operator's own ones, all of them for merchants and administrators.
#[utoipa::path(
    tag = "cities",
    responses(
        (status = 200, description = "the cities", body = Vec<CityBody>),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[get("/v1/cities")]
pub async fn list_cities(deps: web::Data<Deps>, caller: Caller) -> Result<web::Json<Vec<CityBody>>, Failure> {
    if matches!(caller.0, Principal::Rider(_)) {
        return Err(Failure::new(Code::WrongRole));
    }
    let cities = store::cities::list(&deps.db).await?;
    let visible = cities.iter().filter(|city| may_see(&caller.0, &city.code).is_ok());
    Ok(web::Json(visible.map(city_body).collect::<Result<_, _>>()?))
}

/// One city.
#[utoipa::path(
    tag = "cities",
    params(("code" = String, Path, description = "the city's code")),
    responses(
        (status = 200, description = "the city", body = CityBody),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[get("/v1/cities/{code}")]
pub async fn get_city(
    deps: web::Data<Deps>,
    caller: Caller,
    code: web::Path<String>,
) -> Result<web::Json<CityBody>, Failure> {
    let code = check::city(&code)?;
    may_see(&caller.0, &code)?;
    let city = store::cities::get(&deps.db, &code).await?.ok_or_else(|| Failure::new(Code::UnknownCity))?;
    Ok(web::Json(city_body(&city)?))
}

/// Everything that is live in a city now: the queue, the orders in hand, the riders (operator of the city, or admin).
#[utoipa::path(
    tag = "cities",
    params(("code" = String, Path, description = "the city's code")),
    responses(
        (status = 200, description = "the city's live state", body = CityState),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[get("/v1/cities/{code}/snapshot")]
pub async fn get_snapshot(
    deps: web::Data<Deps>,
    caller: Caller,
    code: web::Path<String>,
) -> Result<web::Json<CityState>, Failure> {
    let code = check::city(&code)?;
    may_operate(&caller.0, &code)?;
    let snapshot = deps.router.city(&code)?.snapshot(deps.options.ask()).await?;
    Ok(web::Json(city_state(&snapshot, deps.clock.speed())))
}

fn may_see(caller: &Principal, code: &CityCode) -> Result<(), Failure> {
    match caller {
        Principal::Merchant(_) => Ok(()),
        _ => may_operate(caller, code),
    }
}

fn read(given: &NewCity) -> Result<(City, PayPolicy), Failure> {
    let bad = |pointer: &str, why: &dyn std::fmt::Display| Failure::field(pointer, why.to_string());
    let corners = given
        .boundary
        .iter()
        .enumerate()
        .map(|(index, corner)| check::position(&format!("/boundary/{index}"), *corner))
        .collect::<Result<Vec<_>, _>>()?;
    if given.time_zone.parse::<chrono_tz::Tz>().is_err() {
        return Err(bad("/time_zone", &"must be an IANA time zone, as in Asia/Kolkata"));
    }
    let policy: DispatchPolicy = match &given.policy {
        serde_json::Value::Null => DispatchPolicy::default(),
        policy => body::part("/policy", policy)?,
    };
    policy.validate().map_err(|e| bad(&format!("/policy/{}", e.field.replace('.', "/")), &e.problem))?;
    let status = given.status.as_deref().map_or(Ok(CityStatus::Live), CityStatus::parse);
    let pay = |pointer, given, default| check::number(pointer, given, default, 0, MAX_PAY_MINOR);
    let city = City {
        code: CityCode::parse(&given.code).map_err(|e| bad("/code", &e))?,
        name: check::text("/name", &given.name, check::MAX_TEXT)?,
        status: status.map_err(|e| bad("/status", &e))?,
        boundary: Boundary::new(&corners).map_err(|e| bad("/boundary", &e))?,
        time_zone: given.time_zone.clone(),
        day_cutover_min: check::number("/day_cutover_min", Some(given.day_cutover_min), 0, 0, 1_439)?,
        currency: Currency::parse(&given.currency).map_err(|e| bad("/currency", &e))?,
        policy,
        // The store counts the versions.
        policy_version: 0,
    };
    let pay = PayPolicy {
        base_minor: pay("/pay_base_minor", given.pay_base_minor, DEFAULT_BASE_MINOR)?,
        per_km_minor: pay("/pay_per_km_minor", given.pay_per_km_minor, DEFAULT_PER_KM_MINOR)?,
    };
    Ok((city, pay))
}

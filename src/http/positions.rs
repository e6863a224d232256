//! Where riders are now: one of them, or those around a place. The city that owns them says so; Redis is never asked.

use std::time::Duration;

use actix_web::{HttpResponse, get, http::header, web};
use serde::{Deserialize, Serialize};
use utoipa::{
    IntoParams,
    openapi::schema::{Object, Type},
};
use uuid::Uuid;

use super::{
    Deps,
    auth::{Caller, may_operate},
    check,
    problem::{Code, Failure},
    reads::Read,
    riders, storage,
    tracks::own_cities,
};
use crate::{
    domain::{
        ids::{CityCode, RiderId},
        position::Position,
        rider::Vehicle,
        time::Timestamp,
    },
    engine::nearby::{NearbyQuery, NearbyRider, Spot, Whereabouts},
    store::{self, location_logs::flags, riders::StoredRider, tracks::StoredPoint},
    wire::{
        LatLon,
        positions::{LocationBody, NearbyBody, NearbyRiderBody},
        problem::Problem,
    },
};

/// Most riders around a place.
const MOST_RIDERS: u32 = 100;
/// Riders around a place when the client does not say.
const RIDERS: u32 = 10;
/// Widest circle, metres.
const MOST_RADIUS_M: f64 = 50_000.0;
/// How far the clocks of two processes may be apart.
const SKEW: Duration = Duration::from_secs(60);

/// Around which place.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct NearbyParams {
    /// Degrees north.
    #[param(minimum = -90, maximum = 90)]
    pub lat: f64,
    /// Degrees east.
    #[param(minimum = -180, maximum = 180)]
    pub lon: f64,
    /// Riders at most, 1 to 100; 10 when absent.
    #[param(minimum = 1, maximum = 100)]
    pub limit: Option<u32>,
    /// The smallest vehicle that will do, as for an order: `walking`, `bicycle`, `motorcycle` or `car`.
    #[param(schema_with = vehicles)]
    pub vehicle: Option<String>,
    /// Straight-line metres, above 0 to 50,000; as far as the city's policy asks riders when absent.
    #[param(exclusive_minimum = 0, maximum = 50_000)]
    pub radius_m: Option<f64>,
}

/// Where a rider is, or was last (the rider, operators of the rider's city, admin). A rider who is off duty and has nothing in
/// hand has no live position.
#[utoipa::path(
    tag = "positions",
    params(("id" = Uuid, Path, description = "the rider")),
    responses(
        (status = 200, description = "the position", body = LocationBody),
        (status = 429, description = "`rate_limited`", body = Problem, content_type = "application/problem+json",
         headers(("Retry-After" = u32, description = "seconds after which the caller may read again"))),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[get("/v1/riders/{id}/location")]
pub async fn get_location(deps: web::Data<Deps>, caller: Caller, id: web::Path<Uuid>) -> Result<HttpResponse, Failure> {
    let id = RiderId(*id);
    riders::may_ask(&caller.0, id)?;
    deps.reads.count(&caller.0, Read::Live)?;
    let rider = riders::visible(&deps, &caller.0, id).await?;
    let city = CityCode::parse(&rider.city).map_err(Failure::internal)?;
    let live = match deps.router.city(&city) {
        Ok(city) => city.whereabouts(deps.options.ask(), id).await,
        Err(down) => Err(down),
    };
    let (live, problem) = match live {
        Ok(live) => (live, None),
        // What is stored is true without the city.
        Err(error) => (None, Some(Failure::from(error).code())),
    };
    let now = deps.clock.now();
    if let Some((live, spot)) = live.as_ref().and_then(|live| Some((live, live.spot?))) {
        return Ok(uncached(&live_body(&rider, live, spot, now)));
    }
    let seen = (now - Duration::from_secs(deps.reads.options().last_seen_s.into()), now + SKEW);
    let cities = own_cities(&caller.0);
    let last = {
        let _turn = deps.reads.turn(&deps).await?;
        storage::read(&deps, store::tracks::last(&deps.db, id, seen, cities.as_deref())).await?
    };
    let last = last.ok_or_else(|| Failure::new(Code::LocationUnknown))?;
    Ok(uncached(&LocationBody {
        live_problem: problem.map(|code| code.as_str().to_owned()),
        ..stored_body(&rider, live.as_ref(), &last, now)
    }))
}

/// The riders around a place who may be offered work now, nearest first (operator of the city, or admin). They are on duty and
/// connected, have a fresh fix and no open offer, and have no order in hand or will soon be done with what they have.
#[utoipa::path(
    tag = "positions",
    params(("code" = String, Path, description = "the city's code"), NearbyParams),
    responses(
        (status = 200, description = "the riders", body = NearbyBody),
        (status = 429, description = "`rate_limited`", body = Problem, content_type = "application/problem+json",
         headers(("Retry-After" = u32, description = "seconds after which the caller may read again"))),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[get("/v1/cities/{code}/riders/nearby")]
pub async fn get_nearby(
    deps: web::Data<Deps>,
    caller: Caller,
    code: web::Path<String>,
    params: web::Query<NearbyParams>,
) -> Result<HttpResponse, Failure> {
    let code = check::city(&code)?;
    may_operate(&caller.0, &code)?;
    let query = read(&params)?;
    deps.reads.count(&caller.0, Read::Live)?;
    let riders = deps.router.city(&code)?.nearby(deps.options.ask(), query).await?;
    let now = deps.clock.now();
    let riders = riders.into_iter().map(|rider| rider_body(&rider, now)).collect();
    Ok(uncached(&NearbyBody { city: code.to_string(), at: now.into(), riders }))
}

/// The names of the vehicles, for the OpenAPI document.
fn vehicles() -> Object {
    let names = Vehicle::ALL.iter().map(|vehicle| vehicle.as_str());
    Object::builder().schema_type(Type::String).enum_values(Some(names)).build()
}

fn read(params: &NearbyParams) -> Result<NearbyQuery, Failure> {
    let limit = params.limit.unwrap_or(RIDERS);
    if !(1..=MOST_RIDERS).contains(&limit) {
        return Err(Failure::query(format!("limit must lie in 1..={MOST_RIDERS}")));
    }
    // A NaN lies in no range.
    if params.radius_m.is_some_and(|metres| !(metres > 0.0 && metres <= MOST_RADIUS_M)) {
        return Err(Failure::query(format!("radius_m must lie above 0 and not above {MOST_RADIUS_M}")));
    }
    let vehicle = params.vehicle.as_deref().map(Vehicle::parse).transpose();
    Ok(NearbyQuery {
        around: Position::new(params.lat, params.lon)?,
        radius_m: params.radius_m,
        vehicle: vehicle.map_err(|error| Failure::query(error.to_string()))?,
        limit: usize::try_from(limit).unwrap_or(usize::MAX),
    })
}

/// Nobody on the way keeps where riders are.
fn uncached(body: &impl Serialize) -> HttpResponse {
    HttpResponse::Ok().insert_header((header::CACHE_CONTROL, "no-store")).json(body)
}

fn rider_body(rider: &NearbyRider, now: Timestamp) -> NearbyRiderBody {
    let free_in = rider.free_at.since(now);
    let is_busy = !free_in.is_zero() || rider.from != rider.spot.position;
    NearbyRiderBody {
        rider_id: rider.rider.0,
        vehicle: rider.vehicle.to_string(),
        // Decimetres: no fix is better.
        distance_m: (rider.distance_m * 10.0).round() / 10.0,
        lat: rider.spot.position.lat(),
        lon: rider.spot.position.lon(),
        recorded_at: rider.spot.recorded_at.into(),
        age_ms: millis(now.since(rider.spot.recorded_at)),
        free_in_ms: is_busy.then(|| millis(free_in)),
        free_at_place: is_busy.then(|| LatLon { lat: rider.from.lat(), lon: rider.from.lon() }),
    }
}

fn live_body(rider: &StoredRider, live: &Whereabouts, spot: Spot, now: Timestamp) -> LocationBody {
    LocationBody {
        rider_id: rider.id,
        city: rider.city.clone(),
        duty: live.duty.to_string(),
        source: "live".to_owned(),
        lat: spot.position.lat(),
        lon: spot.position.lon(),
        recorded_at: spot.recorded_at.into(),
        received_at: spot.received_at.into(),
        age_ms: millis(now.since(spot.recorded_at)),
        fresh: live.fresh,
        accuracy_m: None,
        state: Some(live.state.to_string()),
        connected: Some(live.connected),
        mock: false,
        live_problem: None,
    }
}

fn stored_body(rider: &StoredRider, live: Option<&Whereabouts>, point: &StoredPoint, now: Timestamp) -> LocationBody {
    LocationBody {
        rider_id: rider.id,
        city: rider.city.clone(),
        duty: live.map_or_else(|| rider.duty.clone(), |live| live.duty.to_string()),
        source: "stored".to_owned(),
        lat: point.lat,
        lon: point.lon,
        recorded_at: point.recorded_at,
        received_at: point.created_at,
        age_ms: millis(now.since(point.recorded_at.into())),
        fresh: false,
        accuracy_m: point.accuracy_m,
        state: live.map(|live| live.state.to_string()),
        connected: live.map(|live| live.connected),
        mock: point.flags & flags::MOCK != 0,
        live_problem: None,
    }
}

fn millis(span: Duration) -> u64 {
    u64::try_from(span.as_millis()).unwrap_or(u64::MAX)
}

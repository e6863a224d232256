//! Riders as the fleet knows them. Their live state is the city's.

use actix_web::{HttpResponse, get, http::header::LOCATION, post, web};
use serde::{Deserialize, Serialize};
use utoipa::{IntoParams, ToSchema};
use uuid::Uuid;

use super::{
    Deps,
    auth::{Caller, may_operate},
    body::Body,
    check,
    convert::rider_body,
    page,
    problem::{Code, Failure},
    storage,
};
use crate::{
    domain::{
        access::Principal,
        ids::{CityCode, RiderId},
        rider::{KycStatus, Vehicle},
    },
    store::{
        self,
        riders::{Inserted, StoredRider},
    },
    wire::{
        problem::Problem,
        rest::{NewRider, RiderBody},
    },
};

/// A page of riders, newest first.
#[derive(Debug, Serialize, ToSchema)]
pub struct RiderPage {
    /// The riders.
    pub riders: Vec<RiderBody>,
    /// Pass as `page` for the next page; absent on the last one.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// Which riders to list.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct RiderQuery {
    /// The city the riders work in.
    pub city: String,
    /// Entries per page, at most 200; 50 when absent.
    pub limit: Option<u32>,
    /// The `next` of the page before.
    pub page: Option<String>,
}

/// Adds a rider to a city's fleet (operator of the city, or admin).
#[utoipa::path(
    tag = "riders",
    request_body = NewRider,
    responses(
        (status = 201, description = "added", body = RiderBody),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[post("/v1/riders")]
pub async fn create_rider(
    deps: web::Data<Deps>,
    caller: Caller,
    body: Body<NewRider>,
) -> Result<HttpResponse, Failure> {
    let given = body.0;
    let city = check::city(&given.city).map_err(|failure| failure.at("/city"))?;
    may_operate(&caller.0, &city)?;
    let kyc = given.kyc_status.as_deref().map_or(Ok(KycStatus::Pending), KycStatus::parse);
    let kyc = kyc.map_err(|e| Failure::field("/kyc_status", e.to_string()))?;
    if kyc != KycStatus::Pending && !matches!(caller.0, Principal::Admin { .. }) {
        return Err(Failure::new(Code::WrongRole).at("/kyc_status").because("only an admin may settle documents"));
    }
    let capacity = check::number("/capacity_units", given.capacity_units, 10, 1, 1_000)?;
    let rider = store::riders::NewRider {
        id: RiderId(deps.clock.new_id()),
        name: check::text("/name", &given.name, check::MAX_TEXT)?,
        mobile: check::mobile("/mobile", &given.mobile)?,
        city,
        kyc,
        vehicle: Vehicle::parse(&given.vehicle).map_err(|e| Failure::field("/vehicle", e.to_string()))?,
        capacity_units: i32::try_from(capacity).map_err(Failure::internal)?,
        tags: check::tags("/tags", &given.tags)?,
    };
    match store::riders::insert(&deps.db, &rider, deps.clock.now()).await? {
        Inserted::Stored(rider) => {
            let location = format!("/v1/riders/{}", rider.id);
            Ok(HttpResponse::Created().insert_header((LOCATION, location)).json(rider_body(*rider)))
        }
        Inserted::MobileTaken => Err(Failure::new(Code::MobileTaken).at("/mobile")),
        Inserted::UnknownCity => Err(Failure::new(Code::UnknownCity).at("/city")),
    }
}

/// One rider (the rider, operators of the rider's city, admin).
#[utoipa::path(
    tag = "riders",
    params(("id" = Uuid, Path, description = "the rider")),
    responses(
        (status = 200, description = "the rider", body = RiderBody),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[get("/v1/riders/{id}")]
pub async fn get_rider(
    deps: web::Data<Deps>,
    caller: Caller,
    id: web::Path<Uuid>,
) -> Result<web::Json<RiderBody>, Failure> {
    let id = RiderId(*id);
    may_ask(&caller.0, id)?;
    Ok(web::Json(rider_body(visible(&deps, &caller.0, id).await?)))
}

/// Whether a caller may ask about a rider at all; what can be said without looking the rider up.
///
/// # Errors
/// `wrong_role` for merchants, `unknown_rider` for other riders.
pub fn may_ask(caller: &Principal, id: RiderId) -> Result<(), Failure> {
    match caller {
        Principal::Merchant(_) => Err(Failure::new(Code::WrongRole)),
        Principal::Rider(own) if *own != id => Err(Failure::new(Code::UnknownRider)),
        _ => Ok(()),
    }
}

/// The rider, for a caller who may ask and see; to everybody else there is no such rider.
///
/// # Errors
/// `unknown_rider`.
pub async fn visible(deps: &Deps, caller: &Principal, id: RiderId) -> Result<StoredRider, Failure> {
    let unknown = || Failure::new(Code::UnknownRider);
    let rider = storage::read(deps, store::riders::get(&deps.db, id)).await?.ok_or_else(unknown)?;
    // An operator of another city learns as little as of a rider who is not there.
    let visible = matches!(caller, Principal::Rider(_))
        || CityCode::parse(&rider.city).is_ok_and(|city| caller.may_operate(&city));
    if visible { Ok(rider) } else { Err(unknown()) }
}

/// The riders of a city, newest first (operator of the city, or admin).
#[utoipa::path(
    tag = "riders",
    params(RiderQuery),
    responses(
        (status = 200, description = "a page of riders", body = RiderPage),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[get("/v1/riders")]
pub async fn list_riders(
    deps: web::Data<Deps>,
    caller: Caller,
    query: web::Query<RiderQuery>,
) -> Result<web::Json<RiderPage>, Failure> {
    let city = check::city(&query.city)?;
    may_operate(&caller.0, &city)?;
    let filter = format!("riders {city}");
    let limit = page::size(&deps, query.limit)?;
    let before = query.page.as_deref().map_or(Ok(Uuid::max()), |token| deps.pages.after(&filter, token))?;
    let mut riders = store::riders::list(&deps.db, &city, before, i64::from(limit) + 1).await?;
    let next = page::cut(&mut riders, limit, |rider| rider.id).map(|last| deps.pages.token(&filter, last));
    Ok(web::Json(RiderPage { riders: riders.into_iter().map(rider_body).collect(), next }))
}

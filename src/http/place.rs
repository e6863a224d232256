//! Placing an order: the checks, the pay, the sealed contact, and the idempotency key that commits with it.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, http::header::LOCATION, post, web};
use chrono::{DateTime, Utc};
use serde_json::Value;

use super::{
    Deps,
    auth::{Caller, may_operate},
    body::Body,
    check,
    keyed::{Key, REPLAYED},
    problem::{Code, Failure},
    storage,
};
use crate::{
    domain::{
        access::Principal,
        ids::{CityCode, MerchantId, OrderId},
        order::OrderSpec,
        otp::{Otp, OtpDigest},
        position::Position,
        rider::Vehicle,
        time::Timestamp,
    },
    engine::command::{Command, Outcome, PlacementExtras, SealedContact},
    store::{
        self,
        cities::{PayPolicy, Terms},
    },
    wire::{
        problem::Problem,
        rest::{Contact, NewOrder, OrderReceipt},
    },
};

const MAX_REF: usize = 128;
const MAX_SIZE_UNITS: u32 = 1_000;
const MAX_CASH_MINOR: i64 = 1_000_000_000;
const PROMISE_AFTER_READY: Duration = Duration::from_secs(45 * 60);

/// Places an order (merchant for itself; operator of the city or admin with `merchant_id`). Answered once it is stored.
/// With an `Idempotency-Key` it may be sent again: the answer is the same, and `Idempotent-Replayed: true` says so.
#[utoipa::path(
    tag = "orders",
    params(("Idempotency-Key" = Option<String>, Header, description = "1 to 128 visible ASCII characters of the caller's choice")),
    request_body = NewOrder,
    responses(
        (status = 201, description = "stored", body = OrderReceipt),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[post("/v1/orders")]
pub async fn place_order(
    deps: web::Data<Deps>,
    caller: Caller,
    request: HttpRequest,
    body: Body<NewOrder>,
) -> Result<HttpResponse, Failure> {
    let given = body.0;
    let code = check::city(&given.city).map_err(|failure| failure.at("/city"))?;
    let merchant = whose(&caller.0, &code, &given)?;
    let key = Key::of(&request, &caller.0, None, &sealed(&deps, &given)?)?;
    if let Some(key) = &key
        && let Some(earlier) = key.answered(&deps).await?
    {
        return answer(earlier, true);
    }
    let actor = caller.0.actor();

    let city = deps.router.city(&code).map_err(|error| Failure::from(error).at("/city"))?;
    may_place(&deps, merchant).await?;
    let terms = storage::read(&deps, store::cities::terms(&deps.db, &code)).await?;
    let terms = terms.ok_or_else(|| Failure::new(Code::UnknownCity).at("/city"))?;
    let id = OrderId(deps.clock.new_id());
    let contact = given.contact.clone();
    let spec = spec(&deps, id, merchant, given, terms)?;
    let contact = contact.map(|contact| seal(&deps, &spec, &contact)).transpose()?;
    // The same answer now and for every repetition: where the order stands once its placement is stored.
    let receipt = OrderReceipt { id: id.0, status: spec.first_status().to_string(), version: 1 };
    let receipt = serde_json::to_value(receipt).map_err(Failure::internal)?;
    let idempotency = key.map(|key| key.record(&deps, receipt.clone()));
    let extras = Box::new(PlacementExtras { contact, idempotency });
    let spec = Box::new(spec);
    let keyed = extras.idempotency.is_some();
    let placed = city.ask(deps.options.ask(), move |reply| Command::Place { spec, extras, actor, reply }).await;
    match placed.map_err(|error| storage::failed(&deps, error, how_to_find_out(keyed)))? {
        Outcome::Replayed(earlier) => answer(earlier, true),
        Outcome::Order { .. } => answer(receipt, false),
        other => Err(Failure::internal(format!("a placement was answered with {other:?}"))),
    }
}

/// How the client of a placement without an answer learns whether it is stored.
const fn how_to_find_out(keyed: bool) -> &'static str {
    if keyed { "the same request with the same Idempotency-Key finds out" } else { "look among the orders for it" }
}

fn answer(receipt: Value, replayed: bool) -> Result<HttpResponse, Failure> {
    let mut response = HttpResponse::Created();
    if let Some(id) = receipt.get("id").and_then(Value::as_str) {
        response.insert_header((LOCATION, format!("/v1/orders/{id}")));
    }
    if replayed {
        response.insert_header((REPLAYED, "true"));
    }
    Ok(response.json(receipt))
}

fn whose(caller: &Principal, city: &CityCode, given: &NewOrder) -> Result<MerchantId, Failure> {
    let named = given.merchant_id.map(MerchantId);
    match caller {
        Principal::Merchant(own) if named.is_none_or(|named| named == *own) => Ok(*own),
        Principal::Merchant(_) => Err(Failure::new(Code::WrongRole).at("/merchant_id").because("not your own id")),
        Principal::Rider(_) => Err(Failure::new(Code::WrongRole)),
        Principal::Operator { .. } | Principal::Admin { .. } => {
            may_operate(caller, city)?;
            named.ok_or_else(|| Failure::new(Code::MissingField).at("/merchant_id"))
        }
    }
}

async fn may_place(deps: &Deps, merchant: MerchantId) -> Result<(), Failure> {
    match storage::read(deps, store::merchants::get(&deps.db, merchant)).await? {
        Some(merchant) if merchant.is_active() => Ok(()),
        Some(_) => Err(Failure::new(Code::MerchantSuspended)),
        None => Err(Failure::new(Code::UnknownMerchant)),
    }
}

/// The request as its key sees it: a one-time code counts by its keyed digest, so that nobody finds it by trying.
fn sealed(deps: &Deps, given: &NewOrder) -> Result<Value, Failure> {
    let mut value = serde_json::to_value(given).map_err(Failure::internal)?;
    if let (Some(code), Value::Object(members)) = (code(given)?, &mut value) {
        let OtpDigest(digest) = deps.sealer.code_digest(OrderId(uuid::Uuid::nil()), &code);
        members.insert("drop_otp".to_owned(), digest.to_vec().into());
    }
    Ok(value)
}

fn code(given: &NewOrder) -> Result<Option<Otp>, Failure> {
    let code = given.drop_otp.as_ref().map(|code| Otp::parse(&code.0)).transpose();
    code.map_err(|error| Failure::field("/drop_otp", error.to_string()))
}

fn seal(deps: &Deps, spec: &OrderSpec, contact: &Contact) -> Result<SealedContact, Failure> {
    let checked = Contact {
        name: check::text("/contact/name", &contact.name, check::MAX_TEXT)?,
        phone: check::text("/contact/phone", &contact.phone, 32)?,
        address: check::optional_text("/contact/address", contact.address.as_deref(), 500)?,
    };
    let text = serde_json::to_vec(&checked).map_err(Failure::internal)?;
    let expires_at = spec.promise_at + Duration::from_secs(u64::from(deps.options.contact_ttl_s));
    deps.sealer.seal(spec.id, &text, expires_at).map_err(Failure::internal)
}

fn spec(deps: &Deps, id: OrderId, merchant: MerchantId, given: NewOrder, terms: Terms) -> Result<OrderSpec, Failure> {
    let now = id.placed_at();
    let horizon = Duration::from_secs(u64::from(deps.options.horizon_s));
    let time = |pointer: &str, given: Option<DateTime<Utc>>, default: Timestamp| {
        let at = given.map_or(default, Timestamp::from);
        if at > now + horizon || at + horizon < now {
            return Err(Failure::field(pointer, format!("must lie within {} s of now", deps.options.horizon_s)));
        }
        Ok(at)
    };
    // Goods that have been ready for a while are ready now: nobody could have fetched them before.
    let ready_at = time("/ready_at", given.ready_at, now)?.max(now);
    // The default promise of an order that is ready at the horizon lies beyond it, and is fine.
    let promise_at = match given.promise_at {
        Some(_) => time("/promise_at", given.promise_at, now)?,
        None => ready_at + PROMISE_AFTER_READY,
    };
    // A promise that cannot be kept makes a late order, not a wrong one: on a real day a third of the orders are promised
    // before they are ready.
    let dispatch_at = given.dispatch_at.map(|at| time("/dispatch_at", Some(at), now)).transpose()?;
    if dispatch_at.is_some_and(|at| at >= promise_at) {
        return Err(Failure::field("/dispatch_at", "must lie before promise_at"));
    }
    let pickup = check::place("/pickup", &given.pickup)?;
    let drop = check::place("/drop", &given.drop)?;
    let otp_digest = code(&given)?.map(|code| deps.sealer.code_digest(id, &code));
    let vehicle_need = given.vehicle_need.as_deref().map(Vehicle::parse).transpose();
    Ok(OrderSpec {
        id,
        merchant,
        external_ref: check::optional_text("/external_ref", given.external_ref.as_deref(), MAX_REF)?,
        store: check::optional_text("/store", given.store.as_deref(), MAX_REF)?,
        payout_minor: payout(terms.pay, pickup.position, drop.position),
        pickup,
        drop,
        ready_at,
        promise_at,
        dispatch_at,
        size_units: check::number("/size_units", given.size_units, 1, 1, MAX_SIZE_UNITS)?,
        vehicle_need: vehicle_need.map_err(|e| Failure::field("/vehicle_need", e.to_string()))?,
        cash_to_collect_minor: check::number(
            "/cash_to_collect_minor",
            given.cash_to_collect_minor,
            0,
            0,
            MAX_CASH_MINOR,
        )?,
        pay_policy_version: terms.pay_version,
        currency: terms.currency,
        metadata: check::metadata("/metadata", given.metadata)?,
        placed_at: now,
        otp_digest,
        needs_tags: check::tags("/needs_tags", &given.needs_tags)?,
    })
}

/// The base and the straight-line kilometres, rounded to a whole minor unit.
fn payout(pay: PayPolicy, pickup: Position, drop: Position) -> i64 {
    let kilometres = pickup.distance_m(drop) / 1_000.0;
    #[expect(
        clippy::cast_possible_truncation,
        clippy::cast_precision_loss,
        reason = "a rate is at most 10^9 and half the earth's girth is 20,016 km: 2 * 10^13, exact in an f64"
    )]
    let way = (pay.per_km_minor as f64 * kilometres).round() as i64;
    pay.base_minor.saturating_add(way)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn pay_is_base_and_kilometres() {
        let pay = PayPolicy { base_minor: 3_000, per_km_minor: 800 };
        let at = |lat, lon| Position::new(lat, lon).unwrap();
        assert_eq!(payout(pay, at(12.9, 77.6), at(12.9, 77.6)), 3_000);
        // A hundredth of a degree of latitude is 1,111.95 m.
        assert_eq!(payout(pay, at(12.9, 77.6), at(12.91, 77.6)), 3_890);
    }
}

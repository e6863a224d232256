//! From stored rows and the domain to the bodies of the wire.

use serde_json::{Map, Value};

use super::problem::Failure;
use crate::{
    domain::{access::Principal, city::City},
    store::{
        merchants::Merchant,
        orders::{StoredEvent, StoredOrder},
        riders::StoredRider,
    },
    wire::{
        LatLon, MoneyBody, PlaceBody,
        rest::{CityBody, HoldBody, MerchantBody, OrderBody, OrderEventBody, RiderBody},
    },
};

/// A city with its policy.
pub fn city_body(city: &City) -> Result<CityBody, Failure> {
    Ok(CityBody {
        code: city.code.to_string(),
        name: city.name.clone(),
        status: city.status.to_string(),
        boundary: city.boundary.corners().map(|(lon, lat)| LatLon { lat, lon }).collect(),
        time_zone: city.time_zone.clone(),
        day_cutover_min: city.day_cutover_min,
        currency: city.currency.to_string(),
        policy_version: city.policy_version,
        policy: serde_json::to_value(&city.policy).map_err(Failure::internal)?,
    })
}

/// A merchant.
pub fn merchant_body(merchant: Merchant) -> MerchantBody {
    MerchantBody { id: merchant.id, name: merchant.name, status: merchant.status }
}

/// A rider.
pub fn rider_body(rider: StoredRider) -> RiderBody {
    RiderBody {
        id: rider.id,
        name: rider.name,
        mobile: rider.mobile,
        city: rider.city,
        status: rider.status,
        kyc_status: rider.kyc_status,
        vehicle: rider.vehicle,
        capacity_units: unsigned(rider.capacity_units),
        duty: rider.duty,
        duty_since: rider.duty_since,
        created_at: rider.created_at,
        tags: rider.tags,
    }
}

/// An order without its history and its contact. Who holds it, and why, is for operators.
pub fn order_body(order: StoredOrder, reader: &Principal) -> OrderBody {
    let operates = matches!(reader, Principal::Operator { .. } | Principal::Admin { .. });
    let hold = match (order.held_by, order.held_until, order.hold_reason) {
        (Some(by), Some(until), Some(reason)) if operates => Some(HoldBody { by, until, reason }),
        _ => None,
    };
    let money = |minor| MoneyBody { minor, currency: order.currency.clone() };
    OrderBody {
        cash_to_collect: money(order.cash_to_collect_minor),
        payout: money(order.payout_minor),
        id: order.id,
        city: order.city,
        merchant_id: order.merchant_id,
        external_ref: order.external_ref,
        store: order.store,
        status: order.status,
        version: order.version,
        rider_id: order.rider_id,
        custody: order.custody,
        pickup: PlaceBody { lat: order.pickup_lat, lon: order.pickup_lon, hint: order.pickup_hint },
        drop: PlaceBody { lat: order.drop_lat, lon: order.drop_lon, hint: order.drop_hint },
        ready_at: order.ready_at,
        promise_at: order.promise_at,
        dispatch_at: order.dispatch_at,
        due_at: order.due_at,
        assigned_at: order.assigned_at,
        picked_up_at: order.picked_up_at,
        delivered_at: order.delivered_at,
        ended_at: order.ended_at,
        end_reason: order.end_reason,
        size_units: unsigned(order.size_units),
        vehicle_need: order.vehicle_need,
        offers_tried: unsigned(order.offers_tried),
        metadata: object(order.metadata),
        created_at: order.created_at,
        updated_at: order.updated_at,
        priority: order.priority,
        hold,
        events: None,
        contact: None,
        needs_tags: order.needs_tags,
    }
}

/// One line of an order's history.
pub fn event_body(event: StoredEvent) -> OrderEventBody {
    OrderEventBody {
        seq: event.seq,
        version: event.version,
        kind: event.kind,
        actor_kind: event.actor_kind,
        actor_id: event.actor_id,
        reason: event.reason,
        data: event.data,
        at: event.created_at,
    }
}

/// The tables check that these numbers are not negative.
fn unsigned(number: i32) -> u32 {
    u32::try_from(number).unwrap_or_default()
}

/// The table checks that this is an object.
fn object(value: Value) -> Map<String, Value> {
    match value {
        Value::Object(map) => map,
        _ => Map::new(),
    }
}

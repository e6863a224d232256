//! Bodies of the REST interface, version 1.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use utoipa::ToSchema;
use uuid::Uuid;

use super::{LatLon, MoneyBody, PlaceBody};

/// `GET /v1/clock`: what time it is here, for clients that run with a scaled clock.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct ClockBody {
    /// Server time, milliseconds since 1970.
    pub now: i64,
    /// How fast it runs against real time; 1 in production.
    pub speed: f64,
}

/// `POST /v1/cities`: a new city, or a change of one (admin).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewCity {
    /// 2 to 32 of a-z, 0-9 and -.
    pub code: String,
    /// For people.
    pub name: String,
    /// `draft`, `live`, `paused` or `closing`; `live` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub status: Option<String>,
    /// Corners of the service area in order.
    pub boundary: Vec<LatLon>,
    /// IANA time zone.
    pub time_zone: String,
    /// Minutes after local midnight at which a business day begins.
    #[serde(default)]
    pub day_cutover_min: u16,
    /// ISO 4217 code.
    pub currency: String,
    /// The dispatch policy; missing fields take the defaults.
    #[serde(default)]
    pub policy: Value,
    /// Pay per delivery, minor units; 3,000 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pay_base_minor: Option<i64>,
    /// Pay per straight-line kilometre from pickup to drop, minor units; 800 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pay_per_km_minor: Option<i64>,
}

/// A city.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct CityBody {
    /// Its code.
    pub code: String,
    /// For people.
    pub name: String,
    /// `draft`, `live`, `paused` or `closing`.
    pub status: String,
    /// Corners of the service area, closed.
    pub boundary: Vec<LatLon>,
    /// IANA time zone.
    pub time_zone: String,
    /// Minutes after local midnight at which a business day begins.
    pub day_cutover_min: u16,
    /// ISO 4217 code.
    pub currency: String,
    /// The version of the policy in force.
    pub policy_version: u32,
    /// The policy in force.
    pub policy: Value,
}

/// `POST /v1/merchants` (admin).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewMerchant {
    /// For people, 1 to 200 characters.
    pub name: String,
}

/// A merchant.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct MerchantBody {
    /// Its id.
    pub id: Uuid,
    /// For people.
    pub name: String,
    /// `ACTIVE` or `SUSPENDED`.
    pub status: String,
}

/// `POST /v1/riders` (operator of the city, or admin).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewRider {
    /// For people, 1 to 200 characters.
    pub name: String,
    /// Mobile number in E.164 form; unique.
    pub mobile: String,
    /// The city the rider works in.
    pub city: String,
    /// `walking`, `bicycle`, `motorcycle` or `car`.
    pub vehicle: String,
    /// Size units that the bag or vehicle holds; 10 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub capacity_units: Option<u32>,
    /// `PENDING` when absent; an admin may create an approved rider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub kyc_status: Option<String>,
    /// What the rider brings along or may carry (`thermal_bag`, `cod`, `alcohol`): at most 8 words of 1 to 32 of a-z, 0-9
    /// and _.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub tags: Vec<String>,
}

/// A rider.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct RiderBody {
    /// Its id.
    pub id: Uuid,
    /// For people.
    pub name: String,
    /// Mobile number.
    pub mobile: String,
    /// The city the rider works in.
    pub city: String,
    /// `ACTIVE`, `SUSPENDED` or `LEFT`.
    pub status: String,
    /// `PENDING`, `APPROVED`, `REJECTED` or `EXPIRED`.
    pub kyc_status: String,
    /// How the rider moves.
    pub vehicle: String,
    /// Size units that the bag or vehicle holds.
    pub capacity_units: u32,
    /// `ON`, `BREAK`, `OFF` or `AUTO_OFF`, as last committed.
    pub duty: String,
    /// Since when.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duty_since: Option<DateTime<Utc>>,
    /// When the rider was created.
    pub created_at: DateTime<Utc>,
    /// What the rider brings along or may carry, in alphabetical order.
    #[serde(default)]
    pub tags: Vec<String>,
}

/// The recipient of an order: stored encrypted, shown to its rider while assigned.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct Contact {
    /// Name.
    pub name: String,
    /// Phone number.
    pub phone: String,
    /// Address as text.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub address: Option<String>,
}

impl std::fmt::Debug for Contact {
    /// Customer data never reaches a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Contact(..)")
    }
}

/// `POST /v1/orders` (merchant for itself; operator or admin with `merchant_id`).
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct NewOrder {
    /// The city.
    pub city: String,
    /// Whose order; a merchant may leave it out.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub merchant_id: Option<Uuid>,
    /// The merchant's name for it, unique per merchant, 1 to 128 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_ref: Option<String>,
    /// The merchant's own name for the store, at most 128 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// Where the goods are.
    pub pickup: PlaceBody,
    /// Where they go.
    pub drop: PlaceBody,
    /// When the goods are ready; now when absent. A time in the past, within the horizon, is taken as now.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ready_at: Option<DateTime<Utc>>,
    /// When the recipient was told to expect them; 45 minutes after `ready_at` when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub promise_at: Option<DateTime<Utc>>,
    /// Not to be dispatched before this time.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub dispatch_at: Option<DateTime<Utc>>,
    /// How much room the goods take; 1 when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub size_units: Option<u32>,
    /// The vehicle it takes, when not any.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub vehicle_need: Option<String>,
    /// Cash to collect at the drop, minor units.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cash_to_collect_minor: Option<i64>,
    /// The recipient.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<Contact>,
    /// Free data, an object of at most 16 KiB; never customer data.
    #[serde(default)]
    pub metadata: Map<String, Value>,
    /// A one-time code of 4 to 8 digits that the recipient gives to the rider: without it nothing is delivered.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub drop_otp: Option<DropOtp>,
    /// Tags that its rider must have, of the same form as a rider's.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub needs_tags: Vec<String>,
}

/// A one-time code; only its keyed digest is stored.
#[derive(Clone, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
pub struct DropOtp(pub String);

impl std::fmt::Debug for DropOtp {
    /// A code never reaches a log.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("DropOtp(..)")
    }
}

/// The answer to a placement or to a change: enough to follow the order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OrderReceipt {
    /// The order.
    pub id: Uuid,
    /// Where it stands.
    pub status: String,
    /// Its version.
    pub version: i32,
}

/// An order as stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OrderBody {
    /// Its id.
    pub id: Uuid,
    /// The city.
    pub city: String,
    /// Whose it is.
    pub merchant_id: Uuid,
    /// The merchant's name for it.
    pub external_ref: Option<String>,
    /// The merchant's own name for the store.
    pub store: Option<String>,
    /// Where it stands.
    pub status: String,
    /// Counts its transitions.
    pub version: i32,
    /// The rider who has or had it.
    pub rider_id: Option<Uuid>,
    /// Who holds the goods: `store`, `rider`, `handover`, `recipient` or `merchant`.
    pub custody: String,
    /// Where the goods are.
    pub pickup: PlaceBody,
    /// Where they go.
    pub drop: PlaceBody,
    /// When the goods are ready.
    pub ready_at: DateTime<Utc>,
    /// When the recipient expects them.
    pub promise_at: DateTime<Utc>,
    /// Not to be dispatched before.
    pub dispatch_at: Option<DateTime<Utc>>,
    /// When a rider first had to leave for it.
    pub due_at: Option<DateTime<Utc>>,
    /// When a rider took it.
    pub assigned_at: Option<DateTime<Utc>>,
    /// When the goods were picked up.
    pub picked_up_at: Option<DateTime<Utc>>,
    /// When they were delivered.
    pub delivered_at: Option<DateTime<Utc>>,
    /// When the order ended.
    pub ended_at: Option<DateTime<Utc>>,
    /// Why it ended otherwise than delivered.
    pub end_reason: Option<String>,
    /// How much room the goods take.
    pub size_units: u32,
    /// The vehicle it takes.
    pub vehicle_need: Option<String>,
    /// Cash to collect.
    pub cash_to_collect: MoneyBody,
    /// What the rider earns.
    pub payout: MoneyBody,
    /// Offers made.
    pub offers_tried: u32,
    /// The merchant's free data.
    pub metadata: Map<String, Value>,
    /// When it was placed.
    pub created_at: DateTime<Utc>,
    /// When it last changed.
    pub updated_at: DateTime<Utc>,
    /// -2 to 2: of the orders that are due, the higher one goes first.
    pub priority: i16,
    /// The operator's hold that keeps it from being offered; only for operators.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hold: Option<HoldBody>,
    /// Its history, oldest first; only where one order is read.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub events: Option<Vec<OrderEventBody>>,
    /// The recipient; only for the assigned rider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub contact: Option<Contact>,
    /// Tags that its rider must have, in alphabetical order.
    #[serde(default)]
    pub needs_tags: Vec<String>,
}

/// A hold.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct HoldBody {
    /// The operator who holds it.
    pub by: String,
    /// When it ends by itself.
    pub until: DateTime<Utc>,
    /// Why.
    pub reason: String,
}

/// One line of an order's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OrderEventBody {
    /// Its number within the order, from 1 without gaps.
    pub seq: i32,
    /// The order's version after it.
    pub version: i32,
    /// A stable word.
    pub kind: String,
    /// `engine`, `rider`, `merchant`, `operator` or `admin`.
    pub actor_kind: String,
    /// Which one.
    pub actor_id: Option<String>,
    /// Why.
    pub reason: Option<String>,
    /// Particulars.
    pub data: Value,
    /// When.
    pub at: DateTime<Utc>,
}

/// `POST /v1/orders/{id}/cancel`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CancelOrder {
    /// Why, 1 to 200 characters.
    pub reason: String,
    /// The version of the order that the caller saw; refused with `version_conflict` when it has moved on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<i32>,
}

/// `POST /v1/orders/{id}/ready`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct ChangeReady {
    /// The new ready time.
    pub ready_at: DateTime<Utc>,
    /// The version of the order that the caller saw; refused with `version_conflict` when it has moved on.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub expected_version: Option<i32>,
}

/// A page of orders, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct OrderPage {
    /// The orders, without their events.
    pub orders: Vec<OrderBody>,
    /// Pass as `page` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A report of a rider that contradicts what is stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DisputeBody {
    /// Its id.
    pub id: Uuid,
    /// The order.
    pub order_id: Uuid,
    /// The city.
    pub city: String,
    /// Who reports.
    pub rider_id: Uuid,
    /// `unproven_delivery`, `goods_claimed`, `after_end`, `otp_offline` or `otp_locked`.
    pub kind: String,
    /// The last report: step, time, place, reason, proof.
    pub report: Value,
    /// `open`, `upheld` or `dismissed`.
    pub status: String,
    /// When it was opened.
    pub opened_at: DateTime<Utc>,
    /// When it was decided.
    pub closed_at: Option<DateTime<Utc>>,
    /// Who decided.
    pub closed_by: Option<String>,
    /// Why.
    pub close_reason: Option<String>,
}

/// A page of disputes, newest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct DisputePage {
    /// The disputes.
    pub disputes: Vec<DisputeBody>,
    /// Pass as `page` for the next page; absent on the last one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// `POST /v1/disputes/{id}/close`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
pub struct CloseDispute {
    /// `upheld` or `dismissed`.
    pub decision: String,
    /// Why, 1 to 200 characters.
    pub reason: String,
}

//! The rider socket, version 1: `GET /v1/rider/socket`, subprotocol `dispatch.v1.json` (one text message per frame) or
//! `dispatch.v1.msgpack` (one binary message per frame); one set of types, see [`super::frames`]. How points get here over a
//! bad network is told in `docs/RIDER_SOCKET.md`.
//!
//! Every up frame that changes something carries an `id` chosen by the device and may be sent again: the answer is the
//! same, after a reconnect and after a restart of the server as well, for as long as the city's policy says (a day). The same
//! id with another content is refused with `frame_id_reused`; a frame that was refused changed nothing, and after a restart
//! it may be judged anew. An answer carries `re`, the id that it answers.
//!
//! Nothing is answered before it is stored. While the database is away the socket stays open and requests wait: a device
//! whose request waits for longer than some seconds is told so once, with `error {re, code: "storage_unavailable"}`. That
//! is no answer; the answer follows under the same `re`, and there is no need to ask again.

use serde::{Deserialize, Serialize};
use serde_json::Value;
use uuid::Uuid;

use super::{LatLon, MoneyBody, PlaceBody, lenient};

/// The subprotocol of the JSON encoding.
pub const SUBPROTOCOL_JSON: &str = "dispatch.v1.json";

/// The subprotocol of the MessagePack encoding: the same frames with the same names, one binary message per frame.
pub const SUBPROTOCOL_MSGPACK: &str = "dispatch.v1.msgpack";

/// A frame from the device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Up {
    /// The first frame of every connection.
    Hello(Hello),
    /// Asks for another duty; answered with `duty_changed` or `error`.
    Duty {
        /// The device's id for this request, 1 to 64 characters.
        id: String,
        /// What is wanted.
        state: DutyWish,
    },
    /// One or many points; answered with `pings_ack`, coalesced.
    Pings {
        /// The points, at most 500.
        pings: Vec<Ping>,
        /// The lowest number that the device still holds unsettled, or the next one that it will give. With it points may
        /// come in any order: numbers below it never come any more and count as settled, those at or above it that are
        /// missing are waited for. Without it points come in order, and a number that was skipped never comes.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        oldest: Option<u64>,
        /// The device's wall clock at sending, milliseconds since 1970: the skew is estimated from it.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        sent_at: Option<i64>,
    },
    /// The offer is on the rider's screen; answered with the `offer`, its time counted anew.
    OfferSeen {
        /// The device's id for this request.
        id: String,
        /// The offer.
        offer: Uuid,
    },
    /// The rider takes it; answered with `assigned` after the commit, or with `offer_closed` and `why: "taken"` when another
    /// rider was faster.
    OfferAccept {
        /// The device's id for this request.
        id: String,
        /// The offer.
        offer: Uuid,
    },
    /// The rider does not take it; answered with `offer_closed` after the commit.
    OfferDecline {
        /// The device's id for this request.
        id: String,
        /// The offer.
        offer: Uuid,
        /// Why, at most 200 characters.
        reason: String,
    },
    /// A step of an order; answered with `order_changed` after the commit.
    Progress(Progress),
}

/// Who speaks, on which device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// The device's own lasting id, 1 to 64 characters.
    pub device_id: String,
    /// The version of the app.
    pub app_version: String,
    /// Drawn anew at each start of the app; ping numbers count within it.
    pub boot_id: Uuid,
    /// The device's monotonic clock, milliseconds.
    pub mono_ms: u64,
    /// The device's wall clock, milliseconds since 1970: the skew is estimated from it.
    pub at: i64,
    /// Charge, 0 to 1.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub battery: Option<f32>,
    /// How the device can be woken while its socket is silent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub push: Option<PushAddress>,
    /// The lowest number of a point of this boot that the device still holds; see [`Up::Pings`].
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub oldest: Option<u64>,
}

/// Where a push reaches a device. Its token is shown by nobody's `Debug`: whoever has it can wake the device.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PushAddress {
    /// Who carries it: `fcm`, or another word of 1 to 32 lower-case letters, digits and underscores.
    pub provider: String,
    /// The provider's name for this installation of the app, 1 to 1,024 visible ASCII characters.
    pub token: String,
}

impl std::fmt::Debug for PushAddress {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("PushAddress").field("provider", &self.provider).finish_non_exhaustive()
    }
}

/// The duty that a device may ask for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum DutyWish {
    /// Wants work.
    On,
    /// Pauses.
    Break,
    /// Goes home; while carrying: after the work in hand.
    Off,
}

/// One point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Ping {
    /// Counts up per device and boot, from 1, in the order of recording; at most 63 bits.
    #[serde(deserialize_with = "lenient::seq")]
    pub seq: u64,
    /// When the device recorded it, device time, milliseconds since 1970.
    #[serde(deserialize_with = "lenient::time")]
    pub at: i64,
    /// Degrees north; absent when there is no position, and then the point is refused.
    #[serde(default = "lenient::no_coordinate", deserialize_with = "lenient::coordinate")]
    pub lat: f64,
    /// Degrees east; the same.
    #[serde(default = "lenient::no_coordinate", deserialize_with = "lenient::coordinate")]
    pub lon: f64,
    /// Radius of 68 % confidence, metres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy_m: Option<f32>,
    /// Ground speed, metres per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_mps: Option<f32>,
    /// Course over ground, degrees clockwise from north.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heading_deg: Option<f32>,
    /// Whether the platform says that the point was made up.
    #[serde(default, deserialize_with = "lenient::or_default", skip_serializing_if = "std::ops::Not::not")]
    pub mock: bool,
}

/// A step of an order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Progress {
    /// The device's id for this request.
    pub id: String,
    /// The order.
    pub order: Uuid,
    /// `at_pickup`, `picked_up`, `at_dropoff`, `delivered`, `attempt_failed`, `returning`, `returned` or `handover`.
    pub step: String,
    /// When, device time, milliseconds since 1970.
    pub at: i64,
    /// Where; a handover needs it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub position: Option<LatLon>,
    /// Why, for a failed attempt, a return or a handover; at most 200 characters.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reason: Option<String>,
    /// What proves it, at most 2 KiB as JSON. Its member `otp` is the recipient's one-time code, a text of 4 to 8 digits, for
    /// an order that needs one; the code itself is not stored.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub proof: Option<Value>,
}

/// A frame to the device.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(tag = "type", rename_all = "snake_case")]
pub enum Down {
    /// The answer to `hello`: the whole state.
    Welcome(Welcome),
    /// How far the points came. Told now and then, soon when points were refused or many came at once, and right after
    /// `welcome` when the device has been here before: what it holds beyond `received_to` is to be sent again, in order and
    /// before newer points unless it says `oldest`.
    PingsAck {
        /// Every number up to this one was received, or never comes. After a reconnect it may be lower than before: points
        /// were lost on their way to the store.
        received_to: u64,
        /// Every number up to this one is settled: committed, synced to the disk that waits for the database, left out by
        /// the city's policy, refused, or it never comes. The device may forget its points up to here, and no others.
        stored_to: u64,
        /// Points that were refused, since the last ack.
        #[serde(default, skip_serializing_if = "Vec::is_empty")]
        refused: Vec<RefusedPing>,
    },
    /// Will you take this?
    Offer(Offer),
    /// The offer is over.
    OfferClosed {
        /// The request that it answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        re: Option<String>,
        /// The offer.
        offer: Uuid,
        /// `declined`, `expired` or `withdrawn`, or a stable word with more detail: `taken`, `off_duty`, `order_cancelled`.
        why: String,
    },
    /// The job is yours; sent again at `welcome` as part of the plan.
    Assigned {
        /// The request that it answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        re: Option<String>,
        /// The job.
        job: Job,
    },
    /// An order in hand changed, or is no longer yours.
    OrderChanged {
        /// The request that it answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        re: Option<String>,
        /// The order.
        order: Uuid,
        /// Where it stands.
        status: String,
        /// Its version, when the answer to a request.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        version: Option<i32>,
        /// Why: `progress`, `cancelled`, `ready_changed`, `unassigned`, `reassigned` (to another rider), ..., or
        /// `assigned_by_operator`: the job is yours, unasked.
        why: String,
        /// The job after the change; absent when it is no longer the rider's.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        job: Option<Job>,
    },
    /// The duty in force.
    DutyChanged {
        /// The request that it answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        re: Option<String>,
        /// `ON`, `BREAK`, `OFF` or `AUTO_OFF`.
        duty: String,
        /// What follows once the work in hand is finished.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        next: Option<String>,
        /// Why.
        why: String,
    },
    /// Ping at this interval from now on: the next point is due so long after the last one, at once when that is over. It
    /// follows what the rider does and how pressed the server is: shorter with an open offer and on the way to a pickup,
    /// longer at rest, on a break and under load. A shorter interval is told at once, a longer one after some seconds.
    PingInterval {
        /// Milliseconds of server time.
        ms: u64,
    },
    /// A frame was refused.
    Error {
        /// The request that it answers.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        re: Option<String>,
        /// A stable code.
        code: String,
        /// For people.
        detail: String,
    },
    /// The server ends the connection.
    Bye {
        /// `taken_over`, `going_away`, `slow_reader`, `no_hello`, `city_moved`, ...
        why: String,
        /// When to come back; absent: do not reconnect by yourself.
        #[serde(default, skip_serializing_if = "Option::is_none")]
        reconnect_after_ms: Option<u64>,
    },
}

/// Everything a device needs to resume.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Welcome {
    /// Server time, milliseconds since 1970.
    pub server_time: i64,
    /// How fast the server's clock runs against real time; 1 in production.
    pub clock_speed: f64,
    /// Milliseconds of server time between pings, as of now; [`Down::PingInterval`] changes it.
    pub ping_interval_ms: u64,
    /// The city in which the rider is live.
    pub city: String,
    /// `ON`, `BREAK`, `OFF` or `AUTO_OFF`.
    pub duty: String,
    /// What follows once the work in hand is finished.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next_duty: Option<String>,
    /// The jobs in hand.
    pub plan: Vec<Job>,
    /// The offer that waits for an answer.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub open_offer: Option<Offer>,
    /// Should the connection end without a `bye`: reconnect after a random time of up to so many milliseconds, because
    /// the same may have happened to everybody.
    #[serde(default)]
    pub reconnect_within_ms: u64,
    /// Why the duty is in force, where it is known: `rider`, `silent`, `finished`, `breakdown`, `not_allowed`, ...
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub duty_why: Option<String>,
}

/// A refused point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RefusedPing {
    /// Its number.
    pub seq: u64,
    /// A stable code: `out_of_world`, `null_island`, `future`, `too_old`, `duplicate`, `off_duty`, ...
    pub reason: String,
}

/// An offer.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Offer {
    /// The request that it answers.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub re: Option<String>,
    /// Its id.
    pub offer: Uuid,
    /// Milliseconds of server time left to answer.
    pub expires_in_ms: u64,
    /// The job.
    pub job: Job,
    /// Estimated milliseconds of server time to the pickup.
    pub pickup_eta_ms: u64,
    /// Straight-line metres to the pickup.
    pub pickup_distance_m: f64,
    /// What it pays.
    pub payout: MoneyBody,
    /// When it was put on the wire, server time: latency is measured from it.
    pub sent_at: i64,
}

/// A job: orders taken together, with their stops in order.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Job {
    /// Its id.
    pub job: Uuid,
    /// Its orders.
    pub orders: Vec<JobOrder>,
    /// The stops still to be made.
    pub stops: Vec<Stop>,
}

/// An order of a job.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct JobOrder {
    /// The order.
    pub order: Uuid,
    /// Where it stands.
    pub status: String,
    /// Its version.
    pub version: i32,
    /// Whose it is.
    pub merchant: Uuid,
    /// The merchant's name for it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub external_ref: Option<String>,
    /// The merchant's own name for the store.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub store: Option<String>,
    /// When the goods are ready.
    pub ready_at: i64,
    /// When the recipient expects them.
    pub promise_at: i64,
    /// Cash to collect at the drop.
    pub cash_to_collect: MoneyBody,
    /// Whether `delivered` needs the recipient's one-time code.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub needs_otp: bool,
}

/// A stop.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Stop {
    /// `pickup`, `drop` or `return`.
    pub kind: String,
    /// For which order.
    pub order: Uuid,
    /// Where.
    pub place: PlaceBody,
    /// When.
    pub at: i64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_have_the_documented_shape() {
        let up: Up = serde_json::from_str(r#"{"type":"duty","id":"1","state":"on"}"#).unwrap();
        assert_eq!(up, Up::Duty { id: "1".into(), state: DutyWish::On });
        let down = Down::PingsAck { received_to: 3, stored_to: 2, refused: vec![] };
        assert_eq!(serde_json::to_string(&down).unwrap(), r#"{"type":"pings_ack","received_to":3,"stored_to":2}"#);
    }
}

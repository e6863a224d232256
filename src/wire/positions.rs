//! Bodies of what can be read about where riders are and were, version 1.

use chrono::{DateTime, Utc};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;
use uuid::Uuid;

use super::LatLon;

/// Absent where it is the usual.
#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde hands out references")]
const fn is_no(flag: &bool) -> bool {
    !*flag
}

/// `GET /v1/riders/{id}/track`: points of a rider in the order in which they were recorded.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TrackBody {
    /// The rider.
    pub rider_id: Uuid,
    /// Recorded at this time or later.
    pub from: DateTime<Utc>,
    /// Recorded before this time.
    pub to: DateTime<Utc>,
    /// Stored points that this page was made of; fewer of them stand in it when it is simplified.
    pub points_read: usize,
    /// The points.
    pub points: Vec<TrackPoint>,
    /// Pass as `page` for what follows; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A stored point.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TrackPoint {
    /// When it was recorded, device time corrected.
    pub at: DateTime<Utc>,
    /// When it was received, server time.
    pub received_at: DateTime<Utc>,
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
    /// Radius of 68 % confidence, metres.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy_m: Option<f32>,
    /// Ground speed, metres per second.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub speed_mps: Option<f32>,
    /// Course, degrees clockwise from north.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub heading_deg: Option<f32>,
    /// It is the first of a leg: the point before it, if there is one, is too far back in time to be connected.
    #[serde(default, skip_serializing_if = "is_no")]
    pub starts: bool,
    /// It came after a newer one, and never moved the live dot.
    #[serde(default, skip_serializing_if = "is_no")]
    pub late: bool,
    /// The device's platform says that it was made up.
    #[serde(default, skip_serializing_if = "is_no")]
    pub mock: bool,
    /// It lies outside the service area of the rider's city.
    #[serde(default, skip_serializing_if = "is_no")]
    pub outside: bool,
}

/// The same as GeoJSON (RFC 7946): a feature per leg. What the standard does not know stands beside `features`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TrackCollection {
    /// `FeatureCollection`.
    #[serde(rename = "type")]
    pub kind: String,
    /// The legs: a line, or one point, each.
    pub features: Vec<TrackFeature>,
    /// The rider.
    pub rider_id: Uuid,
    /// Recorded at this time or later.
    pub from: DateTime<Utc>,
    /// Recorded before this time.
    pub to: DateTime<Utc>,
    /// Stored points that this page was made of.
    pub points_read: usize,
    /// Pass as `page` for what follows; absent on the last page.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub next: Option<String>,
}

/// A leg.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TrackFeature {
    /// `Feature`.
    #[serde(rename = "type")]
    pub kind: String,
    /// Where.
    pub geometry: TrackGeometry,
    /// When, and what is to be known of the points.
    pub properties: TrackProperties,
}

/// Longitude before latitude.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
#[serde(tag = "type", content = "coordinates")]
pub enum TrackGeometry {
    /// A leg of one point.
    Point([f64; 2]),
    /// A leg of more.
    LineString(Vec<[f64; 2]>),
}

/// Of a leg; the lists have an entry per position of the geometry.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct TrackProperties {
    /// It goes on from the last position of the feature or page before: the line was cut at the antimeridian, or the page
    /// was full.
    #[serde(default, skip_serializing_if = "is_no")]
    pub continues: bool,
    /// When each was recorded.
    pub times: Vec<DateTime<Utc>>,
    /// Which came after a newer one; absent when none did.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub late: Vec<bool>,
    /// Which were made up, as the device's platform says; absent when none were.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub mock: Vec<bool>,
    /// Which lie outside the service area; absent when none do.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub outside: Vec<bool>,
}

/// `GET /v1/riders/{id}/location`: where a rider is, or was last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct LocationBody {
    /// The rider.
    pub rider_id: Uuid,
    /// The rider's city.
    pub city: String,
    /// `ON`, `BREAK`, `OFF` or `AUTO_OFF`: by the city's word, or as stored when the city has none.
    pub duty: String,
    /// `live`: the city's word of this moment. `stored`: the last point of the location log, for a rider who is off duty, has
    /// no fix since the city started, or whose city does not answer.
    pub source: String,
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
    /// When it was recorded, device time corrected.
    pub recorded_at: DateTime<Utc>,
    /// When it was received, server time.
    pub received_at: DateTime<Utc>,
    /// Milliseconds since it was recorded.
    pub age_ms: u64,
    /// Whether the rider could be offered work by it: live, and no older than the city's policy asks for.
    pub fresh: bool,
    /// Radius of 68 % confidence, metres; known of stored points.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy_m: Option<f32>,
    /// What the rider is doing, of a live one: `idle`, `offered`, `busy`, `stale`, `break` or `off`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// Whether the rider's device is connected; absent when the city has no word of the rider.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub connected: Option<bool>,
    /// The stored point was made up, as the device's platform says.
    #[serde(default, skip_serializing_if = "is_no")]
    pub mock: bool,
    /// Why the city has no word, where that is a fault: a code as of a problem.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub live_problem: Option<String>,
}

/// `GET /v1/cities/{code}/riders/nearby`: riders who may be offered work now, nearest first.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NearbyBody {
    /// The city.
    pub city: String,
    /// As of when.
    pub at: DateTime<Utc>,
    /// The riders.
    pub riders: Vec<NearbyRiderBody>,
}

/// A rider who may be offered work.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize, ToSchema)]
pub struct NearbyRiderBody {
    /// Who.
    pub rider_id: Uuid,
    /// `walking`, `bicycle`, `motorcycle` or `car`.
    pub vehicle: String,
    /// Straight-line metres from where the rider leaves for other work, which is where the rider is unless `free_at_place`
    /// says otherwise.
    pub distance_m: f64,
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
    /// When that was recorded, device time corrected.
    pub recorded_at: DateTime<Utc>,
    /// Milliseconds since then.
    pub age_ms: u64,
    /// Estimated milliseconds until the work in hand is finished; absent for who has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_in_ms: Option<u64>,
    /// Where the work in hand ends; absent for who has none.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub free_at_place: Option<LatLon>,
}

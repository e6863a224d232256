//! A page of a track as its reader gets it: JSON, or GeoJSON with a feature per leg.

use std::time::Duration;

use actix_web::web::Bytes;
use chrono::{DateTime, Utc};
use serde::Serialize;

use super::problem::Failure;
use crate::{
    domain::{
        ids::RiderId,
        polyline::{Vertex, outline},
        position::Position,
        time::Timestamp,
    },
    store::{StoreError, location_logs::flags, tracks::StoredPoint},
    wire::positions::{TrackBody, TrackCollection, TrackFeature, TrackGeometry, TrackPoint, TrackProperties},
};

/// The media type of GeoJSON (RFC 7946, 12).
pub const GEO_JSON: &str = "application/geo+json";

pub use crate::domain::ping::point::flags::OUTSIDE;

/// What the answer is written in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// A list of points.
    Json,
    /// What maps take.
    GeoJson,
}

impl Form {
    /// Its media type.
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::GeoJson => GEO_JSON,
        }
    }
}

/// What a page is of, and how it is drawn.
#[derive(Clone, Debug)]
pub struct Shape {
    /// Whose track.
    pub rider: RiderId,
    /// From when.
    pub from: DateTime<Utc>,
    /// Until when.
    pub to: DateTime<Utc>,
    /// The time of the last point of the page before.
    pub before: Option<Timestamp>,
    /// The time after which points are not connected.
    pub gap: Duration,
    /// How far points that are left out may be from the line, metres.
    pub tolerance_m: Option<f64>,
    /// The token of the next page.
    pub next: Option<String>,
}

/// The body of a page.
pub fn body(points: &[StoredPoint], shape: Shape, form: Form) -> Result<Bytes, Failure> {
    let path: Vec<(Timestamp, Position)> = points.iter().map(place).collect::<Result<_, _>>()?;
    let drawn = outline(&path, shape.before, shape.gap, shape.tolerance_m);
    let (rider_id, points_read) = (shape.rider.0, points.len());
    let Shape { from, to, next, .. } = shape;
    match form {
        Form::Json => {
            let points = drawn.iter().map(|vertex| track_point(&points[vertex.index], vertex.starts)).collect();
            written(&TrackBody { rider_id, from, to, points_read, points, next })
        }
        Form::GeoJson => {
            let (kind, features) = ("FeatureCollection".to_owned(), features(points, &drawn));
            written(&TrackCollection { kind, features, rider_id, from, to, points_read, next })
        }
    }
}

fn written(body: &impl Serialize) -> Result<Bytes, Failure> {
    serde_json::to_vec(body).map(Bytes::from).map_err(Failure::internal)
}

fn place(point: &StoredPoint) -> Result<(Timestamp, Position), StoreError> {
    let position = Position::new(point.lat, point.lon);
    let bad = |error| StoreError::Corrupt(format!("point {} of {}: {error}", point.seq, point.boot_id));
    Ok((point.recorded_at.into(), position.map_err(bad)?))
}

fn track_point(point: &StoredPoint, starts: bool) -> TrackPoint {
    TrackPoint {
        at: point.recorded_at,
        received_at: point.created_at,
        lat: point.lat,
        lon: point.lon,
        accuracy_m: point.accuracy_m,
        speed_mps: point.speed_mps,
        heading_deg: point.heading_deg,
        starts,
        late: point.flags & flags::LATE != 0,
        mock: point.flags & flags::MOCK != 0,
        outside: point.flags & OUTSIDE != 0,
    }
}

/// A feature per leg, and another one where a line would cross the antimeridian: maps draw such a line round the whole earth
/// (RFC 7946, 3.1.9). No position is invented there.
fn features(points: &[StoredPoint], drawn: &[Vertex]) -> Vec<TrackFeature> {
    let is_joined =
        |from: &Vertex, to: &Vertex| !to.starts && (points[from.index].lon - points[to.index].lon).abs() <= 180.0;
    drawn.chunk_by(is_joined).map(|leg| feature(points, leg)).collect()
}

fn feature(points: &[StoredPoint], leg: &[Vertex]) -> TrackFeature {
    let points = || leg.iter().map(|vertex| &points[vertex.index]);
    let positions: Vec<[f64; 2]> = points().map(|point| [point.lon, point.lat]).collect();
    let marked = |flag: i16| {
        let marks: Vec<bool> = points().map(|point| point.flags & flag != 0).collect();
        if marks.contains(&true) { marks } else { Vec::new() }
    };
    TrackFeature {
        kind: "Feature".to_owned(),
        geometry: match positions[..] {
            [only] => TrackGeometry::Point(only),
            _ => TrackGeometry::LineString(positions),
        },
        properties: TrackProperties {
            continues: leg.first().is_some_and(|first| !first.starts),
            times: points().map(|point| point.recorded_at).collect(),
            late: marked(flags::LATE),
            mock: marked(flags::MOCK),
            outside: marked(OUTSIDE),
        },
    }
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};
    use uuid::Uuid;

    use super::*;

    fn point(seconds: i64, lat: f64, lon: f64, flags: i16) -> StoredPoint {
        let recorded_at = DateTime::from_timestamp(1_790_000_000 + seconds, 0).unwrap();
        StoredPoint {
            recorded_at,
            created_at: recorded_at,
            lat,
            lon,
            accuracy_m: None,
            speed_mps: None,
            heading_deg: None,
            flags,
            seq: seconds,
            boot_id: Uuid::nil(),
            device_id: "d".into(),
        }
    }

    fn shape(before: Option<i64>) -> Shape {
        let time = |seconds| DateTime::from_timestamp(1_790_000_000 + seconds, 0).unwrap();
        Shape {
            rider: RiderId(Uuid::nil()),
            from: time(0),
            to: time(9_000),
            before: before.map(|seconds| time(seconds).into()),
            gap: Duration::from_secs(300),
            tolerance_m: None,
            next: None,
        }
    }

    fn drawn(points: &[StoredPoint], before: Option<i64>, form: Form) -> Value {
        serde_json::from_slice(&body(points, shape(before), form).unwrap()).unwrap()
    }

    #[test]
    fn a_line_per_leg_with_its_times_and_marks() {
        let points = [point(0, 12.9, 77.5, 0), point(5, 12.9, 77.6, 1 | 4), point(900, 12.8, 77.5, 0)];
        let body = drawn(&points, None, Form::GeoJson);
        assert_eq!((&body["type"], &body["points_read"]), (&json!("FeatureCollection"), &json!(3)));
        let [line, dot] = body["features"].as_array().unwrap().as_slice() else { panic!("{body}") };
        assert_eq!(line["geometry"], json!({ "type": "LineString", "coordinates": [[77.5, 12.9], [77.6, 12.9]] }));
        assert_eq!(
            line["properties"],
            json!({ "times": ["2026-09-21T14:13:20Z", "2026-09-21T14:13:25Z"], "late": [false, true], "outside": [false, true] })
        );
        assert_eq!(dot["geometry"], json!({ "type": "Point", "coordinates": [77.5, 12.8] }));
        assert!(dot["properties"].get("continues").is_none());
    }

    #[test]
    fn lines_are_cut_at_the_antimeridian_and_go_on_over_pages() {
        let points = [point(5, -17.0, 179.99, 0), point(10, -17.0, -179.99, 0), point(15, -17.0, -179.98, 0)];
        let body = drawn(&points, Some(0), Form::GeoJson);
        let [west, east] = body["features"].as_array().unwrap().as_slice() else { panic!("{body}") };
        assert_eq!((&west["geometry"]["type"], &east["geometry"]["type"]), (&json!("Point"), &json!("LineString")));
        assert_eq!([&west, &east].map(|leg| leg["properties"]["continues"].clone()), [json!(true), json!(true)]);
        assert_eq!(drawn(&[], None, Form::GeoJson)["features"], json!([]));
    }

    #[test]
    fn a_list_says_where_legs_start_and_what_is_known() {
        let body = drawn(&[point(0, 12.9, 77.5, 2), point(900, 12.9, 77.6, 0)], Some(-5), Form::Json);
        assert_eq!((&body["points"][0]["mock"], body["points"][0].get("starts")), (&json!(true), None));
        assert_eq!((&body["points"][1]["starts"], body["points"][1].get("mock")), (&json!(true), None));
        assert!(body["points"][0].get("accuracy_m").is_none() && body.get("next").is_none());
    }

    #[test]
    fn a_row_that_is_no_position_is_told_of() {
        assert!(body(&[point(0, f64::NAN, 77.5, 0)], shape(None), Form::Json).is_err());
    }
}

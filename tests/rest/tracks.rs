//! Reading where a rider was: what is found, in which form, by whom, and who hears of it.

use dispatch_engine::{
    domain::{
        ids::{BootId, CityCode, RiderId},
        position::Position,
        time::Timestamp,
    },
    http::{Options, reads},
    store::{
        location_batches,
        location_logs::{CopyBatch, LocationRow, flags},
    },
};
use reqwest::{Method, header::ACCEPT};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    harness::{Rest, start, start_reading},
    support::{SOON, client::answer, rows::rider_row, token, token_for},
};

/// 2026-10-31T23:59:00Z: a month ends a minute later.
pub const START: i64 = 1_793_491_140_000;

/// A point to be stored.
#[derive(Clone, Copy)]
pub struct Stored<'a> {
    pub seq: i64,
    /// Seconds after [`START`] at which it was recorded.
    pub recorded_s: i64,
    /// Seconds until it was received.
    pub after_s: i64,
    pub place: (f64, f64),
    pub flags: i16,
    pub city: &'a str,
    pub boot: u128,
}

pub const POINT: Stored<'static> =
    Stored { seq: 1, recorded_s: 0, after_s: 1, place: (12.97, 77.59), flags: 0, city: "testville", boot: 7 };

pub fn time(seconds: i64) -> Timestamp {
    Timestamp::from_millis(START + seconds * 1_000)
}

pub async fn store(rest: &Rest, rider: RiderId, points: &[Stored<'_>]) {
    let mut batch = CopyBatch::with_capacity(points.len());
    for point in points {
        batch.push(&LocationRow {
            rider,
            created_at: time(point.recorded_s + point.after_s),
            recorded_at: time(point.recorded_s),
            city: point.city,
            position: Position::new(point.place.0, point.place.1).unwrap(),
            accuracy_m: Some(5.0),
            speed_mps: None,
            heading_deg: None,
            seq: point.seq,
            boot: BootId(Uuid::from_u128(point.boot)),
            device: "device",
            flags: point.flags,
            device_at: time(point.recorded_s),
        });
    }
    location_batches::append(&rest.deps.db, Uuid::now_v7(), &batch, time(0), SOON).await.unwrap();
}

pub async fn rider(rest: &Rest) -> RiderId {
    rider_row(&rest.deps.db, &CityCode::parse(&rest.city).unwrap()).await
}

pub fn path(rider: RiderId, from_s: i64, to_s: i64, more: &str) -> String {
    format!("/v1/riders/{rider}/track?from={}&to={}{more}", time(from_s), time(to_s))
}

/// The seconds after [`START`] of the points of a page.
pub fn seconds(page: &Value) -> Vec<i64> {
    let points = page["points"].as_array().unwrap();
    let at = |point: &Value| chrono::DateTime::parse_from_rfc3339(point["at"].as_str().unwrap()).unwrap();
    points.iter().map(|point| (at(point).timestamp_millis() - START) / 1_000).collect()
}

#[actix_web::test]
async fn points_stand_where_they_were_recorded_however_late_they_came() {
    let rest = start().await;
    let rider = rider(&rest).await;
    let day = 86_400;
    // The last one was recorded in October and received a day later, in November, as was the first one of November.
    let points = [
        Stored { seq: 2, recorded_s: 5, ..POINT },
        Stored { seq: 9, recorded_s: 70, flags: flags::MOCK | 4, ..POINT },
        Stored { seq: 1, recorded_s: 0, after_s: 30, flags: flags::LATE, ..POINT },
        Stored { seq: 3, recorded_s: 10, after_s: day - 1, flags: flags::LATE, ..POINT },
    ];
    store(&rest, rider, &points).await;
    store(&rest, RiderId(Uuid::new_v4()), &[POINT]).await;
    let read = async |from, to, more: &str| rest.get(&path(rider, from, to, more), &rest.admin()).await.ok(200).clone();

    let all = read(-60, 3_600, "").await;
    assert_eq!((seconds(&all), &all["points_read"], all.get("next")), (vec![0, 5, 10, 70], &json!(4), None));
    assert_eq!(
        all["points"][0],
        json!({
            "at": "2026-10-31T23:59:00Z", "received_at": "2026-10-31T23:59:30Z", "lat": 12.97, "lon": 77.59, "accuracy_m": 5.0,
            "starts": true, "late": true,
        })
    );
    assert_eq!(all["points"][3]["received_at"], "2026-11-01T00:00:11Z");
    assert_eq!([&all["points"][3]["mock"], &all["points"][3]["outside"]], [true, true]);
    // From is in, to is out.
    assert_eq!(seconds(&read(5, 70, "").await), [5, 10]);
    assert_eq!(seconds(&read(71, 3_600, "").await), [0; 0]);
    assert_eq!(seconds(&read(-60, 3_600, "&late=false").await), [5, 70]);
    assert_eq!(seconds(&read(-60, 3_600, "&mock=false&late=true").await), [0, 5, 10]);
    assert_eq!(seconds(&read(-60, 3_600, "&outside=false").await), [0, 5, 10]);
    let legs = read(-60, 3_600, "&gap_s=20").await;
    assert_eq!(legs["points"].as_array().unwrap().iter().filter(|point| point["starts"] == true).count(), 2);
}

#[actix_web::test]
async fn a_point_that_was_stored_again_is_read_once_as_it_was_stored_first() {
    let rest = start().await;
    let rider = rider(&rest).await;
    let first = Stored { seq: 5, recorded_s: 20, ..POINT };
    let others = [
        first,
        // The same batch again, after its answer was lost.
        first,
        // Sent again in a later session, which corrected the device's clock by another second.
        Stored { recorded_s: 21, after_s: 600, flags: flags::LATE, place: (12.98, 77.6), ..first },
        // Another run of the app, and another number, are other points.
        Stored { boot: 8, recorded_s: 22, ..first },
        Stored { seq: 6, recorded_s: 23, ..first },
    ];
    store(&rest, rider, &others).await;
    let read = async |from, to| rest.get(&path(rider, from, to, ""), &rest.admin()).await.ok(200).clone();
    let all = read(0, 3_600).await;
    assert_eq!(seconds(&all), [20, 22, 23]);
    assert_eq!((&all["points"][0]["lat"], all["points"][0].get("late")), (&json!(12.97), None));
    // Where the range ends between the two, the point is where it was first.
    assert_eq!(seconds(&read(21, 3_600).await), [22, 23]);
    assert_eq!(seconds(&read(0, 21).await), [20]);
}

#[actix_web::test]
async fn maps_get_lines() {
    let rest = start().await;
    let rider = rider(&rest).await;
    let at = |seq: i64, recorded_s, lon| Stored { seq, recorded_s, place: (12.97, lon), ..POINT };
    let corner = Stored { place: (12.98, 77.592), ..at(4, 15, 0.0) };
    let points = [at(1, 0, 77.59), at(2, 5, 77.591), at(3, 10, 77.592), corner, at(5, 1_000, 77.7)];
    store(&rest, rider, &points).await;
    let path = path(rider, 0, 3_600, "");
    let asked = rest.request(Method::GET, &path, &rest.admin()).header(ACCEPT, "application/geo+json");
    let answer = answer(asked).await;
    let map = answer.ok(200);
    assert_eq!(answer.headers["content-type"], "application/geo+json");
    assert_eq!(answer.headers["cache-control"], "no-store");
    assert!(answer.headers.get_all("vary").iter().any(|vary| vary == "accept"), "{:?}", answer.headers);
    assert_eq!((&map["type"], &map["features"][0]["type"]), (&json!("FeatureCollection"), &json!("Feature")));
    assert_eq!(map["features"][0]["geometry"]["coordinates"].as_array().unwrap().len(), 4);
    assert_eq!(map["features"][0]["properties"]["times"].as_array().unwrap().len(), 4);
    assert_eq!(map["features"][1]["geometry"], json!({ "type": "Point", "coordinates": [77.7, 12.97] }));

    let simple = rest.get(&format!("{path}&format=geojson&simplify_m=10"), &rest.admin()).await;
    let line = &simple.ok(200)["features"][0];
    assert_eq!(line["geometry"]["coordinates"], json!([[77.59, 12.97], [77.592, 12.97], [77.592, 12.98]]));
    assert_eq!(line["properties"]["times"][1], "2026-10-31T23:59:10Z");
    assert_eq!(simple.body["points_read"], 5);
    let list = rest.get(&format!("{path}&simplify_m=10000&format=json"), &rest.admin()).await;
    assert_eq!(seconds(list.ok(200)), [0, 15, 1_000], "the ends of legs stay");
    assert_eq!(list.headers["content-type"], "application/json");
}

#[actix_web::test]
async fn questions_that_make_no_sense() {
    let rest = start().await;
    let rider = rider(&rest).await;
    let admin = rest.admin();
    let path = |more: &str| path(rider, 0, 60, more);
    for more in [
        "&limit=0",
        "&limit=10001",
        "&limit=-1",
        "&limit=99999999999",
        "&simplify_m=0",
        "&simplify_m=-1",
        "&simplify_m=NaN",
        "&simplify_m=inf",
        "&simplify_m=10001",
        "&gap_s=0",
        "&gap_s=86401",
        "&late=perhaps",
        "&format=kml",
        "&colour=red",
    ] {
        rest.get(&path(more), &admin).await.problem(400, "bad_query");
    }
    for page in ["", "AAAA", "%F0", "next"] {
        rest.get(&path(&format!("&page={page}")), &admin).await.problem(400, "bad_page_token");
    }
    let track = format!("/v1/riders/{rider}/track");
    let month = "from=2026-10-01T00:00:00Z&to=2026-11-01T00:00:00Z";
    rest.get(&format!("{track}?{month}"), &admin).await.ok(200);
    for range in [
        "",
        "from=2026-10-01T00:00:00Z",
        "from=yesterday&to=today",
        "from=2026-10-01T00:00:00Z&to=2026-10-01T00:00:00Z",
        "from=2026-10-02T00:00:00Z&to=2026-10-01T00:00:00Z",
        "from=2026-10-01T00:00:00Z&to=2026-11-01T00:00:01Z",
        "from=1999-12-31T00:00:00Z&to=2000-01-01T00:00:00Z",
        "from=%2B262142-01-01T00:00:00Z&to=%2B262142-01-02T00:00:00Z",
    ] {
        rest.get(&format!("{track}?{range}"), &admin).await.problem(400, "bad_query");
    }
    // Nothing has happened yet, or ever; there may not even be a partition.
    for range in [
        "from=2090-01-01T00:00:00Z&to=2090-01-02T00:00:00%2B05:30",
        "from=2001-01-01T00:00:00Z&to=2001-01-31T00:00:00Z",
    ] {
        assert_eq!(rest.get(&format!("{track}?{range}"), &admin).await.ok(200)["points"], json!([]), "{range}");
    }
    rest.get(&format!("/v1/riders/asha/track?{month}"), &admin).await.problem(400, "bad_path");
}

#[actix_web::test]
async fn who_may_read_a_track() {
    let rest = start().await;
    let (rider, other) = (rider(&rest).await, rider(&rest).await);
    // The rider worked elsewhere before.
    store(&rest, rider, &[POINT, Stored { seq: 2, recorded_s: 9, city: "elsewhere", ..POINT }]).await;
    let path = path(rider, 0, 60, "");
    let read = async |token: &str| rest.get(&path, token).await;
    let own = token("rider", &rider.to_string());
    assert_eq!(seconds(read(&own).await.ok(200)), [0, 9]);
    read(&token("rider", &other.to_string())).await.problem(404, "unknown_rider");
    read(&token("merchant", &Uuid::new_v4().to_string())).await.problem(403, "wrong_role");
    read(&token_for("operator", "olga", &["elsewhere"])).await.problem(404, "unknown_rider");
    assert_eq!(
        seconds(read(&token_for("operator", "olga", &[&rest.city])).await.ok(200)),
        [0],
        "of the operator's city"
    );
    assert_eq!(seconds(read(&token_for("operator", "otto", &[&rest.city, "elsewhere"])).await.ok(200)), [0, 9]);
    assert_eq!(seconds(read(&token("operator", "all")).await.ok(200)), [0, 9]);
    assert_eq!(seconds(read(&rest.admin()).await.ok(200)), [0, 9]);
    let nobody = RiderId(Uuid::new_v4());
    rest.get(&self::path(nobody, 0, 60, ""), &rest.admin()).await.problem(404, "unknown_rider");
    rest.get(&self::path(nobody, 0, 60, ""), &token("rider", &nobody.to_string())).await.problem(404, "unknown_rider");
    answer(rest.client.get(format!("{}{path}", rest.base))).await.problem(401, "token_missing");
}

#[actix_web::test]
async fn what_operators_read_is_in_the_audit_log() {
    let rest = start().await;
    let rider = rider(&rest).await;
    store(&rest, rider, &[POINT, Stored { seq: 2, recorded_s: 5, ..POINT }]).await;
    let olga = token_for("operator", "olga", &[&rest.city]);
    // Times finer than this engine's are rounded up, in what is told and in what is noted.
    let fine =
        format!("/v1/riders/{rider}/track?from=2026-10-31T23:58:59.9999Z&to=2026-11-01T00:00:00.000000001Z&limit=1");
    let rounded = rest.get(&fine, &token("rider", &rider.to_string())).await;
    assert_eq!(rounded.ok(200)["from"], "2026-10-31T23:59:00Z");
    assert_eq!(rounded.body["to"], "2026-11-01T00:00:00.001Z");
    rest.get(&fine.replace("00.000000001Z", "00Z"), &token_for("operator", "fina", &[&rest.city])).await.ok(200);
    let first = rest.get(&path(rider, 0, 60, "&limit=1"), &olga).await;
    let next = first.ok(200)["next"].as_str().unwrap();
    rest.get(&path(rider, 0, 60, &format!("&limit=1&page={next}")), &olga).await.ok(200);
    // What the rider reads is the rider's own business, and what was refused was not read.
    rest.get(&path(rider, 0, 60, ""), &token("rider", &rider.to_string())).await.ok(200);
    rest.get(&path(rider, 60, 0, ""), &olga).await.problem(400, "bad_query");
    let lines: Vec<(String, String, String, String, Uuid, Value)> =
        sqlx::query_as("SELECT actor_kind, actor_id, action, city, rider_id, detail FROM audit_log ORDER BY id")
            .fetch_all(&rest.deps.db)
            .await
            .unwrap();
    let line = |who: &str, first: bool| {
        let range =
            json!({ "from": "2026-10-31T23:59:00Z", "to": "2026-11-01T00:00:00Z", "points": 1, "first_page": first });
        ("operator".to_owned(), who.to_owned(), "track_read".to_owned(), rest.city.clone(), rider.0, range)
    };
    assert_eq!(lines, [line("fina", true), line("olga", true), line("olga", false)]);
}

#[actix_web::test]
async fn who_reads_too_often_waits() {
    let reads =
        reads::Options { track_burst: 2, track_per_minute: 1, live_burst: 1, live_per_minute: 1, ..Default::default() };
    let rest = start_reading(Options::default(), reads).await;
    let rider = rider(&rest).await;
    let (olga, otto) = (token("operator", "olga"), token("operator", "otto"));
    let track = path(rider, 0, 60, "");
    let nearby = format!("/v1/cities/{}/riders/nearby?lat=12.97&lon=77.59", rest.city);
    // A question that makes no sense costs nothing.
    for _ in 0..3 {
        rest.get(&path(rider, 60, 0, ""), &olga).await.problem(400, "bad_query");
        rest.get(&path(rider, 0, 60, "&page=AAAA"), &olga).await.problem(400, "bad_page_token");
        rest.get(&format!("{nearby}&limit=0"), &olga).await.problem(400, "bad_query");
    }
    for _ in 0..2 {
        rest.get(&track, &olga).await.ok(200);
    }
    let refused = rest.get(&track, &olga).await;
    refused.problem(429, "rate_limited");
    let seconds: u64 = refused.headers["retry-after"].to_str().unwrap().parse().unwrap();
    assert!((1..=60).contains(&seconds), "{seconds}");
    // Another token of the same operator is no other operator; another operator, and another question, are.
    rest.get(&track, &token_for("operator", "olga", &[&rest.city])).await.problem(429, "rate_limited");
    rest.get(&track, &otto).await.ok(200);
    let location = format!("/v1/riders/{rider}/location");
    rest.get(&location, &olga).await.problem(404, "location_unknown");
    rest.get(&location, &olga).await.problem(429, "rate_limited");
    rest.get(&nearby, &olga).await.problem(429, "rate_limited");
    rest.get(&nearby, &otto).await.ok(200);
    let figures = rest.get("/metrics", &olga).await.body.as_str().unwrap().to_owned();
    for figure in [
        r#"dispatch_reads_limited_total{read="track"} 2"#,
        r#"dispatch_reads_limited_total{read="live"} 2"#,
        r#"dispatch_reads_callers{read="track"} 2"#,
        r#"dispatch_http_problems_total{code="rate_limited"} 4"#,
    ] {
        assert!(figures.contains(figure), "{figure}");
    }
}

#[actix_web::test]
async fn a_database_that_has_no_time_for_tracks_says_so() {
    let reads = reads::Options { tracks_at_once: 1, ..Default::default() };
    let rest = start_reading(Options { ask_ms: 200, ..Options::default() }, reads).await;
    let rider = rider(&rest).await;
    let turn = rest.deps.reads.turn(&rest.deps).await.unwrap();
    rest.get(&path(rider, 0, 60, ""), &rest.admin()).await.problem(503, "storage_busy");
    let location = format!("/v1/riders/{rider}/location");
    rest.get(&location, &rest.admin()).await.problem(503, "storage_busy");
    drop(turn);
    rest.get(&location, &rest.admin()).await.problem(404, "location_unknown");
    rest.get(&path(rider, 0, 60, ""), &rest.admin()).await.ok(200);
}

//! Where riders are now, over REST: who may ask what, and what is answered when nobody is live. Live answers are tested with
//! the whole engine.

use dispatch_engine::{
    actors::router::Slot,
    domain::{ids::CityCode, time::Timestamp},
    store::location_logs::flags,
};
use serde_json::json;
use uuid::Uuid;

use crate::{
    harness::{Rest, start},
    support::{token, token_for},
    tracks::{POINT, START, Stored, rider, store},
};

/// Seconds from the tests' points to now.
fn now_s(rest: &Rest) -> i64 {
    (rest.deps.clock.now().as_millis() - START) / 1_000
}

#[actix_web::test]
async fn the_last_stored_point_of_who_is_not_live() {
    let rest = start().await;
    let (olga, rider) = (token_for("operator", "olga", &[&rest.city]), rider(&rest).await);
    let path = format!("/v1/riders/{rider}/location");
    rest.get(&path, &olga).await.problem(404, "location_unknown");
    let now = now_s(&rest);
    let day = 86_400;
    // Older than a month does not count.
    store(&rest, rider, &[Stored { recorded_s: now - 40 * day, ..POINT }]).await;
    rest.get(&path, &olga).await.problem(404, "location_unknown");
    // Only what came late is better than nothing.
    store(
        &rest,
        rider,
        &[Stored { recorded_s: now - 900, after_s: 300, place: (12.9, 77.5), flags: flags::LATE, ..POINT }],
    )
    .await;
    assert_eq!(rest.get(&path, &olga).await.ok(200)["lat"], 12.9);
    // Two of one frame, and one that came after them and is older.
    store(
        &rest,
        rider,
        &[
            Stored { seq: 2, recorded_s: now - 700, after_s: 10, ..POINT },
            Stored { seq: 3, recorded_s: now - 695, after_s: 5, place: (12.95, 77.55), flags: flags::MOCK, ..POINT },
            Stored { seq: 1, recorded_s: now - 800, after_s: 700, flags: flags::LATE, ..POINT },
        ],
    )
    .await;
    let last = rest.get(&path, &olga).await;
    let body = last.ok(200);
    assert_eq!(last.headers["cache-control"], "no-store");
    assert_eq!((&body["source"], &body["duty"], &body["fresh"]), (&json!("stored"), &json!("OFF"), &json!(false)));
    assert_eq!(
        (&body["lat"], &body["lon"], &body["accuracy_m"], &body["mock"]),
        (&json!(12.95), &json!(77.55), &json!(5.0), &json!(true))
    );
    let recorded = Timestamp::from_millis(START + (now - 695) * 1_000);
    let at: chrono::DateTime<chrono::Utc> = body["recorded_at"].as_str().unwrap().parse().unwrap();
    assert_eq!(Timestamp::from(at), recorded);
    assert!(body["age_ms"].as_u64().unwrap() >= 695_000);
    assert!(body.get("state").is_none() && body.get("connected").is_none() && body.get("live_problem").is_none());

    // A city that is down does not hide what is stored.
    rest.deps.router.put(CityCode::parse(&rest.city).unwrap(), Slot::Down("restarting"));
    let down = rest.get(&path, &olga).await;
    assert_eq!((&down.ok(200)["live_problem"], &down.body["lat"]), (&json!("city_unavailable"), &json!(12.95)));
}

#[actix_web::test]
async fn who_may_ask_where_a_rider_is() {
    let rest = start().await;
    let (rider, other) = (rider(&rest).await, rider(&rest).await);
    let now = now_s(&rest);
    store(
        &rest,
        rider,
        &[
            Stored { recorded_s: now - 60, ..POINT },
            Stored { seq: 2, recorded_s: now - 30, city: "elsewhere", place: (18.5, 73.8), ..POINT },
        ],
    )
    .await;
    let path = format!("/v1/riders/{rider}/location");
    assert_eq!(rest.get(&path, &token("rider", &rider.to_string())).await.ok(200)["lat"], 18.5);
    assert_eq!(rest.get(&path, &rest.admin()).await.ok(200)["lat"], 18.5);
    assert_eq!(
        rest.get(&path, &token_for("operator", "olga", &[&rest.city])).await.ok(200)["lat"],
        12.97,
        "of the operator's city"
    );
    rest.get(&path, &token("rider", &other.to_string())).await.problem(404, "unknown_rider");
    rest.get(&path, &token("merchant", &Uuid::new_v4().to_string())).await.problem(403, "wrong_role");
    rest.get(&path, &token_for("operator", "olga", &["elsewhere"])).await.problem(404, "unknown_rider");
    rest.get(&format!("/v1/riders/{}/location", Uuid::new_v4()), &rest.admin()).await.problem(404, "unknown_rider");
    rest.get("/v1/riders/asha/location", &rest.admin()).await.problem(400, "bad_path");
}

#[actix_web::test]
async fn who_may_ask_for_riders_around_a_place_and_how() {
    let rest = start().await;
    let path = format!("/v1/cities/{}/riders/nearby", rest.city);
    let here = "lat=12.97&lon=77.59";
    let olga = token_for("operator", "olga", &[&rest.city]);
    let answer = rest.get(&format!("{path}?{here}&limit=100&radius_m=50000&vehicle=car"), &olga).await;
    assert_eq!((&answer.ok(200)["riders"], &answer.body["city"]), (&json!([]), &json!(rest.city)));
    for role in ["rider", "merchant"] {
        rest.get(&format!("{path}?{here}"), &token(role, &Uuid::new_v4().to_string())).await.problem(403, "wrong_role");
    }
    rest.get(&format!("{path}?{here}"), &token_for("operator", "olga", &["elsewhere"]))
        .await
        .problem(403, "wrong_city");
    rest.get(&format!("/v1/cities/atlantis/riders/nearby?{here}"), &rest.admin()).await.problem(404, "unknown_city");
    for bad in [
        "",
        "lat=12.97",
        "lat=12.97&lon=",
        "lat=north&lon=1",
        &format!("{here}&limit=0"),
        &format!("{here}&limit=101"),
        &format!("{here}&limit=-1"),
        &format!("{here}&limit=4294967296"),
        &format!("{here}&radius_m=0"),
        &format!("{here}&radius_m=NaN"),
        &format!("{here}&radius_m=inf"),
        &format!("{here}&radius_m=50001"),
        &format!("{here}&radius_m=-5"),
        &format!("{here}&vehicle=rocket"),
        &format!("{here}&vehicle="),
        &format!("{here}&page=2"),
    ] {
        rest.get(&format!("{path}?{bad}"), &olga).await.problem(400, "bad_query");
    }
    for nowhere in ["lat=NaN&lon=77", "lat=91&lon=77", "lat=12&lon=-181", "lat=inf&lon=0"] {
        rest.get(&format!("{path}?{nowhere}"), &olga).await.problem(422, "out_of_world");
    }
    rest.get(&format!("{path}?lat=0&lon=0"), &olga).await.problem(422, "null_island");
    rest.deps.router.put(CityCode::parse(&rest.city).unwrap(), Slot::Down("restarting"));
    rest.get(&format!("{path}?{here}"), &olga).await.problem(503, "city_unavailable");
}

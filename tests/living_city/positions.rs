//! Where riders are and were, asked of the whole engine: an operator's map, a rider's own app, support after a shift.

use std::time::Duration;

use dispatch_engine::wire::{LatLon, rider::DutyWish};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    TestApp,
    client::{Answer, answer},
    device::Device,
    spawn_app, token, token_for,
    world::{KITCHEN, id_of, order},
};

const CORNER: LatLon = LatLon { lat: 12.9726, lon: 77.5946 };

async fn read(app: &TestApp, path: &str, token: &str) -> Answer {
    answer(app.request(Method::GET, path, token)).await
}

/// The track of the last hour, once it has so many points: they are stored soon, not at once.
async fn track(app: &TestApp, rider: Uuid, token: &str, points: usize) -> Value {
    let hour = Duration::from_secs(3_600);
    let (from, to) = (app.clock.now() - hour, app.clock.now() + hour);
    for _ in 0..200 {
        let page = read(app, &format!("/v1/riders/{rider}/track?from={from}&to={to}"), token).await.ok(200).clone();
        if page["points_read"] == points {
            return page;
        }
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    panic!("{points} points were not stored")
}

#[tokio::test]
async fn a_shift_is_seen_while_it_lasts_and_afterwards() {
    let app = crate::support::spawn_app_with(
        crate::support::TestDatabase::create().await,
        dispatch_engine::clock::Clock::system(),
        // The track is asked for until it is there.
        |config| config.reads.track_burst = 1_000,
    )
    .await;
    app.city("blr", json!({})).await;
    let olga = token_for("operator", "olga", &["blr"]);
    let mut device = Device::on_duty(&app, "blr", KITCHEN).await;
    let own = token("rider", &device.rider.to_string());
    device.ping(&app, CORNER).await;
    let (location, nearby) =
        (format!("/v1/riders/{}/location", device.rider), "/v1/cities/blr/riders/nearby?lat=12.9716&lon=77.5946");

    // The fix is on its way to the city for some milliseconds.
    let live = loop {
        let live = read(&app, &location, &own).await.ok(200).clone();
        if live["source"] == "live" && live["lat"] == CORNER.lat {
            break live;
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    };
    assert_eq!((&live["duty"], &live["state"], &live["city"]), (&json!("ON"), &json!("idle"), &json!("blr")));
    assert_eq!([&live["fresh"], &live["connected"]], [true, true]);
    let around = read(&app, nearby, &olga).await;
    let [near] = around.ok(200)["riders"].as_array().unwrap().as_slice() else { panic!("{}", around.body) };
    assert_eq!((&near["rider_id"], &near["vehicle"]), (&json!(device.rider), &json!("motorcycle")));
    assert_eq!((&near["lat"], &near["distance_m"], near.get("free_in_ms")), (&json!(12.9726), &json!(111.2), None));
    assert_eq!(read(&app, &format!("{nearby}&radius_m=100"), &olga).await.ok(200)["riders"], json!([]));
    assert_eq!(read(&app, &format!("{nearby}&vehicle=car"), &olga).await.ok(200)["riders"], json!([]));

    // Whoever has an order in hand is on the map, and not on offer.
    let merchant = app.merchant().await;
    id_of(&app.place(merchant, &order("blr")).await);
    device.take_offer().await;
    assert_eq!(read(&app, nearby, &olga).await.ok(200)["riders"], json!([]));
    assert_eq!(read(&app, &location, &olga).await.ok(200)["state"], "busy");
    let page = track(&app, device.rider, &own, 2).await;
    assert_eq!((&page["points"][0]["lat"], &page["points"][1]["lat"]), (&json!(KITCHEN.lat), &json!(CORNER.lat)));
    assert_eq!(page["points"][0]["accuracy_m"], 5.0);
}

#[tokio::test]
async fn off_duty_and_after_a_restart_there_is_what_is_stored() {
    let app = spawn_app().await;
    app.city("blr", json!({})).await;
    let admin = token("admin", "ada");
    let mut device = Device::on_duty(&app, "blr", KITCHEN).await;
    let rider = device.rider;
    let location = format!("/v1/riders/{rider}/location");
    device.duty(DutyWish::Off).await;
    let off = loop {
        let off = read(&app, &location, &admin).await;
        // Nothing is live, and the log has its flush to wait for.
        if off.status != 404 {
            break off;
        }
        off.problem(404, "location_unknown");
        tokio::time::sleep(Duration::from_millis(100)).await;
    };
    let off = off.ok(200);
    assert_eq!((&off["source"], &off["duty"], &off["state"]), (&json!("stored"), &json!("OFF"), &json!("off")));
    assert_eq!((&off["fresh"], &off["lat"]), (&json!(false), &json!(KITCHEN.lat)));

    device.duty(DutyWish::On).await;
    drop(device);
    let database = app.stop().await;
    let app = crate::support::spawn_app_with(database, dispatch_engine::clock::Clock::system(), |_| {}).await;
    let back = read(&app, &location, &admin).await;
    let back = back.ok(200);
    assert_eq!((&back["source"], &back["duty"], &back["connected"]), (&json!("stored"), &json!("ON"), &json!(false)));
    assert!(back.get("live_problem").is_none());
}

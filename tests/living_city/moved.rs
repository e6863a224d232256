//! Another process serves a city: what devices, and whoever watches the processes, are told.

use dispatch_engine::{clock::Clock, domain::ids::CityCode, wire::rider::Down};
use serde_json::json;

use crate::support::{
    TestApp, TestDatabase,
    device::Device,
    rows::claim_by_force,
    spawn_app_with,
    world::{KITCHEN, order},
};

const SOON_MS: u64 = 100;
const LATER_MS: u64 = 5_000;

async fn process(database: TestDatabase, instance: &str) -> TestApp {
    spawn_app_with(database, Clock::system(), |config| {
        (config.router.instance, config.router.lease_s) = (Some(instance.to_owned()), 1);
        (config.rider_session.reconnect_after_ms, config.rider_session.reconnect_later_ms) = (SOON_MS, LATER_MS);
    })
    .await
}

async fn bye(device: &mut Device) -> (String, u64) {
    let bye = device.wait_for(|down| match down {
        Down::Bye { why, reconnect_after_ms } => Some((why.clone(), reconnect_after_ms.unwrap())),
        _ => None,
    });
    bye.await
}

#[tokio::test]
async fn devices_of_a_city_that_moved_look_for_it_and_do_not_storm_where_it_was() {
    let app = process(TestDatabase::create().await, "here").await;
    app.city("blr", json!({})).await;
    let merchant = app.merchant().await;
    let mut device = Device::on_duty(&app, "blr", KITCHEN).await;
    claim_by_force(app.db(), &CityCode::parse("blr").unwrap(), "elsewhere").await;

    // It may be served already where it went, so it is looked for soon.
    let (why, after) = bye(&mut device).await;
    assert_eq!(why, "city_moved");
    assert!((SOON_MS..=3 * SOON_MS).contains(&after), "{after}");
    // Who lands here again is in the wrong place.
    let mut device = Device::hello(&app, device.rider).await;
    let (why, after) = bye(&mut device).await;
    assert_eq!(why, "city_unavailable");
    assert!((LATER_MS..=3 * LATER_MS).contains(&after), "{after}");
    app.place(merchant, &order("blr")).await.problem(503, "city_unavailable");
    // Nothing runs here: requests are better sent elsewhere.
    assert_eq!(app.get("/health/ready").await.ok(503)["cities"], json!({ "blr": "fenced" }));
    app.stop().await;
}

#[tokio::test]
async fn a_standby_shows_who_holds_the_cities_and_serves_them_once_they_are_given_back() {
    let first = process(TestDatabase::create().await, "first").await;
    first.city("blr", json!({})).await;
    let rider = first.rider("blr").await;
    let second = process(first.database.clone(), "second").await;
    let health = second.get("/health/ready").await;
    let shown = health.ok(503);
    assert_eq!((&shown["cities"], &shown["held"]["blr"]["by"]), (&json!({ "blr": "held" }), &json!("first")));
    assert!(shown["held"]["blr"]["until"].is_string(), "{shown}");
    let figure = async |value: u8| {
        let text = second.get("/metrics").await.body.as_str().unwrap().to_owned();
        text.contains(&format!("dispatch_city_held{{city=\"blr\"}} {value}"))
    };
    assert!(figure(1).await);
    let mut device = Device::hello(&second, rider).await;
    let (why, after) = bye(&mut device).await;
    assert!(why == "city_unavailable" && after >= LATER_MS, "{why} {after}");

    first.stop().await;
    while second.get("/health/ready").await.status.as_u16() != 200 {
        tokio::time::sleep(std::time::Duration::from_millis(20)).await;
    }
    assert!(figure(0).await);
    let (_device, welcome) = Device::connect(&second, rider).await;
    assert_eq!(welcome.city, "blr");
    second.stop().await;
}

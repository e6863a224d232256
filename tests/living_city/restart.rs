//! The engine stops, in order or not, and another one goes on from the database.

use dispatch_engine::{
    clock::Clock,
    wire::{LatLon, rider::Down},
};
use serde_json::json;

use crate::order_in_hand;
use crate::support::{
    device::Device,
    spawn_app, spawn_app_with,
    world::{DOOR, KITCHEN, id_of, order},
};

#[tokio::test]
async fn work_in_hand_survives_a_restart() {
    let (app, merchant, mut device, id) = order_in_hand().await;
    let waiting = id_of(&app.place(merchant, &order("blr")).await);
    let rider = device.rider;
    let database = app.stop().await;
    let bye = |down: &Down| matches!(down, Down::Bye { reconnect_after_ms: Some(_), .. }).then_some(());
    device.wait_for(bye).await;

    let app = spawn_app_with(database, Clock::system(), |_| {}).await;
    let (mut device, welcome) = Device::connect(&app, rider).await;
    assert_eq!((welcome.duty.as_str(), welcome.plan.len()), ("ON", 1));
    assert_eq!(welcome.plan[0].orders[0].order, id);
    for (step, at) in [("at_pickup", KITCHEN), ("picked_up", KITCHEN), ("at_dropoff", DOOR), ("delivered", DOOR)] {
        assert_eq!(device.progress(&app, id, step, at).await, step);
    }
    // The order that waited finds the rider once a fresh position is known.
    device.ping(&app, DOOR).await;
    assert_eq!(device.take_offer().await.job.orders[0].order, waiting);
    app.assert_consistent().await;
    app.stop().await;
}

#[tokio::test]
async fn points_are_stored_when_the_engine_stops() {
    let app = spawn_app().await;
    app.city("blr", json!({})).await;
    let mut device = Device::on_duty(&app, "blr", KITCHEN).await;
    // Far enough to be stored whatever the time, and not too far to have come there.
    device.ping(&app, LatLon { lat: KITCHEN.lat + 0.0015, lon: KITCHEN.lon }).await;
    let database = app.stop().await;
    let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM location_logs WHERE rider_id = $1")
        .bind(device.rider)
        .fetch_one(&database.db)
        .await
        .unwrap();
    assert_eq!(stored, 2);
}

#[tokio::test]
async fn a_newer_engine_fences_the_older_one() {
    let old = spawn_app().await;
    old.city("blr", json!({})).await;
    let merchant = old.merchant().await;
    let new = spawn_app_with(old.database.clone(), Clock::system(), |_| {}).await;
    // The older one may not store anything for the city any more, and says so.
    let refused = old.place(merchant, &order("blr")).await;
    assert!(refused.status.is_server_error(), "{refused:?}");
    let placed = new.place(merchant, &order("blr")).await;
    assert_eq!(placed.status, 201, "{placed:?}");
    new.assert_consistent().await;
}

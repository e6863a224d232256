//! An order from placed to its end.

use dispatch_engine::wire::rider::{Down, DutyWish, Up};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};

use crate::order_in_hand;
use crate::support::{
    client::answer,
    device::Device,
    spawn_app, token,
    world::{DOOR, KITCHEN, id_of, order},
};

fn kinds(order: &Value) -> Vec<&str> {
    order["events"].as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_order_is_offered_taken_and_delivered() {
    let app = spawn_app().await;
    app.city("blr", json!({})).await;
    let merchant = app.merchant().await;
    let (mut device, welcome) = Device::connect(&app, app.rider("blr").await).await;
    assert_eq!((welcome.city.as_str(), welcome.duty.as_str()), ("blr", "OFF"));
    device.duty(DutyWish::On).await;
    device.ping(&app, KITCHEN).await;

    let placed = app.place(merchant, &order("blr")).await;
    assert_eq!(placed.status, StatusCode::CREATED, "{placed:?}");
    let id = id_of(&placed);
    let offer = device.take_offer().await;
    assert_eq!(offer.job.orders[0].order, id);
    let taken = app.order(id).await;
    // Acked means committed: the store knows before the device does.
    assert_eq!(
        (taken["status"].as_str(), taken["rider_id"].as_str()),
        (Some("assigned"), Some(&*device.rider.to_string()))
    );

    for (step, at) in [("at_pickup", KITCHEN), ("picked_up", KITCHEN), ("at_dropoff", DOOR), ("delivered", DOOR)] {
        assert_eq!(device.progress(&app, id, step, at).await, step);
    }
    let done = app.order(id).await;
    assert_eq!((done["status"].as_str(), done["custody"].as_str()), (Some("delivered"), Some("recipient")));
    let kinds = kinds(&done);
    assert_eq!((kinds.first(), kinds.last()), (Some(&"placed"), Some(&"delivered")));
    let payouts: Vec<i64> =
        sqlx::query_scalar("SELECT amount FROM wallet_ledger WHERE order_id = $1 AND entry_type = 'earning'")
            .bind(id)
            .fetch_all(app.db())
            .await
            .unwrap();
    assert_eq!(payouts, [offer.payout.minor]);
    app.assert_consistent().await;
    app.stop().await;
}

#[tokio::test]
async fn a_declined_offer_goes_to_the_next_rider() {
    let app = spawn_app().await;
    app.city("blr", json!({})).await;
    let merchant = app.merchant().await;
    let mut devices = Vec::new();
    for _ in 0..2 {
        devices.push(Device::on_duty(&app, "blr", KITCHEN).await);
    }
    let id = id_of(&app.place(merchant, &order("blr")).await);
    let (first, second) = devices.split_at_mut(1);
    let (first, second) = (&mut first[0], &mut second[0]);
    let offered = |down: &Down| match down {
        Down::Offer(offer) => Some(offer.offer),
        _ => None,
    };
    // Either of the two may be asked first.
    let (offer, asked, other) = tokio::select! {
        offer = first.wait_for(offered) => (offer, first, second),
        offer = second.wait_for(offered) => (offer, second, first),
    };
    let request = asked.request();
    asked.send(&Up::OfferDecline { id: request.clone(), offer, reason: "too far".into() }).await;
    asked.wait_for(|down| matches!(down, Down::OfferClosed { re: Some(re), .. } if *re == request).then_some(())).await;
    other.take_offer().await;
    assert_eq!(app.order(id).await["rider_id"], other.rider.to_string());
    app.assert_consistent().await;
}

#[tokio::test]
async fn a_cancelled_order_leaves_its_rider_free() {
    let (app, merchant, mut device, id) = order_in_hand().await;
    let token = token("merchant", &merchant.to_string());
    let path = format!("/v1/orders/{id}/cancel");
    let cancelled = answer(app.request(Method::POST, &path, &token).json(&json!({ "reason": "kitchen closed" }))).await;
    assert_eq!((cancelled.status, cancelled.body["status"].as_str()), (StatusCode::OK, Some("cancelled")));
    let told = |down: &Down| match down {
        Down::OrderChanged { re: None, order, status, .. } if *order == id => Some(status.clone()),
        _ => None,
    };
    assert_eq!(device.wait_for(told).await, "cancelled");
    // The next order finds the same rider.
    let next = id_of(&app.place(merchant, &order("blr")).await);
    assert_eq!(device.take_offer().await.job.orders[0].order, next);
    app.assert_consistent().await;
}

#[tokio::test]
async fn a_failed_attempt_brings_the_goods_back() {
    let (app, _, mut device, id) = order_in_hand().await;
    let steps = ["at_pickup", "picked_up", "at_dropoff", "attempt_failed", "returning", "returned"];
    for step in steps {
        assert_eq!(device.progress(&app, id, step, DOOR).await, step);
    }
    let done = app.order(id).await;
    assert_eq!((done["status"].as_str(), done["custody"].as_str()), (Some("returned"), Some("merchant")));
    app.assert_consistent().await;
}

#[tokio::test]
async fn the_same_request_places_one_order() {
    let app = spawn_app().await;
    app.city("blr", json!({})).await;
    let merchant = app.merchant().await;
    let body = order("blr");
    let first = app.place_under(merchant, &body, "key-1").await;
    let again = app.place_under(merchant, &body, "key-1").await;
    assert_eq!(id_of(&first), id_of(&again));
    assert!(again.headers.contains_key("Idempotent-Replayed"), "{again:?}");
    let other = app.place_under(merchant, &order("blr"), "key-1").await;
    assert_eq!((other.status, other.code()), (StatusCode::UNPROCESSABLE_ENTITY, "idempotency_key_reused"));
    let same_name = app.place(merchant, &body).await;
    assert_eq!((same_name.status, same_name.code()), (StatusCode::CONFLICT, "external_ref_taken"));
    let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(app.db()).await.unwrap();
    assert_eq!(stored, 1);
}

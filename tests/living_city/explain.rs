//! Why this rider, why nobody yet: asked over REST, before and after a restart; and a rider with two orders in hand.

use std::time::Duration;

use dispatch_engine::clock::Clock;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::order_in_hand;
use crate::support::{
    TestApp,
    client::{Answer, answer},
    device::Device,
    rows::earned,
    spawn_app, spawn_app_with, token, token_for,
    world::{DOOR, KITCHEN, id_of, order},
};

async fn ask(app: &TestApp, order: Uuid, token: &str) -> Answer {
    answer(app.request(Method::GET, &format!("/v1/orders/{order}/explain"), token)).await
}

/// Asks until the answer has something to tell.
async fn story(app: &TestApp, order: Uuid) -> Value {
    for _ in 0..200 {
        let told = ask(app, order, &token("admin", "ada")).await.ok(200).clone();
        if told["story"].as_array().is_some_and(|story| !story.is_empty()) {
            return told;
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    panic!("{order} is not explained");
}

fn kinds(told: &Value) -> Vec<&str> {
    told["story"].as_array().unwrap().iter().map(|event| event["kind"].as_str().unwrap()).collect()
}

#[tokio::test]
async fn an_order_is_explained_to_operators_before_and_after_a_restart() {
    let (app, merchant, device, id) = order_in_hand().await;
    let rider = device.rider.to_string();
    let told = story(&app, id).await;
    assert_eq!(kinds(&told), ["offered", "assigned"]);
    let why = &told["story"][0]["data"]["why"];
    assert_eq!((&why["chosen"], &why["candidates"][0]["rider"]), (&json!([rider]), &json!(rider)));
    assert_eq!((&told["riders"], &told["rider_id"]), (&json!({ rider.clone(): "Ravi" }), &json!(rider)));
    let now = &told["now"];
    assert_eq!((&now["order"]["status"], &now["order"]["rider"]), (&json!("assigned"), &json!(rider)));
    assert!(now.get("why").is_none(), "it does not wait: {now}");

    // The next one finds nobody: its only rider is busy.
    let waiting = id_of(&app.place(merchant, &order("blr")).await);
    let told = story(&app, waiting).await;
    assert_eq!(kinds(&told), ["not_assigned"]);
    let event = &told["story"][0];
    assert_eq!((&event["reason"], &event["version"]), (&json!("no_rider_in_reach"), &json!(1)));
    assert_eq!(event["data"]["why"]["excluded"], json!({ "busy": 1 }));
    assert_eq!(told["now"]["why"]["excluded"], json!({ "busy": 1 }));

    let its_merchant = token("merchant", &merchant.to_string());
    ask(&app, id, &its_merchant).await.problem(403, "wrong_role");
    // Nor in the history that it may read.
    let read = answer(app.request(Method::GET, &format!("/v1/orders/{id}"), &its_merchant)).await.ok(200).clone();
    let offered = read["events"].as_array().unwrap().iter().find(|event| event["kind"] == "offered").unwrap();
    assert!(offered["data"].get("why").is_none() && offered["data"].get("rider").is_some(), "{offered}");
    ask(&app, id, &token("rider", &rider)).await.problem(403, "wrong_role");
    ask(&app, id, &token_for("operator", "olga", &["elsewhere"])).await.problem(404, "unknown_order");
    ask(&app, Uuid::new_v4(), &token("admin", "ada")).await.problem(404, "unknown_order");
    ask(&app, id, &token_for("operator", "olga", &["blr"])).await.ok(200);
    app.assert_consistent().await;

    let app = spawn_app_with(app.stop().await, Clock::system(), |_| {}).await;
    let told = story(&app, id).await;
    assert_eq!((kinds(&told), &told["now"]["order"]["status"]), (vec!["offered", "assigned"], &json!("assigned")));
    let told = story(&app, waiting).await;
    assert_eq!(kinds(&told)[0], "not_assigned");
    // Nobody has reported a position yet.
    assert_eq!(told["now"]["why"]["excluded"], json!({}));
    app.assert_consistent().await;
}

#[tokio::test]
async fn a_rider_who_will_soon_be_free_takes_the_next_order_and_delivers_both() {
    let app = spawn_app().await;
    app.city("blr", json!({ "max_active_orders": 2, "forward_within_s": 3_600 })).await;
    let merchant = app.merchant().await;
    let mut device = Device::on_duty(&app, "blr", KITCHEN).await;
    let first = id_of(&app.place(merchant, &order("blr")).await);
    assert_eq!(device.take_offer().await.job.orders[0].order, first);
    let second = id_of(&app.place(merchant, &order("blr")).await);
    let ahead = device.take_offer().await;
    assert_eq!(ahead.job.orders[0].order, second);
    // The way to the first one's door and back again is part of it.
    assert!(ahead.pickup_eta_ms > 2 * 300_000, "{ahead:?}");
    let (mut device, welcome) = Device::connect(&app, device.rider).await;
    let plan: Vec<Uuid> = welcome.plan.iter().map(|job| job.orders[0].order).collect();
    assert_eq!(plan, [first, second], "the first job first");
    for id in [first, second] {
        for (step, at) in [("picked_up", KITCHEN), ("delivered", DOOR)] {
            assert_eq!(device.progress(&app, id, step, at).await, step);
        }
    }
    assert_eq!(earned(app.db(), device.rider.into()).await.len(), 2);
    app.assert_consistent().await;
}

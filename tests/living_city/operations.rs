//! Operators act over REST, on the whole engine: audited, refused on an old picture, repeated without harm, also across a
//! restart and by the hundred.

use chrono::{TimeDelta, Utc};
use dispatch_engine::{
    clock::Clock,
    wire::{
        operator::OperatorDown,
        rider::{Down, DutyWish},
    },
};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::order_in_hand;
use crate::support::{
    TestApp,
    client::{Answer, answer},
    device::{Device, watch},
    spawn_app, spawn_app_with, token_for,
    world::{KITCHEN, id_of, order},
};

/// An operator of the city `blr`.
fn olga() -> String {
    token_for("operator", "olga", &["blr"])
}

async fn act(app: &TestApp, order: Uuid, action: &str, body: Value) -> Answer {
    act_under(app, order, action, body, &Uuid::new_v4().to_string()).await
}

async fn act_under(app: &TestApp, order: Uuid, action: &str, mut body: Value, key: &str) -> Answer {
    if body.get("reason").is_none() {
        body["reason"] = json!("as the shop asked");
    }
    let request = app.request(Method::POST, &format!("/v1/orders/{order}/{action}"), &olga());
    answer(request.header("Idempotency-Key", key).json(&body)).await
}

/// A running city with a waiting order, and nobody on duty.
async fn waiting() -> (TestApp, Uuid, Uuid) {
    let app = spawn_app().await;
    app.city("blr", json!({})).await;
    let merchant = app.merchant().await;
    let id = id_of(&app.place(merchant, &order("blr")).await);
    (app, merchant, id)
}

fn in_minutes(minutes: i64) -> Value {
    json!(Utc::now() + TimeDelta::minutes(minutes))
}

#[tokio::test]
async fn an_order_is_steered_by_hand_and_every_act_is_kept() {
    let (app, merchant, id) = waiting().await;
    let mut page = watch(&app, "blr").await;
    assert_eq!(act(&app, id, "hold", json!({ "until": in_minutes(30) })).await.ok(200)["version"], 2);
    let held = page.wait_for(|frame: &OperatorDown| match frame {
        OperatorDown::Snapshot(state) => state.orders.iter().find(|row| row.held_by.is_some()).cloned(),
        OperatorDown::Delta(delta) => delta.orders.iter().find(|row| row.held_by.is_some()).cloned(),
        _ => None,
    });
    let held = held.await;
    assert_eq!((held.held_by.as_deref(), held.waiting_for.as_deref()), (Some("olga"), Some("held")));
    assert_eq!(app.order(id).await["hold"]["reason"], "as the shop asked");
    let own = crate::support::token("merchant", &merchant.to_string());
    let seen = answer(app.request(Method::GET, &format!("/v1/orders/{id}"), &own)).await;
    assert_eq!(seen.ok(200).get("hold"), None, "who holds it, and why, is the operators' own");

    // A rider comes on duty and is not asked; the operator gives the order away by hand.
    let mut device = Device::on_duty(&app, "blr", KITCHEN).await;
    assert_eq!(act(&app, id, "priority", json!({ "priority": 2 })).await.ok(200)["version"], 3);
    let rider = device.rider;
    assert_eq!(act(&app, id, "assign", json!({ "rider_id": rider })).await.ok(200)["status"], "assigned");
    let told = device.wait_for(|down| match down {
        Down::Offer(_) => panic!("a held order was offered"),
        Down::OrderChanged { order, why, job: Some(_), .. } => Some((*order, why.clone())),
        _ => None,
    });
    assert_eq!(told.await, (id, "assigned_by_operator".to_owned()));

    let second = Device::on_duty(&app, "blr", KITCHEN).await;
    let moved = act(&app, id, "reassign", json!({ "rider_id": second.rider })).await;
    assert_eq!(moved.ok(200)["version"], 5);
    let lost = device.wait_for(|down| match down {
        Down::OrderChanged { why, job: None, .. } => Some(why.clone()),
        _ => None,
    });
    assert_eq!(lost.await, "reassigned");
    device.duty(DutyWish::Break).await;
    assert_eq!(act(&app, id, "unassign", json!({})).await.ok(200)["status"], "queued");
    act(&app, id, "hold", json!({ "until": in_minutes(600) })).await.problem(422, "bad_hold");
    act(&app, id, "hold", json!({ "until": in_minutes(30) })).await.ok(200);
    act(&app, id, "release", json!({})).await.ok(200);
    act(&app, id, "assign", json!({ "rider_id": rider })).await.problem(409, "rider_unavailable");
    act(&app, id, "cancel", json!({})).await.ok(200);
    act(&app, id, "hold", json!({ "until": in_minutes(30) })).await.problem(409, "order_ended");

    let acts = app.get(&format!("/v1/orders/{id}/audit")).await;
    let words: Vec<&str> = acts.ok(200).as_array().unwrap().iter().map(|act| act["action"].as_str().unwrap()).collect();
    assert_eq!(words, ["hold", "priority", "assign", "reassign", "unassign", "hold", "release", "cancel"]);
    let line = &acts.body[3];
    assert_eq!((&line["actor_id"], &line["rider_id"]), (&json!("olga"), &json!(second.rider)));
    assert_eq!(line["detail"]["from"], json!(rider));
    app.assert_consistent().await;
}

#[tokio::test]
async fn an_action_on_an_old_picture_is_refused_with_the_new_one() {
    let (app, merchant, _device, id) = order_in_hand().await;
    let seen = app.order(id).await["version"].as_i64().unwrap();
    let stale = act(&app, id, "unassign", json!({ "expected_version": seen - 1 })).await;
    let current = &stale.problem(409, "version_conflict")["current"];
    assert_eq!(current, &json!({ "status": "assigned", "version": seen }));
    let wrong = act(&app, id, "hold", json!({ "until": in_minutes(5), "expected_version": seen })).await;
    assert_eq!(wrong.problem(409, "wrong_status")["current"]["status"], "assigned");
    // A merchant may be as careful.
    let own = crate::support::token("merchant", &merchant.to_string());
    let cancel = |version: i64| {
        let body = json!({ "reason": "sold out", "expected_version": version });
        answer(app.request(Method::POST, &format!("/v1/orders/{id}/cancel"), &own).json(&body))
    };
    cancel(seen - 1).await.problem(409, "version_conflict");
    cancel(seen).await.ok(200);
}

#[tokio::test]
async fn a_repeated_request_gets_the_first_answer_also_from_the_next_engine() {
    let (app, merchant, id) = waiting().await;
    let own = crate::support::token("merchant", &merchant.to_string());
    let ready = json!({ "ready_at": in_minutes(20) });
    let hold = json!({ "until": in_minutes(30), "expected_version": 2, "reason": "a good one" });
    let cancel = json!({ "reason": "sold out" });
    let merchants = async |app: &TestApp, what: &str, body: &Value| {
        let request = app.request(Method::POST, &format!("/v1/orders/{id}/{what}"), &own);
        answer(request.header("Idempotency-Key", format!("m-{what}")).json(body)).await
    };
    let first = [
        merchants(&app, "ready", &ready).await,
        act_under(&app, id, "hold", hold.clone(), "o-hold").await,
        merchants(&app, "cancel", &cancel).await,
    ];
    assert_eq!(first.iter().map(|answer| answer.ok(200)["version"].as_i64().unwrap()).collect::<Vec<_>>(), [2, 3, 4]);
    assert!(first.iter().all(|answer| !answer.headers.contains_key("idempotent-replayed")));

    let mut app = app;
    for restarted in [false, true] {
        if restarted {
            app = spawn_app_with(app.stop().await, Clock::system(), |_| {}).await;
        }
        // The order has moved on, and ended; the answers are the first ones all the same.
        let again = [
            merchants(&app, "ready", &ready).await,
            act_under(&app, id, "hold", hold.clone(), "o-hold").await,
            merchants(&app, "cancel", &cancel).await,
        ];
        for (first, again) in first.iter().zip(&again) {
            assert_eq!((again.ok(200), &again.headers["idempotent-replayed"]), (&first.body, &"true".parse().unwrap()));
        }
        let other = json!({ "until": in_minutes(31), "reason": "another one" });
        act_under(&app, id, "hold", other, "o-hold").await.problem(422, "idempotency_key_reused");
        // The same body about another order is another request.
        let second = id_of(&app.place(merchant, &order("blr")).await);
        act_under(&app, second, "hold", hold.clone(), "o-hold").await.problem(422, "idempotency_key_reused");
    }
    assert_eq!(app.order(id).await["version"], 4);
    app.assert_consistent().await;
}

#[tokio::test]
async fn many_impatient_clicks_are_one_act() {
    let (app, _, id) = waiting().await;
    let until = in_minutes(30);
    let click = || act_under(&app, id, "hold", json!({ "until": until, "expected_version": 1 }), "impatient");
    let (a, b, c, d) = tokio::join!(click(), click(), click(), click());
    for answer in [a, b, c, d] {
        assert_eq!(answer.ok(200)["version"], 2);
    }
    assert_eq!(app.get(&format!("/v1/orders/{id}/audit")).await.body.as_array().unwrap().len(), 1);
}

#[tokio::test]
async fn a_bulk_action_that_fails_half_way() {
    let (app, merchant, first) = waiting().await;
    let mut ids = vec![first];
    for _ in 0..4 {
        ids.push(id_of(&app.place(merchant, &order("blr")).await));
    }
    let (moved, ended, unknown) = (ids[1], ids[3], Uuid::new_v4());
    act(&app, moved, "priority", json!({ "priority": 1 })).await.ok(200);
    act(&app, ended, "cancel", json!({})).await.ok(200);
    let orders: Vec<Value> =
        ids.iter().chain([&unknown]).map(|id| json!({ "id": id, "expected_version": 1 })).collect();
    let bulk = json!({ "action": "hold", "orders": orders, "reason": "the shop burns", "until": in_minutes(20) });
    let send = |body: Value| {
        let request = app.request(Method::POST, "/v1/cities/blr/orders/bulk", &olga());
        answer(request.header("Idempotency-Key", "fire").json(&body))
    };
    let outcome = send(bulk.clone()).await;
    let codes = |answer: &Answer| -> Vec<String> {
        let code = |result: &Value| result["problem"]["code"].as_str().unwrap_or("done").to_owned();
        answer.body["results"].as_array().unwrap().iter().map(code).collect()
    };
    assert_eq!((outcome.ok(207)["done"].as_u64(), outcome.body["failed"].as_u64()), (Some(3), Some(3)));
    assert_eq!(codes(&outcome), ["done", "version_conflict", "done", "order_ended", "done", "unknown_order"]);
    assert_eq!(outcome.body["results"][1]["problem"]["current"], json!({ "status": "queued", "version": 2 }));
    let order_of =
        |answer: &Answer| answer.body["results"].as_array().unwrap().iter().map(|r| r["id"].clone()).collect();
    let order: Vec<Value> = order_of(&outcome);
    assert_eq!(order[..5], ids.iter().map(|id| json!(id)).collect::<Vec<_>>());

    // The same again does nothing twice; what failed is tried again, and fails again.
    let again = send(bulk.clone()).await;
    assert_eq!(codes(&again), codes(&outcome));
    for (first, again) in
        outcome.body["results"].as_array().unwrap().iter().zip(again.body["results"].as_array().unwrap())
    {
        assert_eq!((&first["status"], &first["version"]), (&again["status"], &again["version"]));
        assert_eq!(again["replayed"], json!(again.get("problem").is_none()));
    }
    // The operator looks again, and says so: only what had failed is done now.
    let mut fresh = bulk.clone();
    fresh["orders"] = json!([{ "id": moved, "expected_version": 2 }]);
    assert_eq!(codes(&send(fresh).await), ["done"]);
    let mut other = bulk.clone();
    other["action"] = json!("release");
    assert_eq!(codes(&send(other).await)[0], "idempotency_key_reused");
    for id in [ids[0], ids[1], ids[2], ids[4]] {
        assert_eq!(app.order(id).await["hold"]["by"], "olga");
    }
    assert_eq!(app.order(ended).await.get("hold"), None);
    for bad in [
        json!({ "action": "hold", "orders": orders, "reason": "x" }),
        json!({ "action": "burn", "orders": orders, "reason": "x" }),
        json!({ "action": "release", "orders": [], "reason": "x" }),
        json!({ "action": "release", "orders": [orders[0], orders[0]], "reason": "x" }),
    ] {
        assert!(send(bad).await.status.is_client_error());
    }
    app.assert_consistent().await;
}

#[tokio::test]
async fn what_changed_nothing_changes_nothing_when_it_is_said_again() {
    let (app, _merchant, id) = waiting().await;
    let release = json!({ "reason": "a good one" });
    let first = act_under(&app, id, "release", release.clone(), "o-free").await;
    let version = first.ok(200)["version"].clone();
    act(&app, id, "hold", json!({ "until": in_minutes(30) })).await.ok(200);
    let again = act_under(&app, id, "release", release, "o-free").await;
    assert_eq!(
        (&again.ok(200)["version"], &again.headers["idempotent-replayed"]),
        (&version, &"true".parse().unwrap())
    );
    assert!(app.order(id).await["hold"].is_object(), "the hold of somebody else stands");
}

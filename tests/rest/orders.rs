//! Placing, reading and changing orders.

use dispatch_engine::{
    domain::{ids::OrderId, order::OrderStatus},
    engine::command::{Outcome, Refusal},
};
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    harness::{Rest, start},
    support::{
        client::{Answer, answer},
        token, token_for,
    },
};

async fn place(rest: &Rest, token: &str, key: &str, body: &Value) -> Answer {
    answer(rest.request(Method::POST, "/v1/orders", token).header("Idempotency-Key", key).json(body)).await
}

#[actix_web::test]
async fn an_order_is_placed_read_and_called_off() {
    let rest = start().await;
    let (merchant_id, merchant) = rest.merchant().await;
    let mut order = rest.new_order();
    order["external_ref"] = json!("A-17");
    order["metadata"] = json!({ "basket": [1, 2] });
    order["needs_tags"] = json!(["thermal_bag", "cod"]);
    let placed = rest.post("/v1/orders", &merchant, &order).await;
    let id = placed.ok(201)["id"].as_str().unwrap().to_owned();
    let location = format!("/v1/orders/{id}");
    assert_eq!((&placed.body["status"], &placed.body["version"]), (&json!("queued"), &json!(1)));
    assert_eq!(placed.headers["location"], location.as_str());

    let read = rest.get(&location, &merchant).await;
    let body = read.ok(200);
    assert_eq!(body["merchant_id"], json!(merchant_id));
    assert_eq!(body["external_ref"], "A-17");
    assert_eq!(body["metadata"], json!({ "basket": [1, 2] }));
    assert_eq!(body["needs_tags"], json!(["cod", "thermal_bag"]));
    // 3,000 and 800 per kilometre; a hundredth of a degree of latitude is 1.112 km.
    assert_eq!(body["payout"], json!({ "minor": 3_890, "currency": "INR" }));
    assert_eq!(body["events"][0]["kind"], "placed");

    let ready_at = chrono::Utc::now() + chrono::TimeDelta::minutes(20);
    let ready = rest.post(&format!("{location}/ready"), &merchant, &json!({ "ready_at": ready_at })).await;
    assert_eq!(ready.ok(200)["version"], 2);
    let far = json!({ "ready_at": "2999-01-01T00:00:00Z" });
    rest.post(&format!("{location}/ready"), &merchant, &far).await.problem(422, "invalid_field");
    let reason = json!({ "reason": "sold out" });
    rest.post(&format!("{location}/cancel"), &merchant, &json!({ "reason": " " })).await.problem(422, "invalid_field");
    assert_eq!(rest.post(&format!("{location}/cancel"), &merchant, &reason).await.ok(200)["status"], "cancelled");
    let again = rest.post(&format!("{location}/cancel"), &merchant, &reason).await;
    assert_eq!(again.ok(200)["status"], "cancelled", "who asks again gets the same answer");
    assert_eq!(rest.get(&location, &merchant).await.ok(200)["end_reason"], "sold out");
}

#[actix_web::test]
async fn a_repeated_request_gets_the_same_answer_and_another_one_is_refused() {
    let rest = start().await;
    let (_, merchant) = rest.merchant().await;
    let (key, order) = (Uuid::new_v4().to_string(), rest.new_order());
    let first = place(&rest, &merchant, &key, &order).await;
    first.ok(201);
    assert!(!first.headers.contains_key("idempotent-replayed"));
    let again = place(&rest, &merchant, &key, &order).await;
    assert_eq!((again.status, &again.body), (first.status, &first.body));
    assert_eq!(again.headers["idempotent-replayed"], "true");
    assert_eq!(again.headers["location"], first.headers["location"]);
    let mut other = order.clone();
    other["size_units"] = json!(2);
    place(&rest, &merchant, &key, &other).await.problem(422, "idempotency_key_reused");
    // A key belongs to its caller.
    let (_, neighbour) = rest.merchant().await;
    assert_ne!(place(&rest, &neighbour, &key, &other).await.ok(201)["id"], first.body["id"]);
    // The race that only the journal sees.
    rest.script.lock().unwrap().push_back(Some(Ok(Outcome::Replayed(first.body.clone()))));
    let raced = place(&rest, &merchant, "another-key", &order).await;
    assert_eq!((raced.ok(201), &raced.headers["idempotent-replayed"]), (&first.body, &"true".parse().unwrap()));
    for bad in ["", " ", "a b", &"x".repeat(129)] {
        place(&rest, &merchant, bad, &order).await.problem(400, "bad_idempotency_key");
    }
}

#[actix_web::test]
async fn goods_that_were_ready_before_are_ready_now() {
    let rest = start().await;
    let (_, merchant) = rest.merchant().await;
    let mut order = rest.new_order();
    order["ready_at"] = json!(chrono::Utc::now() - chrono::TimeDelta::days(6));
    order.as_object_mut().unwrap().remove("promise_at");
    let asked_at = chrono::Utc::now() - chrono::TimeDelta::seconds(1);
    let placed = rest.post("/v1/orders", &merchant, &order).await;
    let read = rest.get(&format!("/v1/orders/{}", placed.ok(201)["id"].as_str().unwrap()), &merchant).await;
    let ready_at: chrono::DateTime<chrono::Utc> = serde_json::from_value(read.ok(200)["ready_at"].clone()).unwrap();
    assert!((asked_at..=chrono::Utc::now()).contains(&ready_at), "{ready_at}");
    order["ready_at"] = json!(chrono::Utc::now() - chrono::TimeDelta::days(8));
    assert_eq!(rest.post("/v1/orders", &merchant, &order).await.problem(422, "invalid_field")["pointer"], "/ready_at");
}

#[actix_web::test]
async fn an_order_is_seen_by_those_it_concerns_only() {
    let rest = start().await;
    let (_, merchant) = rest.merchant().await;
    let (_, neighbour) = rest.merchant().await;
    let rider = Uuid::new_v4();
    let mut order = rest.new_order();
    order["contact"] = json!({ "name": "Asha", "phone": "+919876543210", "address": "12 Lake Road" });
    let placed = rest.post("/v1/orders", &merchant, &order).await;
    let id: Uuid = placed.ok(201)["id"].as_str().unwrap().parse().unwrap();
    let path = format!("/v1/orders/{id}");
    let rider_token = token("rider", &rider.to_string());

    for stranger in [&neighbour, &rider_token, &token_for("operator", "olga", &["elsewhere"])] {
        rest.get(&path, stranger).await.problem(404, "unknown_order");
    }
    rest.post(&format!("{path}/cancel"), &neighbour, &json!({ "reason": "x" })).await.problem(404, "unknown_order");
    rest.post(&format!("{path}/cancel"), &rider_token, &json!({ "reason": "x" })).await.problem(403, "wrong_role");
    for insider in [&merchant, &rest.admin(), &token_for("operator", "olga", &[&rest.city])] {
        assert!(rest.get(&path, insider).await.ok(200).get("contact").is_none(), "the contact is for the rider only");
    }
    let sealed: Vec<u8> = sqlx::query_scalar("SELECT sealed FROM order_contacts WHERE order_id = $1")
        .bind(id)
        .fetch_one(&rest.deps.db)
        .await
        .unwrap();
    assert!(!String::from_utf8_lossy(&sealed).contains("Asha"));

    let assign = "UPDATE orders SET rider_id = $2, status = $3 WHERE id = $1";
    sqlx::query(assign).bind(id).bind(rider).bind("assigned").execute(&rest.deps.db).await.unwrap();
    let seen = rest.get(&path, &rider_token).await;
    assert_eq!(seen.ok(200)["contact"], order["contact"]);
    sqlx::query(assign).bind(id).bind(rider).bind("delivered").execute(&rest.deps.db).await.unwrap();
    rest.get(&path, &rider_token).await.problem(404, "unknown_order");
}

#[actix_web::test]
async fn operators_place_for_a_merchant_who_must_be_active() {
    let rest = start().await;
    let (merchant, merchant_token) = rest.merchant().await;
    let olga = token_for("operator", "olga", &[&rest.city]);
    let missing = rest.post("/v1/orders", &olga, &rest.new_order()).await;
    assert_eq!(missing.problem(400, "missing_field")["pointer"], "/merchant_id");
    rest.post("/v1/orders", &olga, &rest.new_order_of(merchant)).await.ok(201);
    rest.post("/v1/orders", &olga, &rest.new_order_of(Uuid::new_v4())).await.problem(404, "unknown_merchant");
    let suspend = "UPDATE merchants SET status = 'SUSPENDED' WHERE id = $1";
    sqlx::query(suspend).bind(merchant).execute(&rest.deps.db).await.unwrap();
    rest.post("/v1/orders", &merchant_token, &rest.new_order()).await.problem(403, "merchant_suspended");
}

#[actix_web::test]
async fn an_order_that_ends_between_the_two_looks() {
    let rest = start().await;
    let (_, merchant) = rest.merchant().await;
    let id = rest.order(&merchant).await;
    let cancel = format!("/v1/orders/{id}/cancel");
    let reason = json!({ "reason": "late" });
    rest.script.lock().unwrap().extend([Some(Err(Refusal::UnknownOrder)), Some(Err(Refusal::PickedUp))]);
    rest.post(&cancel, &merchant, &reason).await.problem(404, "unknown_order");
    rest.post(&cancel, &merchant, &reason).await.problem(409, "picked_up");
    let wrong = Outcome::Order { order: OrderId(id), status: OrderStatus::Returning, version: 7 };
    rest.script.lock().unwrap().extend([Some(Ok(wrong)), Some(Ok(Outcome::Declined))]);
    assert_eq!(rest.post(&cancel, &merchant, &reason).await.ok(200)["status"], "returning");
    rest.post(&cancel, &merchant, &reason).await.problem(500, "internal_error");
}

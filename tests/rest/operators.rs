//! Who may step in, what a body must hold, and how a refusal looks. What operators do is tested on the whole engine.

use dispatch_engine::{
    domain::{order::OrderStatus, time::Timestamp},
    engine::command::{OperatorRefusal, Outcome, Refusal},
};
use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use crate::{
    harness::start,
    support::{client::answer, token, token_for},
};

const ACTIONS: [&str; 6] = ["assign", "reassign", "unassign", "hold", "release", "priority"];

fn body(action: &str) -> serde_json::Value {
    match action {
        "assign" | "reassign" => json!({ "reason": "x", "rider_id": Uuid::nil() }),
        "hold" => json!({ "reason": "x", "until": "2026-11-24T12:00:00Z" }),
        "priority" => json!({ "reason": "x", "priority": 1 }),
        _ => json!({ "reason": "x" }),
    }
}

#[actix_web::test]
async fn only_operators_of_the_city_step_in() {
    let rest = start().await;
    let (_, merchant) = rest.merchant().await;
    let id = rest.order(&merchant).await;
    let rider = token("rider", &Uuid::new_v4().to_string());
    let stranger = token_for("operator", "olga", &["elsewhere"]);
    for action in ACTIONS {
        let path = format!("/v1/orders/{id}/{action}");
        for wrong in [&merchant, &rider] {
            rest.post(&path, wrong, &body(action)).await.problem(403, "wrong_role");
        }
        rest.post(&path, &stranger, &body(action)).await.problem(404, "unknown_order");
        let mut bare = body(action);
        bare["reason"] = json!("  ");
        let refused = rest.post(&path, &rest.admin(), &bare).await;
        assert_eq!(refused.problem(422, "invalid_field")["pointer"], "/reason");
        bare.as_object_mut().unwrap().remove("reason");
        rest.post(&path, &rest.admin(), &bare).await.problem(400, "missing_field");
    }
    let beyond = json!({ "reason": "x", "priority": 3 });
    let refused = rest.post(&format!("/v1/orders/{id}/priority"), &rest.admin(), &beyond).await;
    assert_eq!(refused.problem(422, "invalid_field")["pointer"], "/priority");
    let audit = format!("/v1/orders/{id}/audit");
    for wrong in [&merchant, &rider] {
        rest.get(&audit, wrong).await.problem(403, "wrong_role");
    }
    rest.get(&audit, &stranger).await.problem(404, "unknown_order");
    assert_eq!(rest.get(&audit, &rest.admin()).await.ok(200), &json!([]));
    let bulk = format!("/v1/cities/{}/orders/bulk", rest.city);
    let many = json!({ "action": "release", "orders": [{ "id": id }], "reason": "x" });
    rest.post(&bulk, &stranger, &many).await.problem(403, "wrong_city");
    rest.post(&bulk, &merchant, &many).await.problem(403, "wrong_role");
}

#[actix_web::test]
async fn refusals_say_where_the_order_stands() {
    let rest = start().await;
    let (_, merchant) = rest.merchant().await;
    let path = format!("/v1/orders/{}/release", rest.order(&merchant).await);
    let status = OrderStatus::AtPickup;
    let refusals = [
        (Refusal::Moved { status, version: 6 }, 409, true),
        (Refusal::Operator(OperatorRefusal::WrongStatus { action: "release", status, version: 6 }), 409, true),
        (Refusal::Operator(OperatorRefusal::RiderBusy("x")), 409, false),
        (Refusal::Operator(OperatorRefusal::RiderUnavailable("x")), 409, false),
        (Refusal::Operator(OperatorRefusal::RiderUnfit("x")), 409, false),
        (
            Refusal::Operator(OperatorRefusal::HeldByOther { by: "pavel".into(), until: Timestamp::default() }),
            409,
            false,
        ),
        (Refusal::Operator(OperatorRefusal::BadHold { max_s: 60 }), 422, false),
    ];
    for (refusal, code, shows) in refusals {
        let name = refusal.code();
        rest.script.lock().unwrap().push_back(Some(Err(refusal)));
        let refused = rest.post(&path, &rest.admin(), &body("release")).await;
        let problem = refused.problem(code, name);
        assert_eq!(problem.get("current"), shows.then_some(&json!({ "status": "at_pickup", "version": 6 })));
    }
}

#[actix_web::test]
async fn a_replay_of_the_journal_is_a_good_answer() {
    let rest = start().await;
    let (_, merchant) = rest.merchant().await;
    let id = rest.order(&merchant).await;
    let first = json!({ "id": id, "status": "queued", "version": 4 });
    for path in ["release", "cancel"] {
        rest.script.lock().unwrap().push_back(Some(Ok(Outcome::Replayed(first.clone()))));
        let request = rest.request(Method::POST, &format!("/v1/orders/{id}/{path}"), &rest.admin());
        let raced = answer(request.header("Idempotency-Key", "k").json(&body("release"))).await;
        assert_eq!((raced.ok(200), &raced.headers["idempotent-replayed"]), (&first, &"true".parse().unwrap()));
    }
    for bad in ["a b", &"x".repeat(129)] {
        let request = rest.request(Method::POST, &format!("/v1/orders/{id}/release"), &rest.admin());
        answer(request.header("Idempotency-Key", bad).json(&body("release"))).await.problem(400, "bad_idempotency_key");
    }
}

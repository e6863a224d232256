//! Tokens and roles.

use reqwest::Method;
use serde_json::json;
use uuid::Uuid;

use dispatch_engine::{clock::Clock, http::auth::Tokens, wire::token::Claims};

use crate::{
    harness::start,
    support::{SECRET, client::answer, token, token_for},
};

#[actix_web::test]
async fn every_kind_of_wrong_token_has_its_code() {
    let rest = start().await;
    let now = Clock::wall().as_millis() / 1_000;
    let expired = Claims { sub: "ada".into(), role: "admin".into(), cities: vec![], iat: now - 900, exp: now - 600 };
    let claims = Claims { exp: now + 600, ..expired.clone() };
    let missing = answer(rest.client.get(format!("{}/v1/cities", rest.base))).await;
    missing.problem(401, "token_missing");
    assert_eq!(missing.headers["www-authenticate"], "Bearer realm=\"dispatch\"");
    let basic = rest.client.get(format!("{}/v1/cities", rest.base)).basic_auth("ada", Some("secret"));
    answer(basic).await.problem(401, "token_malformed");
    rest.get("/v1/cities", "not-a-token").await.problem(401, "token_malformed");
    rest.get("/v1/cities", &Tokens::new(SECRET.as_bytes()).issue(&expired)).await.problem(401, "token_expired");
    rest.get("/v1/cities", &Tokens::new(&[8; 32]).issue(&claims)).await.problem(401, "token_invalid");
    rest.get("/v1/cities", &token("merchant", "not-an-id")).await.problem(401, "token_invalid");
    rest.get("/v1/cities", &Tokens::new(SECRET.as_bytes()).issue(&claims)).await.ok(200);
}

#[actix_web::test]
async fn another_role_is_refused_by_every_route_it_may_not_use() {
    let rest = start().await;
    let id = Uuid::new_v4().to_string();
    let (rider, merchant) = (token("rider", &id), token("merchant", &id));
    let stranger = token_for("operator", "olga", &["elsewhere"]);
    let (city, order) = (rest.new_city(), rest.new_order());
    let snapshot = format!("/v1/cities/{}/snapshot", rest.city);
    let name = json!({ "name": "x" });
    let new_rider = json!({ "name": "x", "mobile": "+919876543210", "city": rest.city, "vehicle": "car" });
    for token in [&rider, &merchant, &stranger] {
        rest.post("/v1/cities", token, &city).await.problem(403, "wrong_role");
        rest.post("/v1/merchants", token, &name).await.problem(403, "wrong_role");
    }
    for token in [&rider, &merchant] {
        rest.get(&snapshot, token).await.problem(403, "wrong_role");
        rest.get(&format!("/v1/orders/{id}/explain"), token).await.problem(403, "wrong_role");
        rest.post("/v1/riders", token, &new_rider).await.problem(403, "wrong_role");
        rest.get(&format!("/v1/riders?city={}", rest.city), token).await.problem(403, "wrong_role");
    }
    rest.get(&snapshot, &stranger).await.problem(403, "wrong_city");
    rest.post("/v1/riders", &stranger, &new_rider).await.problem(403, "wrong_city");
    rest.post("/v1/orders", &stranger, &order).await.problem(403, "wrong_city");
    rest.get(&format!("/v1/orders?city={}", rest.city), &stranger).await.problem(403, "wrong_city");
    rest.get("/v1/orders", &stranger).await.problem(400, "bad_query");
    rest.post("/v1/orders", &rider, &order).await.problem(403, "wrong_role");
    rest.get("/v1/orders", &rider).await.problem(403, "wrong_role");
    rest.get("/v1/cities", &rider).await.problem(403, "wrong_role");
    rest.get(&format!("/v1/cities/{}", rest.city), &rider).await.problem(403, "wrong_role");
    rest.get(&format!("/v1/riders/{id}"), &merchant).await.problem(403, "wrong_role");
    let foreign = rest.new_order_of(Uuid::new_v4());
    rest.post("/v1/orders", &merchant, &foreign).await.problem(403, "wrong_role");
}

#[actix_web::test]
async fn metrics_can_ask_for_a_token() {
    let closed = dispatch_engine::http::Options { open_metrics: false, ..Default::default() };
    let rest = crate::harness::start_with(closed).await;
    let open = rest.client.get(format!("{}/metrics", rest.base));
    answer(open).await.problem(401, "token_missing");
    let rider = token("rider", &Uuid::new_v4().to_string());
    rest.get("/metrics", &rider).await.problem(403, "wrong_role");
    let text = rest.get("/metrics", &rest.admin()).await.ok(200).as_str().unwrap().to_owned();
    assert!(text.contains("dispatch_http_problems_total{code=\"token_missing\"} 1"), "{text}");
    assert!(text.contains("route=\"/v1/cities\""), "{text}");
    let request = rest.request(Method::DELETE, "/metrics", &rest.admin());
    assert_eq!(answer(request).await.headers["allow"], "GET, HEAD");
}

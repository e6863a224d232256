//! What a client can get wrong, and the code that each of it gets.

use dispatch_engine::{domain::order::OrderStatus, engine::command::Refusal, http::Options};
use reqwest::{Method, header::CONTENT_TYPE};
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use uuid::Uuid;

use crate::{
    harness::{Rest, start, start_with},
    support::client::answer,
};

/// An order with one field changed.
fn with(rest: &Rest, field: &str, value: Value) -> Value {
    let mut order = rest.new_order();
    order[field] = value;
    order
}

#[actix_web::test]
async fn bodies_that_cannot_be_read() {
    let rest = start().await;
    let (_, merchant) = rest.merchant().await;
    let raw = |text: &str| {
        let request = rest.request(Method::POST, "/v1/orders", &merchant);
        request.header(CONTENT_TYPE, "application/json; charset=utf-8").body(text.to_owned())
    };
    for broken in ["", "{", "{\"city\": }", "\u{0}"] {
        answer(raw(broken)).await.problem(400, "malformed_json");
    }
    answer(raw("[]")).await.problem(400, "wrong_type");
    answer(raw("7")).await.problem(400, "wrong_type");
    answer(raw(&"[".repeat(60_000))).await.problem(400, "wrong_type");
    let deep = format!("{{\"metadata\":{{\"a\":{}1{}}}}}", "[".repeat(5_000), "]".repeat(5_000));
    answer(raw(&deep)).await.problem(400, "malformed_json");
    answer(raw(&" ".repeat(70_000))).await.problem(413, "body_too_large");
    let text = rest.request(Method::POST, "/v1/orders", &merchant).body("city=x");
    answer(text).await.problem(415, "unsupported_media_type");
    rest.get("/health/ready", "").await.ok(200);
}

#[actix_web::test]
async fn a_body_that_never_arrives() {
    let rest = start_with(Options { body_deadline_ms: 50, ..Options::default() }).await;
    let mut socket = tokio::net::TcpStream::connect(rest.base.trim_start_matches("http://")).await.unwrap();
    let head = format!(
        "POST /v1/merchants HTTP/1.1\r\nHost: test\r\nAuthorization: Bearer {}\r\nContent-Type: application/json\r\n\
         Content-Length: 20\r\n\r\n{{\"name\":",
        rest.admin()
    );
    socket.write_all(head.as_bytes()).await.unwrap();
    let mut answer = vec![0; 4_096];
    let read = socket.read(&mut answer).await.unwrap();
    let answer = String::from_utf8_lossy(&answer[..read]).into_owned();
    assert!(answer.starts_with("HTTP/1.1 408 ") && answer.contains("\"body_timeout\""), "{answer}");
}

#[actix_web::test]
async fn fields_that_cannot_be_accepted() {
    let rest = start().await;
    let (_, merchant) = rest.merchant().await;
    let long = "x".repeat(201);
    let cases = [
        ("surprise", json!(1), 400, "unknown_field", "/surprise"),
        ("pickup", json!({"lat": "north", "lon": 1}), 400, "wrong_type", "/pickup/lat"),
        ("pickup", json!({"lon": 1}), 400, "missing_field", "/pickup"),
        ("pickup", json!({"lat": 90.5, "lon": 77.6}), 422, "out_of_world", "/pickup"),
        ("drop", json!({"lat": 12.9, "lon": -180.01}), 422, "out_of_world", "/drop"),
        ("drop", json!({"lat": 0, "lon": 0}), 422, "null_island", "/drop"),
        ("drop", json!({"lat": 12.9, "lon": 77.6, "hint": long}), 422, "invalid_field", "/drop/hint"),
        ("ready_at", json!("tomorrow"), 400, "wrong_type", "/ready_at"),
        ("ready_at", json!("2020-01-01T00:00:00Z"), 422, "invalid_field", "/ready_at"),
        ("promise_at", json!("2999-01-01T00:00:00Z"), 422, "invalid_field", "/promise_at"),
        ("size_units", json!(0), 422, "invalid_field", "/size_units"),
        ("size_units", json!(-1), 400, "wrong_type", "/size_units"),
        ("vehicle_need", json!("rocket"), 422, "invalid_field", "/vehicle_need"),
        ("needs_tags", json!(["Alcohol"]), 422, "invalid_field", "/needs_tags"),
        ("needs_tags", json!([1]), 400, "wrong_type", "/needs_tags/0"),
        ("cash_to_collect_minor", json!(-5), 422, "invalid_field", "/cash_to_collect_minor"),
        ("external_ref", json!(""), 422, "invalid_field", "/external_ref"),
        ("metadata", json!({ "x": "y".repeat(20_000) }), 422, "invalid_field", "/metadata"),
        ("metadata", json!({ "x": ["a", "b\u{0}"] }), 422, "invalid_field", "/metadata/x/1"),
        ("metadata", json!({ "x\u{0}": 1 }), 422, "invalid_field", "/metadata"),
        ("metadata", json!([]), 400, "wrong_type", "/metadata"),
        ("contact", json!({"name": "", "phone": "1"}), 422, "invalid_field", "/contact/name"),
        ("city", json!("atlantis"), 404, "unknown_city", "/city"),
        ("city", json!("No City!"), 404, "unknown_city", "/city"),
    ];
    for (field, value, status, code, pointer) in cases {
        let answer = rest.post("/v1/orders", &merchant, &with(&rest, field, value)).await;
        assert_eq!(answer.problem(status, code)["pointer"], pointer, "{}", answer.body);
    }
    // No value of a client's contact comes back.
    let secret = with(&rest, "contact", json!({"name": "Asha", "phone": 98_765, "address": "12 Lake Road"}));
    let answer = rest.post("/v1/orders", &merchant, &secret).await;
    assert_eq!(answer.problem(400, "wrong_type")["pointer"], "/contact/phone");
    let hours = |n| chrono::Utc::now() + chrono::TimeDelta::hours(n);
    let late = json!({"dispatch_at": hours(2), "promise_at": hours(1)});
    let mut order = rest.new_order();
    order.as_object_mut().unwrap().extend(late.as_object().unwrap().clone());
    assert_eq!(
        rest.post("/v1/orders", &merchant, &order).await.problem(422, "invalid_field")["pointer"],
        "/dispatch_at"
    );
}

#[actix_web::test]
async fn routes_paths_and_queries() {
    let rest = start().await;
    let admin = rest.admin();
    rest.get("/v1/nothing", &admin).await.problem(404, "no_such_route");
    let answer = answer(rest.request(Method::PUT, "/v1/orders", &admin)).await;
    answer.problem(405, "method_not_allowed");
    assert_eq!(answer.headers["allow"], "GET, HEAD, POST");
    rest.get("/v1/orders/not-an-id", &admin).await.problem(400, "bad_path");
    let id = Uuid::new_v4();
    rest.get(&format!("/v1/orders/{id}"), &admin).await.problem(404, "unknown_order");
    rest.get(&format!("/v1/riders/{id}"), &admin).await.problem(404, "unknown_rider");
    rest.get(&format!("/v1/merchants/{id}"), &admin).await.problem(404, "unknown_merchant");
    for code in ["atlantis", "No%20City", "%FF"] {
        rest.get(&format!("/v1/cities/{code}"), &admin).await.problem(404, "unknown_city");
    }
    rest.get("/v1/cities/atlantis/snapshot", &admin).await.problem(404, "unknown_city");
    for query in ["limit=0", "limit=201", "limit=x", "from=yesterday", "status=lost", "colour=red"] {
        rest.get(&format!("/v1/orders?{query}"), &admin).await.problem(400, "bad_query");
    }
    rest.get("/v1/orders?from=2026-02-01T00:00:00Z&to=2026-01-01T00:00:00Z", &admin).await.problem(400, "bad_query");
    for page in ["", "AAAA", "%F0", "next"] {
        let answer = rest.get(&format!("/v1/orders?page={page}"), &admin).await;
        answer.problem(400, "bad_page_token");
        rest.get(&format!("/v1/riders?city={}&page={page}", rest.city), &admin).await.problem(400, "bad_page_token");
    }
}

#[actix_web::test]
async fn what_a_city_refuses() {
    let rest = start_with(Options { ask_ms: 50, ..Options::default() }).await;
    let (_, merchant) = rest.merchant().await;
    let cases = [
        (Refusal::OutsideCity("drop"), 422, "outside_city", None),
        (Refusal::CityPaused, 503, "city_paused", Some("60")),
        (Refusal::CityFull("orders"), 503, "city_full", Some("30")),
        (Refusal::StorageBusy, 503, "storage_busy", Some("1")),
        (Refusal::Fenced, 503, "city_moved", Some("5")),
        (Refusal::DuplicateRef(Uuid::nil().into()), 409, "external_ref_taken", None),
        (Refusal::KeyReused, 422, "idempotency_key_reused", None),
        (Refusal::Invalid("SELECT secret".into()), 422, "storage_refused", None),
        (Refusal::OrderEnded(OrderStatus::Expired), 409, "order_ended", None),
        (Refusal::Superseded, 500, "internal_error", None),
    ];
    for (refusal, status, code, retry) in cases {
        rest.script.lock().unwrap().push_back(Some(Err(refusal)));
        let answer = rest.post("/v1/orders", &merchant, &rest.new_order()).await;
        answer.problem(status, code);
        assert_eq!(answer.headers.get("retry-after").map(|after| after.to_str().unwrap()), retry);
        assert!(!answer.body.to_string().contains("secret"));
    }
    rest.script.lock().unwrap().push_back(None);
    rest.post("/v1/orders", &merchant, &rest.new_order()).await.problem(504, "city_deadline");
    // None of it is silent.
    let figures = rest.get("/metrics", &merchant).await.body.as_str().unwrap().to_owned();
    for code in ["outside_city", "city_paused", "city_deadline", "storage_refused"] {
        assert!(figures.contains(&format!("dispatch_http_problems_total{{code=\"{code}\"}} 1")), "{code}");
    }
}

#[actix_web::test]
async fn a_city_that_is_down_and_a_full_one() {
    use dispatch_engine::actors::router::Slot;
    let rest = start().await;
    let (_, merchant) = rest.merchant().await;
    let code = dispatch_engine::domain::ids::CityCode::parse(&rest.city).unwrap();
    rest.deps.router.put(code, Slot::Down("starting"));
    let answer = rest.post("/v1/orders", &merchant, &rest.new_order()).await;
    answer.problem(503, "city_unavailable");
    assert_eq!(answer.headers["retry-after"], "5");
    let ready = rest.get("/health/ready", "").await;
    assert_eq!(ready.ok(503)["cities"][&rest.city], "starting");
    rest.get("/health/live", "").await.ok(200);
}

#[actix_web::test]
async fn a_database_that_is_away() {
    let rest = start().await;
    let admin = rest.admin();
    rest.deps.db.close().await;
    let answer = rest.get("/v1/cities", &admin).await;
    answer.problem(503, "storage_unavailable");
    assert_eq!(answer.headers["retry-after"], "5");
    assert_eq!(rest.get("/health/ready", "").await.ok(503)["database"], "down");
    rest.get("/health/live", "").await.ok(200);
}

#[actix_web::test]
async fn an_app_that_stops_takes_no_new_requests() {
    let rest = start().await;
    let (_, merchant) = rest.merchant().await;
    rest.stop.send_replace(true);
    for path in ["/v1/orders", "/v1/nowhere"] {
        let refused = rest.post(path, &merchant, &rest.new_order()).await;
        refused.problem(503, "server_stopping");
        assert_eq!(refused.headers["retry-after"], "5");
        assert_eq!(refused.headers["connection"], "close");
    }
    // Whoever watches the process goes on.
    assert_eq!(rest.get("/health/live", "none").await.headers["connection"], "close");
    let figures = rest.get("/metrics", &rest.admin()).await;
    assert!(figures.ok(200).as_str().unwrap().contains(r#"dispatch_http_problems_total{code="server_stopping"} 2"#));
}

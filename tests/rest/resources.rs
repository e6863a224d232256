//! Cities, merchants, riders, the clock, health and the document.

use dispatch_engine::domain::ids::RiderId;
use reqwest::Method;
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{
    harness::start,
    support::{client::answer, token, token_for},
};

#[actix_web::test]
async fn a_city_is_added_and_changed_and_its_policy_counted() {
    let rest = start().await;
    let (admin, mut city) = (rest.admin(), rest.new_city());
    let same = rest.post("/v1/cities", &admin, &city).await;
    assert_eq!(same.ok(200)["policy_version"], 1, "saying the same thing again is no new policy");
    city["policy"] = json!({ "offer_ttl_s": 20 });
    city["pay_base_minor"] = json!(4_000);
    city["status"] = json!("paused");
    let changed = rest.post("/v1/cities", &admin, &city).await;
    let body = changed.ok(200);
    assert_eq!((&body["policy_version"], &body["status"]), (&json!(2), &json!("paused")));
    assert_eq!((&body["policy"]["offer_ttl_s"], &body["policy"]["candidates"]), (&json!(20), &json!(16)));
    assert_eq!(body["boundary"].as_array().unwrap().len(), 5, "the ring is closed");

    let read = rest.get(&format!("/v1/cities/{}", rest.city), &token_for("operator", "olga", &[&rest.city])).await;
    assert_eq!(read.ok(200), &changed.body);
    let listed = rest.get("/v1/cities", &token_for("operator", "olga", &[&rest.city])).await;
    assert_eq!(listed.ok(200), &json!([changed.body]));
    let (_, merchant) = rest.merchant().await;
    assert!(rest.get("/v1/cities", &merchant).await.ok(200).as_array().unwrap().contains(&changed.body));
    let placed = rest.post("/v1/orders", &merchant, &rest.new_order()).await;
    let order = rest.get(&format!("/v1/orders/{}", placed.ok(201)["id"].as_str().unwrap()), &merchant).await;
    assert_eq!(order.ok(200)["payout"]["minor"], 4_890);

    let snapshot = rest.get(&format!("/v1/cities/{}/snapshot", rest.city), &admin).await;
    assert_eq!(
        (&snapshot.ok(200)["counts"]["orders_waiting"], &snapshot.body["clock_speed"]),
        (&json!(3), &json!(1.0))
    );
}

#[actix_web::test]
async fn a_city_that_makes_no_sense_is_refused() {
    let rest = start().await;
    let cases = [
        ("code", json!("Bad Code"), "/code"),
        ("name", json!(""), "/name"),
        ("status", json!("asleep"), "/status"),
        ("time_zone", json!("Mars/Olympus"), "/time_zone"),
        ("currency", json!("rupee"), "/currency"),
        ("day_cutover_min", json!(1_440), "/day_cutover_min"),
        ("pay_base_minor", json!(-1), "/pay_base_minor"),
        ("boundary", json!([{"lat": 1, "lon": 1}, {"lat": 2, "lon": 2}]), "/boundary"),
        ("policy", json!({ "radius_steps_m": [] }), "/policy/radius_steps_m"),
        ("policy", json!({ "pings": { "max_age_s": 1 } }), "/policy/pings/max_age_s"),
        ("policy", json!({ "pings": { "still_after_s": u32::MAX } }), "/policy/pings/still_after_s"),
    ];
    for (field, value, pointer) in cases {
        let mut city = rest.new_city();
        city[field] = value;
        let answer = rest.post("/v1/cities", &rest.admin(), &city).await;
        assert_eq!(answer.problem(422, "invalid_field")["pointer"], pointer);
    }
    let mut city = rest.new_city();
    city["policy"] = json!({ "pings": { "speling": 1 } });
    let answer = rest.post("/v1/cities", &rest.admin(), &city).await;
    assert_eq!(answer.problem(400, "unknown_field")["pointer"], "/policy/pings/speling");
    city["policy"] = json!({ "offer_ttl_s": "long" });
    let answer = rest.post("/v1/cities", &rest.admin(), &city).await;
    assert_eq!(answer.problem(400, "wrong_type")["pointer"], "/policy/offer_ttl_s");
    let mut city = rest.new_city();
    city["boundary"][2] = json!({ "lat": 95, "lon": 1 });
    let answer = rest.post("/v1/cities", &rest.admin(), &city).await;
    assert_eq!(answer.problem(422, "out_of_world")["pointer"], "/boundary/2");
}

fn mobile() -> String {
    format!("+91{:010}", Uuid::new_v4().as_u128() % 10_000_000_000)
}

#[actix_web::test]
async fn riders_are_added_once_and_read_by_those_who_may() {
    let rest = start().await;
    let olga = token_for("operator", "olga", &[&rest.city]);
    let mut new = json!({ "name": "Ravi", "mobile": mobile(), "city": rest.city, "vehicle": "bicycle" });
    new["tags"] = json!(["thermal_bag", "cod"]);
    let added = rest.post("/v1/riders", &olga, &new).await;
    assert_eq!((&added.ok(201)["kyc_status"], &added.body["duty"]), (&json!("PENDING"), &json!("OFF")));
    assert_eq!(added.body["tags"], json!(["cod", "thermal_bag"]));
    let id = added.body["id"].as_str().unwrap();
    let path = format!("/v1/riders/{id}");
    for reader in [&olga, &rest.admin(), &token("rider", id)] {
        assert_eq!(rest.get(&path, reader).await.ok(200), &added.body);
    }
    let others = [token("rider", &Uuid::new_v4().to_string()), token_for("operator", "otto", &["elsewhere"])];
    for other in others {
        rest.get(&path, &other).await.problem(404, "unknown_rider");
    }
    assert_eq!(rest.post("/v1/riders", &olga, &new).await.problem(409, "mobile_taken")["pointer"], "/mobile");

    let with = |field: &str, value: Value| {
        let mut rider = json!({ "name": "Ravi", "mobile": mobile(), "city": rest.city, "vehicle": "bicycle" });
        rider[field] = value;
        rider
    };
    rest.post("/v1/riders", &olga, &with("kyc_status", json!("APPROVED"))).await.problem(403, "wrong_role");
    let approved = rest.post("/v1/riders", &rest.admin(), &with("kyc_status", json!("APPROVED"))).await;
    assert_eq!(approved.ok(201)["kyc_status"], "APPROVED");
    rest.post("/v1/riders", &rest.admin(), &with("city", json!("atlantis"))).await.problem(404, "unknown_city");
    let cases = [
        ("mobile", json!("12345")),
        ("vehicle", json!("rocket")),
        ("capacity_units", json!(0)),
        ("tags", json!(["thermal bag"])),
        ("tags", json!(["a", "b", "c", "d", "e", "f", "g", "h", "i"])),
    ];
    for (field, value) in cases {
        let answer = rest.post("/v1/riders", &olga, &with(field, value)).await;
        assert_eq!(answer.problem(422, "invalid_field")["pointer"], format!("/{field}"));
    }

    let first = rest.get(&format!("/v1/riders?city={}&limit=1", rest.city), &olga).await;
    assert_eq!(first.ok(200)["riders"], json!([approved.body]));
    let next = first.body["next"].as_str().unwrap();
    let second = rest.get(&format!("/v1/riders?city={}&limit=1&page={next}", rest.city), &olga).await;
    assert_eq!(second.ok(200), &json!({ "riders": [added.body] }));
    let rider = id.parse().unwrap();
    let nobody = RiderId(Uuid::new_v4());
    let stored = dispatch_engine::store::riders::profiles(&rest.deps.db, &[rider, nobody, rider]).await.unwrap();
    let (profile, duty) = stored[&rider].as_ref().unwrap();
    assert_eq!(duty.duty.as_str(), "OFF");
    assert_eq!((profile.city.as_str(), profile.may_work(), stored.len()), (rest.city.as_str(), false, 1));
}

#[actix_web::test]
async fn a_merchant_reads_itself() {
    let rest = start().await;
    let (id, merchant) = rest.merchant().await;
    let (_, neighbour) = rest.merchant().await;
    let path = format!("/v1/merchants/{id}");
    let expected = json!({ "id": id, "name": "Dosa Corner", "status": "ACTIVE" });
    assert_eq!(rest.get(&path, &merchant).await.ok(200), &expected);
    rest.get(&path, &neighbour).await.problem(404, "unknown_merchant");
    let long = json!({ "name": "x".repeat(201) });
    rest.post("/v1/merchants", &rest.admin(), &long).await.problem(422, "invalid_field");
}

#[actix_web::test]
async fn what_needs_no_token() {
    let rest = start().await;
    let get = async |path: &str| answer(rest.client.get(format!("{}{path}", rest.base))).await;
    let clock = get("/v1/clock").await;
    assert_eq!(clock.ok(200)["speed"], 1.0);
    assert!(clock.body["now"].as_i64().unwrap() > 1_700_000_000_000);
    get("/health/live").await.ok(200);
    let ready = get("/health/ready").await;
    assert_eq!(ready.ok(200)["database"], "up");
    assert_eq!(ready.body["cities"][&rest.city], "running");
    assert_eq!(ready.body["cache"], "in_process");
    let document = get("/openapi.json").await;
    assert!(document.ok(200)["paths"]["/v1/orders"]["post"].is_object());
    assert_eq!(document.body["components"]["securitySchemes"]["bearer"]["scheme"], "bearer");
    assert!(document.body["components"]["schemas"]["Problem"].is_object());
    let figures = get("/metrics").await;
    assert!(figures.ok(200).as_str().unwrap().contains("dispatch_http_request_seconds_count"));
}

#[actix_web::test]
async fn head_is_get_without_the_body() {
    let rest = start().await;
    let of = |method: Method, path: &str| answer(rest.request(method, path, &rest.admin()));
    let (city, nobody) = (format!("/v1/cities/{}", rest.city), format!("/v1/riders/{}", Uuid::new_v4()));
    for (path, status) in
        [("/health/live", 200), ("/health/ready", 200), (&*city, 200), (&*nobody, 404), ("/nowhere", 404)]
    {
        let (head, get) = (of(Method::HEAD, path).await, of(Method::GET, path).await);
        assert_eq!((head.status.as_u16(), get.status.as_u16()), (status, status), "{path}");
        assert_eq!((&head.body, get.body.is_null()), (&serde_json::Value::Null, false), "{path}");
        for header in ["content-type", "content-length", "vary"] {
            assert_eq!(head.headers.get(header), get.headers.get(header), "{header} of {path}");
        }
    }
    // Its length changes from one to the next.
    let head = of(Method::HEAD, "/metrics").await;
    assert_eq!((head.status.as_u16(), head.body.is_null()), (200, true));
    assert!(head.headers["content-type"].to_str().unwrap().starts_with("text/plain"));
    let figures = of(Method::GET, "/metrics").await;
    let counted = r#"dispatch_http_request_seconds_count{method="HEAD",route="/health/live",status="2xx"} 1"#;
    assert!(figures.body.as_str().unwrap().contains(counted));
    // Where nothing can be read, nothing can be asked about.
    assert_eq!(of(Method::HEAD, "/v1/merchants").await.status, 405);
    let document = of(Method::GET, "/openapi.json").await;
    assert!(document.body["paths"]["/health/live"].get("head").is_none());
}

#[actix_web::test]
async fn the_document_names_the_bounds_of_what_is_asked() {
    let rest = start().await;
    let document = rest.get("/openapi.json", "").await;
    let of = |path: &str| &document.ok(200)["paths"][path]["get"];
    let schema = |path: &str, name: &str| {
        let parameters = of(path)["parameters"].as_array().unwrap();
        let parameter = parameters.iter().find(|parameter| parameter["name"] == name);
        parameter.unwrap_or_else(|| panic!("{path} has no {name}"))["schema"].clone()
    };
    let (track, nearby) = ("/v1/riders/{id}/track", "/v1/cities/{code}/riders/nearby");
    let bounds = |schema: &serde_json::Value| (schema["minimum"].as_f64(), schema["maximum"].as_f64());
    assert_eq!(bounds(&schema(track, "gap_s")), (Some(1.0), Some(86_400.0)));
    assert_eq!(bounds(&schema(nearby, "limit")), (Some(1.0), Some(100.0)));
    assert_eq!(bounds(&schema(nearby, "lat")), (Some(-90.0), Some(90.0)));
    // Its greatest value is configured.
    assert_eq!(bounds(&schema(track, "limit")), (Some(1.0), None));
    assert_eq!(schema(track, "simplify_m")["exclusiveMinimum"].as_f64(), Some(0.0));
    assert_eq!(schema(nearby, "radius_m")["exclusiveMinimum"].as_f64(), Some(0.0));
    assert_eq!(schema(track, "format")["enum"], serde_json::json!(["json", "geojson"]));
    let vehicles = serde_json::json!(["walking", "bicycle", "motorcycle", "car"]);
    assert_eq!(schema(nearby, "vehicle")["enum"], vehicles);
    let optional = |path: &str, name: &str| {
        of(path)["parameters"].as_array().unwrap().iter().any(|it| it["name"] == name && it["required"] == false)
    };
    assert!(optional(track, "format") && optional(nearby, "vehicle"));
    for path in [track, nearby, "/v1/riders/{id}/location"] {
        assert!(of(path)["responses"]["429"]["headers"]["Retry-After"].is_object(), "{path}");
    }
}

#[actix_web::test]
async fn a_request_keeps_a_harmless_id_of_its_client() {
    let rest = start().await;
    let send = async |id: &str| {
        let request = rest.request(Method::GET, "/health/live", "").header("x-request-id", id);
        answer(request).await.headers["x-request-id"].to_str().unwrap().to_owned()
    };
    assert_eq!(send("trace-1.a_b").await, "trace-1.a_b");
    assert_eq!(send("no\tgood").await.len(), 36);
    assert_eq!(send(&"x".repeat(65)).await.len(), 36);
}

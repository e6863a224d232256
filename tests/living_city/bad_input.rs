//! What clients send wrongly gets its documented code and hurts nobody else.

use dispatch_engine::wire::{
    LatLon,
    rider::{Down, DutyWish, Ping, SUBPROTOCOL_JSON, Up},
};
use reqwest::StatusCode;
use serde_json::json;
use tokio_tungstenite::tungstenite::Error;
use uuid::Uuid;

use crate::support::{
    device::{Device, Socket},
    spawn_app, token,
    world::{DOOR, ELSEWHERE, KITCHEN, id_of, order},
};

fn error_code(down: &Down) -> Option<String> {
    match down {
        Down::Error { code, .. } => Some(code.clone()),
        _ => None,
    }
}

#[tokio::test]
async fn a_socket_takes_only_a_riders_token() {
    let app = spawn_app().await;
    app.city("blr", json!({})).await;
    let rider = Uuid::new_v4().to_string();
    for (bearer, status) in
        [("nonsense".to_owned(), 401), (token("operator", "olga"), 403), (token("merchant", &rider), 403)]
    {
        match Socket::open(app.address, "/v1/rider/socket", &bearer, SUBPROTOCOL_JSON).await {
            Err(Error::Http(response)) => assert_eq!(response.status().as_u16(), status),
            other => panic!("let in: {:?}", other.map(|_| ())),
        }
    }
}

#[tokio::test]
async fn bad_frames_are_refused_and_the_session_and_its_neighbour_live_on() {
    let app = spawn_app().await;
    app.city("blr", json!({})).await;
    let (mut neighbour, _) = Device::connect(&app, app.rider("blr").await).await;
    let (mut device, _) = Device::connect(&app, app.rider("blr").await).await;
    for text in ["{", "[]", r#"{"type":"unknown"}"#, r#"{"type":"duty","id":"1","state":"asleep"}"#] {
        device.socket.send_text(text).await;
        let code = device.wait_for(error_code).await;
        assert!(!code.is_empty());
    }
    device.duty(DutyWish::On).await;
    neighbour.duty(DutyWish::On).await;
}

#[tokio::test]
async fn impossible_positions_are_refused_one_by_one() {
    let app = spawn_app().await;
    app.city("blr", json!({})).await;
    let (mut device, _) = Device::connect(&app, app.rider("blr").await).await;
    device.duty(DutyWish::On).await;
    let now = app.clock.now().as_millis();
    let ping = |seq, at, lat, lon| Ping {
        seq,
        at,
        lat,
        lon,
        accuracy_m: None,
        speed_mps: None,
        heading_deg: None,
        mock: false,
    };
    let pings = vec![
        ping(1, now, 91.0, 0.0),
        ping(2, now, 0.0, 0.0),
        ping(3, now + 3_600_000, KITCHEN.lat, KITCHEN.lon),
        ping(4, now, KITCHEN.lat, KITCHEN.lon),
    ];
    device.send(&Up::Pings { pings, oldest: None, sent_at: None }).await;
    let mut refused = Vec::new();
    let all = |down: &Down| match down {
        Down::PingsAck { received_to, refused: some, .. } => {
            refused.extend(some.iter().map(|one| (one.seq, one.reason.clone())));
            (*received_to >= 4).then_some(())
        }
        _ => None,
    };
    device.wait_for(all).await;
    let wanted = [(1, "out_of_world"), (2, "null_island"), (3, "future")];
    assert_eq!(refused, wanted.map(|(seq, reason)| (seq, reason.to_owned())));
}

#[tokio::test]
async fn steps_out_of_order_or_of_others_are_refused() {
    let app = spawn_app().await;
    app.city("blr", json!({})).await;
    let merchant = app.merchant().await;
    let (mut other, _) = Device::connect(&app, app.rider("blr").await).await;
    let mut device = Device::on_duty(&app, "blr", KITCHEN).await;
    let id = id_of(&app.place(merchant, &order("blr")).await);
    device.take_offer().await;
    assert_eq!(device.progress(&app, id, "delivered", DOOR).await, "illegal_step");
    assert_eq!(other.progress(&app, id, "at_pickup", KITCHEN).await, "not_your_order");
    assert_eq!(device.progress(&app, Uuid::now_v7(), "at_pickup", KITCHEN).await, "unknown_order");
    assert_eq!(device.progress(&app, id, "at_pickup", KITCHEN).await, "at_pickup");
    app.assert_consistent().await;
}

#[tokio::test]
async fn orders_outside_every_city_and_unknown_cities_are_refused() {
    let app = spawn_app().await;
    app.city("blr", json!({})).await;
    let merchant = app.merchant().await;
    let mut outside = order("blr");
    outside.drop.lat = ELSEWHERE.lat;
    outside.drop.lon = ELSEWHERE.lon;
    let refused = app.place(merchant, &outside).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::UNPROCESSABLE_ENTITY, "outside_city"));
    let refused = app.place(merchant, &order("nowhere")).await;
    assert_eq!((refused.status, refused.code()), (StatusCode::NOT_FOUND, "unknown_city"));
}

#[tokio::test]
async fn a_newer_session_takes_over() {
    let app = spawn_app().await;
    app.city("blr", json!({})).await;
    let rider = app.rider("blr").await;
    let (mut old, _) = Device::connect(&app, rider).await;
    let (mut new, _) = Device::connect(&app, rider).await;
    let bye = |down: &Down| match down {
        Down::Bye { why, reconnect_after_ms } => Some((why.clone(), *reconnect_after_ms)),
        _ => None,
    };
    // No time to come back: two phones would evict each other for ever.
    assert_eq!(old.wait_for(bye).await, ("taken_over".to_owned(), None));
    new.duty(DutyWish::On).await;
    new.ping(&app, LatLon { lat: KITCHEN.lat, lon: KITCHEN.lon }).await;
}

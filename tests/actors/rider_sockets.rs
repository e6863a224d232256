//! Devices on real sockets, with a city that is played.

use std::time::Duration;

use dispatch_engine::{
    actors::{rider_session::Options, router::Slot},
    clock::Clock,
    domain::{
        ids::{OfferId, OrderId, RiderId},
        order::{OfferState, OrderStatus},
    },
    engine::{command::Command, effect::Notice},
    store::rider_devices,
    wire::rider::SUBPROTOCOL_JSON,
};
use serde_json::{Value, json};
use tokio::net::TcpStream;
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

use crate::{played_city::Stage, support::device::Socket};

/// A device that says exactly what a test wants.
struct Device {
    socket: Socket,
    boot: Uuid,
}

impl Device {
    /// A connection with a small receive buffer, so that one who never reads is noticed soon.
    async fn connect(stage: &Stage, rider: RiderId) -> Self {
        let stream = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        stream.set_recv_buffer_size(4_096).unwrap();
        stream.connect(&stage.address.into()).unwrap();
        stream.set_nonblocking(true).unwrap();
        let stream = TcpStream::from_std(stream.into()).unwrap();
        let socket = Socket::over(stream, &format!("/rider/{rider}"), "none", SUBPROTOCOL_JSON).await.unwrap();
        Self { socket, boot: Uuid::new_v4() }
    }

    /// One that has been welcomed.
    async fn live(stage: &Stage, rider: RiderId) -> Self {
        let mut device = Self::connect(stage, rider).await;
        device.hello().await;
        assert_eq!(device.next().await["type"], "welcome");
        device
    }

    async fn send(&mut self, frame: Value) {
        self.socket.send_text(frame.to_string()).await;
    }

    async fn hello(&mut self) {
        let (boot, at) = (self.boot, Clock::wall().as_millis());
        self.send(
            json!({"type": "hello", "device_id": "d", "app_version": "1", "boot_id": boot, "mono_ms": 1, "at": at}),
        )
        .await;
    }

    /// The next frame; null when the connection was closed.
    async fn next(&mut self) -> Value {
        self.socket.next_frame().await.unwrap_or_default()
    }

    async fn error_for(&mut self, message: Message) -> String {
        self.socket.send(message).await;
        let frame = self.next().await;
        assert_eq!(frame["type"], "error", "{frame}");
        frame["code"].as_str().unwrap().to_owned()
    }
}

#[actix_web::test]
async fn wrong_frames_get_their_codes_and_harm_nobody() {
    let stage = Stage::with(Options { max_frame_bytes: 2_000, ..Options::default() }).await;
    let (one, two) = (stage.rider().await, stage.rider().await);
    let mut neighbour = Device::live(&stage, two).await;
    let mut device = Device::connect(&stage, one).await;
    assert_eq!(device.error_for(Message::text(r#"{"type":"pings","pings":[]}"#)).await, "hello_first");
    device.hello().await;
    let welcome = device.next().await;
    assert_eq!((&welcome["duty"], &welcome["city"]), (&json!("ON"), &json!(stage.code.as_str())));

    assert_eq!(device.error_for(Message::text("{nonsense")).await, "malformed_frame");
    assert_eq!(device.error_for(Message::text(r#"{"type":"dance"}"#)).await, "unknown_type");
    assert_eq!(device.error_for(Message::binary(vec![1, 2, 3])).await, "binary_not_supported");
    assert_eq!(device.error_for(Message::text("x".repeat(2_001))).await, "frame_too_large");
    assert_eq!(device.error_for(Message::text("x".repeat(300_000))).await, "frame_too_large");
    let order = Uuid::new_v4();
    let leap = json!({"type": "progress", "id": "1", "order": order, "step": "leap", "at": 0});
    assert_eq!(device.error_for(Message::text(leap.to_string())).await, "unknown_step");
    let offer = json!({"type": "offer_accept", "id": "2", "offer": Uuid::new_v4()});
    assert_eq!(device.error_for(Message::text(offer.to_string())).await, "unknown_offer");

    for session in [&mut device, &mut neighbour] {
        session.send(json!({"type": "duty", "id": "d", "state": "break"})).await;
        let answer = session.next().await;
        assert_eq!((&answer["re"], &answer["duty"]), (&json!("d"), &json!("BREAK")));
    }
    let figures = stage.metrics.render().unwrap();
    assert!(figures.contains(r#"dispatch_rider_refused_frames_total{reason="frame_too_large"} 2"#), "{figures}");
    assert!(figures.contains("dispatch_rider_sessions 2"));
}

#[actix_web::test]
async fn too_many_wrong_frames_end_the_session() {
    let stage = Stage::with(Options { max_bad_frames: 2, ..Options::default() }).await;
    let mut device = Device::live(&stage, stage.rider().await).await;
    assert_eq!(device.error_for(Message::text("1")).await, "malformed_frame");
    device.send(json!(2)).await;
    let bye = device.next().await;
    assert_eq!((&bye["type"], &bye["why"]), (&json!("bye"), &json!("too_many_bad_frames")));
    assert_eq!(device.next().await, Value::Null);
    stage.until("disconnect", |seen| matches!(seen.commands.last(), Some(Command::Disconnect { .. }))).await;
}

#[actix_web::test]
async fn a_repeated_request_reaches_the_city_once() {
    let stage = Stage::new().await;
    let mut device = Device::live(&stage, stage.rider().await).await;
    let request = json!({"type": "progress", "id": "p1", "order": Uuid::new_v4(), "step": "at_pickup", "at": 0});
    device.send(request.clone()).await;
    device.send(request.clone()).await;
    let first = device.next().await;
    assert_eq!((&first["type"], &first["re"], &first["version"]), (&json!("order_changed"), &json!("p1"), &json!(4)));
    assert_eq!(device.next().await, first);
    device.send(request).await;
    assert_eq!(device.next().await, first);
    assert_eq!(stage.seen().commands.len(), 1);
}

#[actix_web::test]
async fn a_newer_session_takes_over_and_the_older_one_stays_away() {
    let stage = Stage::new().await;
    let rider = stage.rider().await;
    let mut older = Device::live(&stage, rider).await;
    let mut newer = Device::live(&stage, rider).await;
    assert_eq!(older.next().await, json!({"type": "bye", "why": "taken_over"}));
    assert_eq!(older.next().await, Value::Null);
    newer.send(json!({"type": "duty", "id": "d", "state": "on"})).await;
    assert_eq!(newer.next().await["type"], "duty_changed");
}

#[actix_web::test]
async fn points_are_acked_once_they_are_stored() {
    let stage = Stage::with(Options { ack_every_ms: 30, ack_within_ms: 30, ..Options::default() }).await;
    let rider = stage.rider().await;
    let mut device = Device::live(&stage, rider).await;
    let now = Clock::wall().as_millis();
    let ping = |seq: u64, ago: i64, lat: f64| json!({"seq": seq, "at": now - ago, "lat": lat, "lon": 77.5});
    device
        .send(json!({"type": "pings", "pings": [ping(1, 2_000, 12.9), ping(2, 500, 12.91), ping(3, 900, 12.92)]}))
        .await;
    device.send(json!({"type": "pings", "pings": [ping(3, 0, 12.9), ping(4, 0, 95.0)]})).await;
    let (mut refused, mut stored_to) = (vec![], 0);
    while stored_to < 4 {
        let ack = device.next().await;
        assert_eq!(ack["type"], "pings_ack");
        refused.extend(ack["refused"].as_array().cloned().unwrap_or_default());
        stored_to = ack["stored_to"].as_u64().unwrap();
        let rows: Vec<(i64, i16, f64)> =
            sqlx::query_as("SELECT seq, flags, lat FROM location_logs WHERE rider_id = $1 ORDER BY seq")
                .bind(rider.0)
                .fetch_all(&stage.db)
                .await
                .unwrap();
        assert!(rows.len() as u64 >= stored_to.min(3), "told stored before it was");
        if stored_to == 4 {
            assert_eq!(rows, [(1, 0, 12.9), (2, 0, 12.91), (3, 1, 12.92)]);
        }
    }
    assert_eq!(refused, [json!({"seq": 3, "reason": "duplicate"}), json!({"seq": 4, "reason": "out_of_world"})]);
    stage.until("a fix", |seen| !seen.fixes.is_empty()).await;
    assert_eq!(stage.seen().fixes.last().unwrap().position.lat(), 12.91, "late points move nothing");

    // The same run of the same device comes back: it learns at once where it stands, and is not counted anew.
    let boot = device.boot;
    drop(device);
    let mut again = Device::connect(&stage, rider).await;
    again.boot = boot;
    again.hello().await;
    assert_eq!(again.next().await["type"], "welcome");
    assert_eq!(again.next().await, json!({"type": "pings_ack", "received_to": 4, "stored_to": 4}));
    assert!(stage.metrics.render().unwrap().contains("dispatch_rider_reconnects_total 1"));
}

#[actix_web::test]
async fn acks_travel_with_the_frames_of_a_device_that_goes_on_sending() {
    // Longer than the test: whatever comes, came with a frame.
    let hour = 3_600_000;
    let stage = Stage::with(Options { ack_every_ms: hour, ack_within_ms: hour, ..Options::default() }).await;
    let rider = stage.rider().await;
    let mut device = Device::live(&stage, rider).await;
    let now = Clock::wall().as_millis();
    let ping =
        |seq: u64, lat: f64| json!({"type": "pings", "pings": [{"seq": seq, "at": now, "lat": lat, "lon": 77.5}]});
    let stored = async |seq: i64| {
        let sql = "SELECT count(*) FROM location_logs WHERE rider_id = $1 AND seq = $2";
        while sqlx::query_scalar::<_, i64>(sql).bind(rider.0).bind(seq).fetch_one(&stage.db).await.unwrap() == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    device.send(ping(1, 12.9)).await;
    stored(1).await;
    // The row shows a moment before the session may know of it: frames are sent until one brings the ack.
    let mut last = 1;
    let first = loop {
        last += 1;
        device.send(ping(last, 12.9)).await;
        if let Ok(ack) = tokio::time::timeout(Duration::from_millis(20), device.next()).await {
            break ack;
        }
    };
    assert!(first["stored_to"].as_u64().unwrap() >= 1, "{first}");
    // The next one is not due for an hour, except for a refusal.
    device.send(ping(last + 1, 12.9)).await;
    stored(i64::try_from(last + 1).unwrap()).await;
    device.send(ping(last + 2, 95.0)).await;
    let next = device.next().await;
    assert_eq!(next["refused"], json!([{"seq": last + 2, "reason": "out_of_world"}]), "{next}");
}

#[actix_web::test]
async fn a_device_that_never_reads_is_cut_off() {
    let stage = Stage::with(Options { max_notices: 8, ..Options::default() }).await;
    let rider = stage.rider().await;
    let stalled = Device::live(&stage, rider).await;
    let mut neighbour = Device::live(&stage, stage.rider().await).await;
    let outbox = stage.seen().riders[&rider].clone();
    let flood = async {
        loop {
            let why = Box::leak("x".repeat(16_384).into_boxed_str());
            outbox.deliver(Notice::OfferClosed { offer: OfferId(Uuid::nil()), state: OfferState::Expired, why });
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
    };
    let gone = stage.until("disconnect", |seen| {
        seen.commands.iter().any(|command| matches!(command, Command::Disconnect { rider: gone, .. } if *gone == rider))
    });
    tokio::select! { () = gone => {}, () = flood => {} }
    neighbour.send(json!({"type": "duty", "id": "d", "state": "on"})).await;
    assert_eq!(neighbour.next().await["type"], "duty_changed");
    drop(stalled);
}

#[actix_web::test]
async fn a_stop_says_goodbye_to_everybody() {
    let stage = Stage::new().await;
    let mut live = Device::live(&stage, stage.rider().await).await;
    let mut silent = Device::connect(&stage, stage.rider().await).await;
    stage.stop.send(true).unwrap();
    for device in [&mut live, &mut silent] {
        let bye = device.next().await;
        assert_eq!((&bye["type"], &bye["why"]), (&json!("bye"), &json!("going_away")));
        assert!((1_000..=3_000).contains(&bye["reconnect_after_ms"].as_u64().unwrap()));
    }
}

#[actix_web::test]
async fn devices_hear_at_once_that_their_city_ended() {
    // No keep-alive comes by in this test, so whoever only listens must be told without one.
    let stage = Stage::with(Options { ping_every_s: 3_600, ..Options::default() }).await;
    let rider = stage.rider().await;
    let mut idle = Device::live(&stage, stage.rider().await).await;
    let mut asking = Device::live(&stage, rider).await;
    let point = json!({"seq": 1, "at": Clock::wall().as_millis(), "lat": 12.9, "lon": 77.5});
    asking.send(json!({"type": "pings", "pings": [point]})).await;
    for id in ["a", "b"] {
        asking.send(json!({"type": "offer_seen", "id": id, "offer": Uuid::new_v4()})).await;
    }
    stage.until("both requests", |seen| seen.commands.len() == 2).await;
    stage.end_city(None);

    let (mut answered, mut frame) = (vec![], asking.next().await);
    while frame["type"] != "bye" {
        if frame["type"] == "error" {
            assert_eq!(frame["code"], "city_unavailable");
            answered.push(frame["re"].as_str().unwrap().to_owned());
        }
        frame = asking.next().await;
    }
    answered.sort_unstable();
    assert_eq!(answered, ["a", "b"], "each request has its answer before the goodbye");
    for bye in [frame, idle.next().await] {
        assert_eq!((&bye["type"], &bye["why"]), (&json!("bye"), &json!("city_unavailable")));
        assert!((1_000..=3_000).contains(&bye["reconnect_after_ms"].as_u64().unwrap()));
    }
    // What the device had reported is history all the same.
    let stored = || async {
        let sql = "SELECT count(*) FROM location_logs WHERE rider_id = $1";
        sqlx::query_scalar::<_, i64>(sql).bind(rider.0).fetch_one(&stage.db).await.unwrap()
    };
    while stored().await != 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[actix_web::test]
async fn a_session_needs_a_hello_a_rider_and_a_city() {
    let stage = Stage::with(Options { hello_within_s: 0, ..Options::default() }).await;
    let mut mute = Device::connect(&stage, stage.rider().await).await;
    assert_eq!(mute.next().await["why"], "no_hello");

    let stage = Stage::new().await;
    let mut unknown = Device::connect(&stage, RiderId(Uuid::new_v4())).await;
    unknown.hello().await;
    assert_eq!(unknown.next().await, json!({"type": "bye", "why": "unknown_rider"}));

    stage.router.put(stage.code.clone(), Slot::Down("quarantined"));
    let mut homeless = Device::connect(&stage, stage.rider().await).await;
    homeless.hello().await;
    let bye = homeless.next().await;
    assert_eq!(bye["why"], "city_unavailable");
    assert!(bye["reconnect_after_ms"].is_u64());
}

#[actix_web::test]
async fn notices_reach_the_device() {
    let stage = Stage::new().await;
    let rider = stage.rider().await;
    let mut device = Device::live(&stage, rider).await;
    let outbox = stage.seen().riders[&rider].clone();
    let order = OrderId(Uuid::new_v4());
    outbox.deliver(Notice::OrderChanged { job: None, order, status: OrderStatus::Cancelled, why: "cancelled" });
    let expected = json!({"type": "order_changed", "order": order.0, "status": "cancelled", "why": "cancelled"});
    assert_eq!(device.next().await, expected);
}

#[actix_web::test]
async fn a_device_says_how_it_can_be_woken() {
    let stage = Stage::new().await;
    let rider = stage.rider().await;
    let mut device = Device::connect(&stage, rider).await;
    let hello = |push: Value| {
        let (boot, at) = (Uuid::new_v4(), Clock::wall().as_millis());
        json!({"type": "hello", "device_id": "d", "app_version": "1", "boot_id": boot, "mono_ms": 1, "at": at, "push": push})
    };
    for push in [json!({"provider": "FCM", "token": "t"}), json!({"provider": "fcm", "token": "a b"})] {
        assert_eq!(device.error_for(Message::text(hello(push).to_string())).await, "malformed_frame");
    }
    device.send(hello(json!({"provider": "fcm", "token": "t1"}))).await;
    let welcome = device.next().await;
    assert_eq!((&welcome["type"], &welcome["reconnect_within_ms"]), (&json!("welcome"), &json!(2_000)));
    // It is stored once the device is let in, and nobody waits for that.
    loop {
        let devices = rider_devices::to_wake(&stage.db, rider, None).await.unwrap().unwrap();
        if let [found] = &*devices {
            assert_eq!((found.device.as_str(), found.provider.as_str(), found.token.expose()), ("d", "fcm", "t1"));
            return;
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
}

#[actix_web::test]
async fn who_comes_when_too_many_wait_is_told_when_to_come_back() {
    let stage = Stage::with(Options { join_queue: 0, ..Options::default() }).await;
    let mut device = Device::connect(&stage, stage.rider().await).await;
    device.hello().await;
    let bye = device.next().await;
    assert_eq!((&bye["type"], &bye["why"]), (&json!("bye"), &json!("busy")));
    assert!((1_000..=3_000).contains(&bye["reconnect_after_ms"].as_u64().unwrap()));
    assert!(stage.metrics.render().unwrap().contains(r#"dispatch_rider_joins_total{result="busy"} 1"#));
}

#[actix_web::test]
async fn an_app_that_stops_answers_what_was_asked_before_its_goodbye() {
    let stage = Stage::new().await;
    let mut device = Device::live(&stage, stage.rider().await).await;
    device.send(json!({"type": "offer_seen", "id": "a", "offer": Uuid::new_v4()})).await;
    stage.until("the request", |seen| seen.commands.len() == 1).await;
    stage.stop.send(true).unwrap();
    stage.answer_held();
    let answer = device.next().await;
    assert_eq!((&answer["type"], &answer["re"]), (&json!("error"), &json!("a")));
    let bye = device.next().await;
    assert_eq!((&bye["type"], &bye["why"]), (&json!("bye"), &json!("going_away")));
}

//! Real sockets against a real server and database, with a city that is played.

use std::{
    collections::HashMap,
    sync::{Arc, Mutex},
    time::Duration,
};

use actix::{Actor, Context, Handler};
use actix_web::{App, HttpRequest, HttpServer, web};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tokio::{net::TcpStream, sync::watch};
use tokio_tungstenite::{
    WebSocketStream, client_async,
    tungstenite::{Message, client::IntoClientRequest},
};
use uuid::Uuid;

use super::{Options, RiderOutbox, RiderSocketDeps, upgrade};
use crate::{
    actors::{
        city::{CityBody, CityHandle, CityMessage},
        gate::Gate,
        location_log,
        router::{Router, Slot},
    },
    clock::Clock,
    domain::{
        duty::Duty,
        ids::{CityCode, OfferId, OrderId, ReplyTo, RiderId},
        order::{OfferState, OrderStatus},
    },
    engine::{
        command::{Command, Fix, Outcome, Refusal, RiderSync},
        effect::Notice,
    },
    http::connection,
    metrics::Metrics,
    store::Db,
};

/// What the played city saw.
#[derive(Default)]
struct Seen {
    commands: Vec<Command>,
    fixes: Vec<Fix>,
    outboxes: HashMap<RiderId, RiderOutbox>,
}

#[derive(Clone, Default)]
struct PlayedCity(Arc<Mutex<Seen>>);

impl Actor for PlayedCity {
    type Context = Context<Self>;
}

impl Handler<CityMessage> for PlayedCity {
    type Result = ();

    fn handle(&mut self, message: CityMessage, _: &mut Context<Self>) {
        let mut seen = self.0.lock().unwrap();
        match message.body {
            CityBody::Join { rider, outbox, answer, .. } => {
                if let Some(older) = seen.outboxes.insert(rider.id, outbox) {
                    older.deliver(Notice::TakenOver);
                }
                let sync = RiderSync {
                    duty: Duty::On,
                    next_duty: None,
                    jobs: vec![],
                    open_offer: None,
                    ping_interval_ms: 5_000,
                };
                let _ = answer.send(Ok(Outcome::Connected(Box::new(sync))));
            }
            CityBody::Ask { build, answer } => {
                let command = build(ReplyTo(1));
                let result = match &command {
                    Command::SetDuty { duty, .. } => Ok(Outcome::Duty { duty: *duty, next: None }),
                    Command::Progress { report, .. } => {
                        Ok(Outcome::Order { order: report.order, status: OrderStatus::AtPickup, version: 4 })
                    }
                    _ => Err(Refusal::UnknownOffer),
                };
                seen.commands.push(command);
                let _ = answer.send(result);
            }
            CityBody::Tell(command) => seen.commands.push(command),
            CityBody::Fixes(fixes) => seen.fixes.extend_from_slice(&fixes),
            _ => {}
        }
    }
}

struct Stage {
    db: Db,
    address: std::net::SocketAddr,
    city: PlayedCity,
    router: Router,
    code: CityCode,
    stop: watch::Sender<bool>,
    metrics: Metrics,
}

async fn stage(options: Options) -> Option<Stage> {
    let db = crate::store::checked_against().await?;
    let code = CityCode::parse(&format!("t-{}", &Uuid::new_v4().simple().to_string()[..12])).unwrap();
    sqlx::query!(
        "INSERT INTO cities (code, name, status, boundary, time_zone, currency, created_at, updated_at) \
         VALUES ($1, 'Test', 'live', '{}', 'UTC', 'INR', to_timestamp(0), to_timestamp(0))",
        code.as_str()
    )
    .execute(&db)
    .await
    .unwrap();
    let (city, router, metrics, clock) = (PlayedCity::default(), Router::default(), Metrics::new(), Clock::system());
    let handle = CityHandle::new(code.clone(), city.clone().start().recipient(), Gate::unmetered(10_000));
    router.put(code.clone(), Slot::Running(handle));
    let log_options = location_log::Options { flush_age_ms: 20, ..location_log::Options::default() };
    let log = location_log::start(db.clone(), &metrics, log_options);
    let (stop, stopping) = watch::channel(false);
    let deps = RiderSocketDeps::new(db.clone(), router.clone(), clock, log, &metrics, options, stopping);
    let server = HttpServer::new(move || {
        let deps = deps.clone();
        let socket = move |req: HttpRequest, payload: web::Payload, rider: web::Path<Uuid>| {
            std::future::ready(upgrade(&req, payload, RiderId(*rider), &deps))
        };
        App::new().route("/{rider}", web::get().to(socket))
    })
    .on_connect(connection::on_connect(connection::Options { user_timeout_ms: 500, send_buffer_bytes: 4_096 }))
    .workers(1)
    .disable_signals()
    .bind(("127.0.0.1", 0))
    .unwrap();
    let address = server.addrs()[0];
    actix_web::rt::spawn(server.run());
    Some(Stage { db, address, city, router, code, stop, metrics })
}

impl Stage {
    async fn rider(&self) -> RiderId {
        let id = Uuid::new_v4();
        sqlx::query!(
            "INSERT INTO riders (id, name, mobile, city, status, kyc_status, vehicle, created_at, updated_at) \
             VALUES ($1, 'Test', $2, $3, 'ACTIVE', 'APPROVED', 'bicycle', to_timestamp(0), to_timestamp(0))",
            id,
            id.to_string(),
            self.code.as_str()
        )
        .execute(&self.db)
        .await
        .unwrap();
        RiderId(id)
    }

    async fn connect(&self, rider: RiderId) -> Device {
        let stream = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).unwrap();
        stream.set_recv_buffer_size(4_096).unwrap();
        stream.connect(&self.address.into()).unwrap();
        stream.set_nonblocking(true).unwrap();
        let stream = TcpStream::from_std(stream.into()).unwrap();
        let mut request = format!("ws://{}/{rider}", self.address).into_client_request().unwrap();
        request.headers_mut().insert("sec-websocket-protocol", "dispatch.v1.json".parse().unwrap());
        let (socket, _) = client_async(request, stream).await.unwrap();
        Device { socket, boot: Uuid::new_v4() }
    }

    async fn live(&self, rider: RiderId) -> Device {
        let mut device = self.connect(rider).await;
        device.hello().await;
        assert_eq!(device.next().await["type"], "welcome");
        device
    }

    async fn until(&self, what: &str, done: impl Fn(&Seen) -> bool) {
        for _ in 0..3_000 {
            if done(&self.city.0.lock().unwrap()) {
                return;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        panic!("the city never saw: {what}");
    }
}

struct Device {
    socket: WebSocketStream<TcpStream>,
    boot: Uuid,
}

impl Device {
    async fn send(&mut self, frame: Value) {
        self.socket.send(Message::text(frame.to_string())).await.unwrap();
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
        loop {
            let message = tokio::time::timeout(Duration::from_secs(30), self.socket.next()).await.unwrap();
            match message {
                Some(Ok(Message::Text(text))) => return serde_json::from_str(&text).unwrap(),
                Some(Ok(Message::Close(_))) | Some(Err(_)) | None => return Value::Null,
                Some(Ok(_)) => {}
            }
        }
    }

    async fn error_for(&mut self, message: Message) -> String {
        self.socket.send(message).await.unwrap();
        let frame = self.next().await;
        assert_eq!(frame["type"], "error", "{frame}");
        frame["code"].as_str().unwrap().to_owned()
    }
}

#[actix_web::test]
async fn wrong_frames_get_their_codes_and_harm_nobody() {
    let Some(stage) = stage(Options { max_frame_bytes: 2_000, ..Options::default() }).await else { return };
    let (one, two) = (stage.rider().await, stage.rider().await);
    let mut neighbour = stage.live(two).await;
    let mut device = stage.connect(one).await;
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
    let Some(stage) = stage(Options { max_bad_frames: 2, ..Options::default() }).await else { return };
    let mut device = stage.live(stage.rider().await).await;
    assert_eq!(device.error_for(Message::text("1")).await, "malformed_frame");
    device.send(json!(2)).await;
    let bye = device.next().await;
    assert_eq!((&bye["type"], &bye["why"]), (&json!("bye"), &json!("too_many_bad_frames")));
    assert_eq!(device.next().await, Value::Null);
    stage.until("disconnect", |seen| matches!(seen.commands.last(), Some(Command::Disconnect { .. }))).await;
}

#[actix_web::test]
async fn a_repeated_request_reaches_the_city_once() {
    let Some(stage) = stage(Options::default()).await else { return };
    let mut device = stage.live(stage.rider().await).await;
    let request = json!({"type": "progress", "id": "p1", "order": Uuid::new_v4(), "step": "at_pickup", "at": 0});
    device.send(request.clone()).await;
    device.send(request.clone()).await;
    let first = device.next().await;
    assert_eq!((&first["type"], &first["re"], &first["version"]), (&json!("order_changed"), &json!("p1"), &json!(4)));
    assert_eq!(device.next().await, first);
    device.send(request).await;
    assert_eq!(device.next().await, first);
    assert_eq!(stage.city.0.lock().unwrap().commands.len(), 1);
}

#[actix_web::test]
async fn a_newer_session_takes_over_and_the_older_one_stays_away() {
    let Some(stage) = stage(Options::default()).await else { return };
    let rider = stage.rider().await;
    let mut older = stage.live(rider).await;
    let mut newer = stage.live(rider).await;
    assert_eq!(older.next().await, json!({"type": "bye", "why": "taken_over"}));
    assert_eq!(older.next().await, Value::Null);
    newer.send(json!({"type": "duty", "id": "d", "state": "on"})).await;
    assert_eq!(newer.next().await["type"], "duty_changed");
}

#[actix_web::test]
async fn points_are_acked_once_they_are_stored() {
    let Some(stage) = stage(Options { ack_every_ms: 30, ..Options::default() }).await else { return };
    let rider = stage.rider().await;
    let mut device = stage.live(rider).await;
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
        let rows = sqlx::query!("SELECT seq, flags, lat FROM location_logs WHERE rider_id = $1 ORDER BY seq", rider.0)
            .fetch_all(&stage.db)
            .await
            .unwrap();
        assert!(rows.len() as u64 >= stored_to.min(3), "told stored before it was");
        if stored_to == 4 {
            let rows: Vec<_> = rows.iter().map(|row| (row.seq, row.flags, row.lat)).collect();
            assert_eq!(rows, [(1, 0, 12.9), (2, 0, 12.91), (3, 1, 12.92)]);
        }
    }
    assert_eq!(refused, [json!({"seq": 3, "reason": "duplicate"}), json!({"seq": 4, "reason": "out_of_world"})]);
    stage.until("a fix", |seen| !seen.fixes.is_empty()).await;
    assert_eq!(stage.city.0.lock().unwrap().fixes.last().unwrap().position.lat(), 12.91, "late points move nothing");

    // The same run of the same device comes back: it learns at once where it stands, and is not counted anew.
    let boot = device.boot;
    drop(device);
    let mut again = stage.connect(rider).await;
    again.boot = boot;
    again.hello().await;
    assert_eq!(again.next().await["type"], "welcome");
    assert_eq!(again.next().await, json!({"type": "pings_ack", "received_to": 4, "stored_to": 4}));
    assert!(stage.metrics.render().unwrap().contains("dispatch_rider_reconnects_total 1"));
}

#[actix_web::test]
async fn a_device_that_never_reads_is_cut_off() {
    let Some(stage) = stage(Options { max_notices: 8, ..Options::default() }).await else { return };
    let rider = stage.rider().await;
    let stalled = stage.live(rider).await;
    let mut neighbour = stage.live(stage.rider().await).await;
    let outbox = stage.city.0.lock().unwrap().outboxes[&rider].clone();
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
    let Some(stage) = stage(Options::default()).await else { return };
    let mut live = stage.live(stage.rider().await).await;
    let mut silent = stage.connect(stage.rider().await).await;
    stage.stop.send(true).unwrap();
    for device in [&mut live, &mut silent] {
        let bye = device.next().await;
        assert_eq!((&bye["type"], &bye["why"]), (&json!("bye"), &json!("going_away")));
        assert!((1_000..=3_000).contains(&bye["reconnect_after_ms"].as_u64().unwrap()));
    }
}

#[actix_web::test]
async fn a_session_needs_a_hello_a_rider_and_a_city() {
    let Some(stage) = stage(Options { hello_within_s: 0, ..Options::default() }).await else { return };
    let mut mute = stage.connect(stage.rider().await).await;
    assert_eq!(mute.next().await["why"], "no_hello");

    let Some(stage) = self::stage(Options::default()).await else { return };
    let mut unknown = stage.connect(RiderId(Uuid::new_v4())).await;
    unknown.hello().await;
    assert_eq!(unknown.next().await, json!({"type": "bye", "why": "unknown_rider"}));

    stage.router.put(stage.code.clone(), Slot::Down("quarantined"));
    let mut homeless = stage.connect(stage.rider().await).await;
    homeless.hello().await;
    let bye = homeless.next().await;
    assert_eq!(bye["why"], "city_unavailable");
    assert!(bye["reconnect_after_ms"].is_u64());
}

#[actix_web::test]
async fn notices_reach_the_device() {
    let Some(stage) = stage(Options::default()).await else { return };
    let rider = stage.rider().await;
    let mut device = stage.live(rider).await;
    let outbox = stage.city.0.lock().unwrap().outboxes[&rider].clone();
    let order = OrderId(Uuid::new_v4());
    outbox.deliver(Notice::OrderChanged { job: None, order, status: OrderStatus::Cancelled, why: "cancelled" });
    let expected = json!({"type": "order_changed", "order": order.0, "status": "cancelled", "why": "cancelled"});
    assert_eq!(device.next().await, expected);
}

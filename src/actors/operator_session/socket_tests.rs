//! A real socket against a real server, with a city that is played.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use actix::{Actor, ActorContext, Addr, Context, Handler, Message as ActixMessage};
use actix_web::{App, HttpRequest, HttpServer, web};
use futures_util::{SinkExt, StreamExt};
use tokio::{net::TcpStream, sync::watch};
use tokio_tungstenite::{
    MaybeTlsStream, WebSocketStream, connect_async,
    tungstenite::{Message, client::IntoClientRequest},
};
use uuid::Uuid;

use super::{OperatorOutbox, OperatorSocketDeps, Options, Watched, upgrade};
use crate::{
    actors::{
        city::{CityBody, CityHandle, CityMessage},
        gate::Gate,
    },
    domain::{
        ids::{CityCode, OrderId, RiderId},
        order::OrderStatus,
        time::Timestamp,
    },
    engine::{
        effect::Alert,
        view::{CityChanges, CitySnapshot, Counts},
    },
    metrics::Metrics,
    wire::operator::OperatorDown,
};

#[derive(Clone, Default)]
struct PlayedCity(Arc<Mutex<Vec<OperatorOutbox>>>);

#[derive(ActixMessage)]
#[rtype(result = "()")]
struct Stop;

impl Actor for PlayedCity {
    type Context = Context<Self>;
}

impl Handler<Stop> for PlayedCity {
    type Result = ();

    fn handle(&mut self, _: Stop, ctx: &mut Context<Self>) {
        ctx.stop();
    }
}

impl Handler<CityMessage> for PlayedCity {
    type Result = ();

    fn handle(&mut self, message: CityMessage, _: &mut Context<Self>) {
        if let CityBody::Watch(outbox) = message.body {
            let snapshot = CitySnapshot {
                city: CityCode::parse("blr").unwrap(),
                at: Timestamp::from_millis(5),
                counts: Counts { orders_due: 3, ..Counts::default() },
                orders: vec![],
                riders: vec![],
            };
            assert!(outbox.show(Watched::Snapshot(Arc::new(snapshot))));
            self.0.lock().unwrap().push(outbox);
        }
    }
}

type Socket = WebSocketStream<MaybeTlsStream<TcpStream>>;

async fn stage() -> (PlayedCity, Addr<PlayedCity>, String, watch::Sender<bool>, Metrics) {
    let (city, metrics) = (PlayedCity::default(), Metrics::new());
    let address = city.clone().start();
    let handle = CityHandle::new(CityCode::parse("blr").unwrap(), address.clone().recipient(), Gate::unmetered(100));
    let (stop, stopping) = watch::channel(false);
    let deps = OperatorSocketDeps::new(20.0, &metrics, Options::default(), stopping);
    let server = HttpServer::new(move || {
        let (deps, handle) = (deps.clone(), handle.clone());
        let socket = move |req: HttpRequest, payload: web::Payload| {
            std::future::ready(upgrade(&req, payload, handle.clone(), &deps))
        };
        App::new().route("/", web::get().to(socket))
    })
    .workers(1)
    .disable_signals()
    .bind(("127.0.0.1", 0))
    .unwrap();
    let url = format!("ws://{}/", server.addrs()[0]);
    actix_web::rt::spawn(server.run());
    (city, address, url, stop, metrics)
}

async fn connect(url: &str) -> Socket {
    let mut request = url.into_client_request().unwrap();
    request.headers_mut().insert("sec-websocket-protocol", "dispatch.operator.v1.json".parse().unwrap());
    connect_async(request).await.unwrap().0
}

async fn next(socket: &mut Socket) -> OperatorDown {
    loop {
        let message = tokio::time::timeout(Duration::from_secs(30), socket.next()).await.unwrap().unwrap().unwrap();
        if let Message::Text(text) = message {
            return serde_json::from_str(&text).unwrap();
        }
    }
}

#[actix_web::test]
async fn operators_see_the_city_then_what_changes() {
    let (city, _address, url, stop, metrics) = stage().await;
    let (mut one, mut two) = (connect(&url).await, connect(&url).await);
    for socket in [&mut one, &mut two] {
        let OperatorDown::Snapshot(state) = next(socket).await else { panic!("no snapshot") };
        assert_eq!((state.city.as_str(), state.clock_speed, state.counts.orders_due), ("blr", 20.0, 3));
    }
    // Nothing is expected from an operator: it is counted, and the session goes on.
    one.send(Message::text("hello?")).await.unwrap();

    let (order, rider) = (OrderId(Uuid::new_v4()), RiderId(Uuid::new_v4()));
    let changes = CityChanges { ended: vec![(order, OrderStatus::Delivered)], ..CityChanges::default() };
    let changes = Arc::new(changes);
    let outboxes = city.0.lock().unwrap().clone();
    for outbox in &outboxes {
        let at = Timestamp::from_millis(6);
        assert!(outbox.show(Watched::Delta { at, counts: Counts::default(), changes: changes.clone() }));
        assert!(outbox.show(Watched::Alert(Alert::SilentCarrier { rider, order })));
    }
    for socket in [&mut one, &mut two] {
        let OperatorDown::Delta(delta) = next(socket).await else { panic!("no delta") };
        assert_eq!((delta.at, delta.ended[0].order, delta.ended[0].status.as_str()), (6, order.0, "delivered"));
        let OperatorDown::Alert { kind, rider: who, .. } = next(socket).await else { panic!("no alert") };
        assert_eq!((kind.as_str(), who), ("silent_carrier", Some(rider.0)));
    }
    assert!(metrics.render().unwrap().contains("dispatch_operator_ignored_frames_total 1"));

    stop.send(true).unwrap();
    for socket in [&mut one, &mut two] {
        let OperatorDown::Bye { why, reconnect_after_ms } = next(socket).await else { panic!("no bye") };
        assert!(why == "going_away" && reconnect_after_ms.is_some());
    }
}

#[actix_web::test]
async fn a_city_that_stops_sends_its_operators_away_to_come_back() {
    let (_city, address, url, _stop, _metrics) = stage().await;
    let mut socket = connect(&url).await;
    assert!(matches!(next(&mut socket).await, OperatorDown::Snapshot(_)));
    address.do_send(Stop);
    let OperatorDown::Bye { why, reconnect_after_ms } = next(&mut socket).await else { panic!("no bye") };
    assert!(why == "city_moved" && reconnect_after_ms.is_some());
}

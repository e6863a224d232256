//! Operators' pages on real sockets, with a city that is played.

use std::sync::Arc;

use dispatch_engine::{
    actors::{city::Ending, operator_session::Watched},
    domain::{
        ids::{OrderId, RiderId},
        order::OrderStatus,
        time::Timestamp,
    },
    engine::{
        effect::Alert,
        view::{CityChanges, Counts},
    },
    wire::operator::{OperatorDown, SUBPROTOCOL_OPERATOR_JSON},
};
use uuid::Uuid;

use crate::{
    played_city::Stage,
    support::{device::Socket, until},
};

async fn connect(stage: &Stage) -> Socket {
    Socket::open(stage.address, "/operator", "none", SUBPROTOCOL_OPERATOR_JSON).await.unwrap()
}

async fn next(socket: &mut Socket) -> OperatorDown {
    socket.next_frame().await.unwrap()
}

#[actix_web::test]
async fn operators_see_the_city_then_what_changes() {
    let stage = Stage::new().await;
    let (mut one, mut two) = (connect(&stage).await, connect(&stage).await);
    for socket in [&mut one, &mut two] {
        let OperatorDown::Snapshot(state) = next(socket).await else { panic!("no snapshot") };
        assert_eq!((state.city.as_str(), state.clock_speed, state.counts.orders_due), ("blr", 20.0, 3));
    }
    // Nothing is expected from an operator: it is counted, and the session goes on.
    one.send_text("hello?").await;

    let (order, rider) = (OrderId(Uuid::new_v4()), RiderId(Uuid::new_v4()));
    let changes = CityChanges { ended: vec![(order, OrderStatus::Delivered)], ..CityChanges::default() };
    let changes = Arc::new(changes);
    let outboxes = stage.seen().operators.clone();
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
    let ignored = || stage.metrics.render().unwrap().contains("dispatch_operator_ignored_frames_total 1");
    until("the frame is counted", || ignored().then_some(())).await;

    stage.stop.send(true).unwrap();
    for socket in [&mut one, &mut two] {
        let OperatorDown::Bye { why, reconnect_after_ms } = next(socket).await else { panic!("no bye") };
        assert!(why == "going_away" && reconnect_after_ms.is_some());
    }
}

#[actix_web::test]
async fn a_city_that_stops_sends_its_operators_away_to_come_back() {
    for (ending, told) in [(None, "city_unavailable"), (Some(Ending::Fenced), "city_moved")] {
        let stage = Stage::new().await;
        let mut socket = connect(&stage).await;
        assert!(matches!(next(&mut socket).await, OperatorDown::Snapshot(_)));
        stage.end_city(ending);
        let OperatorDown::Bye { why, reconnect_after_ms } = next(&mut socket).await else { panic!("no bye") };
        assert!(why == told && reconnect_after_ms.is_some(), "{why}");
    }
}

//! Events that leave their order as it is.

use dispatch_engine::{
    domain::order::OrderStatus,
    engine::{
        command::RejectReason,
        effect::{NoteWrite, OrderState, PlaceWrite, Write},
    },
    store::{self, recovery},
};

use crate::journal::{Bed, REPORT_AGE, change, event, plain, transition};

fn note(order: &PlaceWrite, seq: i32, version: i32) -> NoteWrite {
    let event = event(seq, version, "not_assigned");
    NoteWrite { transition: transition(), order: order.spec.id, version, event }
}

#[tokio::test]
async fn a_note_takes_a_number_and_no_version_and_is_stored_once() {
    let bed = Bed::new().await;
    let order = plain(None);
    bed.commit(vec![Write::Place(order.clone())]).await;
    let first = note(&order, 3, 1);
    // The answer was lost, and the same batch comes again.
    for _ in 0..2 {
        assert_eq!(bed.commit(vec![Write::Note(first.clone())]).await, [Ok(())]);
    }
    // In one batch with what follows, in their order.
    let second = note(&order, 4, 1);
    let noted = OrderState { next_seq: 5, ..order.state.clone() };
    let offered = change(order.spec.id, &noted, OrderStatus::Offered, "offered");
    let batch = vec![Write::Note(second), Write::Order(offered.clone())];
    assert_eq!(bed.commit(batch).await, [Ok(()), Ok(())]);
    let third = note(&order, 6, 2);
    assert_eq!(bed.commit(vec![Write::Note(third)]).await, [Ok(())]);

    let events = store::orders::events(&bed.db, order.spec.id).await.unwrap();
    let told: Vec<_> = events.iter().map(|event| (event.seq, event.version, event.kind.as_str())).collect();
    let expected = [
        (1, 1, "placed"),
        (2, 1, "queued"),
        (3, 1, "not_assigned"),
        (4, 1, "not_assigned"),
        (5, 2, "offered"),
        (6, 2, "not_assigned"),
    ];
    assert_eq!(told, expected);
    let image = recovery::load_city(&bed.db, &bed.city, offered.state.updated_at, REPORT_AGE).await.unwrap();
    assert_eq!((image.orders[0].1.version, image.orders[0].1.next_seq), (2, 7));
    let broken: Vec<_> = store::checks::run(&bed.db).await.unwrap().into_iter().filter(|c| c.broken > 0).collect();
    assert!(broken.iter().all(|check| !check.promise.contains("numbered")), "{broken:?}");
}

#[tokio::test]
async fn a_note_on_an_order_that_has_moved_on_is_refused_alone() {
    let bed = Bed::new().await;
    let (moved, other) = (plain(None), plain(None));
    bed.commit(vec![Write::Place(moved.clone()), Write::Place(other.clone())]).await;
    let on = change(moved.spec.id, &moved.state, OrderStatus::Offered, "offered");
    bed.commit(vec![Write::Order(on)]).await;
    let batch = vec![Write::Note(note(&moved, 3, 1)), Write::Note(note(&other, 3, 1)), Write::Note(note(&moved, 3, 2))];
    let conflict = Err(RejectReason::Conflict);
    assert_eq!(bed.commit(batch).await, [conflict.clone(), Ok(()), conflict]);
    assert_eq!(bed.count("SELECT count(*) FROM order_events WHERE kind = 'not_assigned'").await, 1);
}

//! Disputes about ended orders on a real PostgreSQL: what a decision pays, and that no report gets lost after it.

use std::time::Duration;

use dispatch_engine::{
    domain::{
        dispute::DisputeStatus,
        ids::{DisputeId, OrderId, RiderId},
        order::{Actor, OrderStatus, Step},
    },
    engine::effect::{DisputeWrite, Write},
    store::{
        checks,
        disputes::{Decision, close_ended, get, promised},
    },
};

use super::{
    frames::dispute,
    journal::{Bed, NOW, change, event, id, plain, transition},
};
use crate::support::rows::earned;

/// An order with 25 050 to collect that was cancelled while nobody had it.
async fn cancelled(bed: &Bed, payout_minor: i64) -> OrderId {
    let mut place = plain(None);
    place.spec.payout_minor = payout_minor;
    let mut write = change(place.spec.id, &place.state, OrderStatus::Cancelled, "cancelled");
    write.state.ended_at = Some(NOW);
    let answers = bed.commit(vec![Write::Place(place.clone()), Write::Order(write)]).await;
    assert_eq!(answers, [Ok(()), Ok(())]);
    place.spec.id
}

async fn report(bed: &Bed, rider: RiderId, order: OrderId, step: Step) -> DisputeWrite {
    let write = dispute(rider, order, DisputeId(id(NOW)), step);
    assert_eq!(bed.commit(vec![Write::Dispute(write.clone())]).await, [Ok(())]);
    write
}

async fn decide(bed: &Bed, write: &DisputeWrite, status: DisputeStatus) -> bool {
    let dispute = get(&bed.db, write.record.id).await.unwrap().unwrap();
    let decision = Decision { status, reason: "a photo".into(), actor: Actor::ENGINE };
    close_ended(&bed.db, &dispute, &decision, None, id(NOW), NOW).await.unwrap()
}

async fn cash_in_hand(bed: &Bed, rider: RiderId) -> Vec<i64> {
    sqlx::query_scalar("SELECT amount FROM wallet_ledger WHERE rider_id = $1 AND account = 'cash_in_hand'")
        .bind(rider.0)
        .fetch_all(&bed.db)
        .await
        .unwrap()
}

async fn assert_consistent(bed: &Bed) {
    let broken: Vec<_> = checks::run(&bed.db).await.unwrap().into_iter().filter(|check| check.broken != 0).collect();
    assert!(broken.is_empty(), "{broken:?}");
}

#[tokio::test]
async fn goods_that_are_only_picked_up_are_not_paid_for() {
    let bed = Bed::new().await;
    let (rider, order) = (bed.rider().await, cancelled(&bed, 4_000).await);
    let picked = report(&bed, rider, order, Step::PickedUp).await;
    assert!(decide(&bed, &picked, DisputeStatus::Upheld).await);
    assert_eq!((earned(&bed.db, rider).await, cash_in_hand(&bed, rider).await), (vec![], vec![]));
    let delivered = report(&bed, rider, order, Step::Delivered).await;
    assert!(decide(&bed, &delivered, DisputeStatus::Upheld).await);
    assert!(!decide(&bed, &delivered, DisputeStatus::Upheld).await, "it is closed");
    assert_eq!((earned(&bed.db, rider).await, cash_in_hand(&bed, rider).await), (vec![4_000], vec![-25_050]));
    assert_consistent(&bed).await;
}

#[tokio::test]
async fn the_cash_is_booked_whoever_was_paid_before() {
    let bed = Bed::new().await;
    let (first, second, order) = (bed.rider().await, bed.rider().await, cancelled(&bed, 4_000).await);
    for (rider, step) in [(first, Step::Returned), (second, Step::Delivered), (first, Step::Delivered)] {
        let write = report(&bed, rider, order, step).await;
        assert!(decide(&bed, &write, DisputeStatus::Upheld).await);
    }
    assert_eq!((earned(&bed.db, first).await, cash_in_hand(&bed, first).await), (vec![4_000], vec![]));
    assert_eq!((earned(&bed.db, second).await, cash_in_hand(&bed, second).await), (vec![], vec![-25_050]));
    assert_consistent(&bed).await;
}

#[tokio::test]
async fn a_city_that_pays_nothing_decides_too() {
    let bed = Bed::new().await;
    let order = cancelled(&bed, 0).await;
    for booked in [vec![-25_050], vec![]] {
        let rider = bed.rider().await;
        let write = report(&bed, rider, order, Step::Delivered).await;
        assert!(decide(&bed, &write, DisputeStatus::Upheld).await);
        assert_eq!((earned(&bed.db, rider).await, cash_in_hand(&bed, rider).await), (vec![], booked));
    }
    assert_consistent(&bed).await;
}

#[tokio::test]
async fn a_report_to_a_closed_dispute_opens_another_one() {
    let bed = Bed::new().await;
    let (rider, order) = (bed.rider().await, cancelled(&bed, 4_000).await);
    let first = report(&bed, rider, order, Step::PickedUp).await;
    assert!(decide(&bed, &first, DisputeStatus::Dismissed).await);
    // The city has not heard of it, and adds to the closed one: twice, the second time to what the journal opened.
    let mut opened = Vec::new();
    for step in [Step::Delivered, Step::Returned] {
        let further = dispute(rider, order, first.record.id, step);
        for _ in 0..2 {
            assert_eq!(bed.commit(vec![Write::Dispute(further.clone())]).await, [Ok(())]);
        }
        opened.push((DisputeId(further.record.transition.0), further));
    }
    let closed = get(&bed.db, first.record.id).await.unwrap().unwrap();
    assert_eq!((closed.status.as_str(), closed.reported().unwrap().0), ("dismissed", Step::PickedUp));
    let open = get(&bed.db, opened[0].0).await.unwrap().unwrap();
    assert_eq!((open.status.as_str(), open.reported().unwrap().0), ("open", Step::Returned));
    assert_eq!(bed.count("SELECT count(*) FROM disputes").await, 2);
    let named: Vec<String> =
        sqlx::query_scalar("SELECT data ->> 'dispute' FROM order_events WHERE kind = 'disputed' ORDER BY seq")
            .fetch_all(&bed.db)
            .await
            .unwrap();
    assert_eq!(
        named,
        [first.record.id, opened[0].0, opened[0].0].map(|id| id.to_string()),
        "events name the right one"
    );
    assert_consistent(&bed).await;
}

#[tokio::test]
async fn what_a_rider_was_promised_last_is_known() {
    let bed = Bed::new().await;
    let (asked, given, place) = (bed.rider().await, bed.rider().await, plain(None));
    let order = place.spec.id;
    let mut write = change(order, &place.state, OrderStatus::Assigned, "assigned");
    let (seq, version) = (write.events[0].seq, write.state.version);
    write.events.clear();
    for (by, to, payout) in [(asked, None, 4_200), (asked, Some(given), 4_700), (asked, Some(given), 5_100)] {
        let number = seq + i32::try_from(write.events.len()).unwrap();
        let mut assigned = event(number, version, "assigned");
        assigned.actor = Actor::rider(by);
        assigned.data.insert("payout_minor".into(), payout.into());
        if let Some(to) = to {
            // As an operator's assignment tells it.
            assigned.data.insert("rider".into(), to.to_string().into());
        }
        write.events.push(assigned);
    }
    write.state.next_seq = seq + 3;
    (write.state.rider, write.state.assigned_at) = (Some(given), Some(NOW + Duration::from_secs(30)));
    write.transition = transition();
    assert_eq!(bed.commit(vec![Write::Place(place), Write::Order(write)]).await, [Ok(()), Ok(())]);
    assert_eq!(promised(&bed.db, order, asked).await.unwrap(), Some(4_200));
    assert_eq!(promised(&bed.db, order, given).await.unwrap(), Some(5_100));
    assert_eq!(promised(&bed.db, order, bed.rider().await).await.unwrap(), None);
}

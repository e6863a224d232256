//! What the store keeps of offers, promises and orders that wait for an operator.

use dispatch_engine::{
    domain::order::{OfferState, OrderStatus},
    engine::{
        command::RejectReason,
        effect::{OfferRecord, Write},
    },
    store::{checks, recovery},
};

use super::journal::{Bed, NOW, REPORT_AGE, change, offer, plain, transition};

#[tokio::test]
async fn an_accepted_payout_and_a_parked_order_come_back_after_a_restart() {
    let bed = Bed::new().await;
    let rider = bed.rider().await;
    let (taken, parked) = (plain(None), plain(None));
    let mut assigned = change(taken.spec.id, &taken.state, OrderStatus::Assigned, "assigned");
    (assigned.state.rider, assigned.state.assigned_at) = (Some(rider), Some(NOW));
    assigned.state.payout_minor = Some(4_700);
    let accepted =
        OfferRecord { payout_minor: 4_700, closed_at: Some(NOW), ..offer(rider, taken.spec.id, OfferState::Accepted) };
    assigned.offers = vec![accepted.clone()];
    let mut waits = change(parked.spec.id, &parked.state, OrderStatus::Queued, "parked");
    waits.state.parked = true;
    let answers = bed
        .commit(vec![
            Write::Place(taken.clone()),
            Write::Place(parked.clone()),
            Write::Order(assigned.clone()),
            Write::Order(waits.clone()),
        ])
        .await;
    assert_eq!(answers, [Ok(()), Ok(()), Ok(()), Ok(())]);
    let image = recovery::load_city(&bed.db, &bed.city, NOW, REPORT_AGE).await.unwrap();
    let state = |order| image.orders.iter().find(|(spec, _)| spec.id == order).map(|(_, state)| state.clone());
    assert_eq!((state(taken.spec.id), state(parked.spec.id)), (Some(assigned.state), Some(waits.state.clone())));
    assert_eq!(image.closed, [accepted]);

    // The database itself keeps a parked order from being anything but waiting.
    let mut wrong = change(parked.spec.id, &waits.state, OrderStatus::Offered, "offered");
    wrong.state.parked = true;
    let [Err(RejectReason::Invalid(why))] = &bed.commit(vec![Write::Order(wrong)]).await[..] else {
        panic!("a parked order was offered")
    };
    assert!(why.contains("23514"), "{why}");
}

#[tokio::test]
async fn more_open_offers_than_the_city_asks_riders_at_once_are_found() {
    let bed = Bed::new().await;
    let order = plain(None);
    let mut offered = change(order.spec.id, &order.state, OrderStatus::Offered, "offered");
    for _ in 0..2 {
        offered.offers.push(offer(bed.rider().await, order.spec.id, OfferState::Sent));
    }
    bed.commit(vec![Write::Place(order.clone()), Write::Order(offered)]).await;
    let broken = async || {
        let checks = checks::run(&bed.db).await.unwrap();
        checks.into_iter().filter(|check| check.broken > 0).map(|check| check.promise).collect::<Vec<_>>()
    };
    assert_eq!(broken().await, ["an order has no more open offers than its city asks riders at once"]);
    let version: i32 = sqlx::query_scalar(
        "INSERT INTO city_policies (city, version, policy, author, created_at)
         SELECT $1, coalesce(max(version), 0) + 1, '{\"offer_batch\": 2}', 'test', $2 FROM city_policies WHERE city = $1
         RETURNING version",
    )
    .bind(bed.city.as_str())
    .bind(NOW.to_datetime())
    .fetch_one(&bed.db)
    .await
    .unwrap();
    assert!(version > 0);
    assert_eq!(broken().await, [""; 0]);
    // A third one is too many for that as well.
    let third = offer(bed.rider().await, order.spec.id, OfferState::Sent);
    bed.commit(vec![Write::Offer { transition: transition(), offer: third }]).await;
    assert_eq!(broken().await.len(), 1);
}

//! The checks find what they are for.

use dispatch_engine::{domain::order::OrderStatus, store::checks};

use crate::journal::{Bed, NOW, change, plain};
use dispatch_engine::engine::effect::Write;

const CAPACITY: &str = "a rider holds no more orders at a time than a policy allowed";

async fn broken(bed: &Bed) -> i64 {
    checks::run(&bed.db).await.unwrap().into_iter().find(|check| check.promise == CAPACITY).unwrap().broken
}

#[tokio::test]
async fn a_rider_with_too_many_orders_at_a_time_is_found() {
    let bed = Bed::new().await;
    let rider = bed.rider().await;
    for _ in 0..2 {
        let order = plain(None);
        let mut taken = change(order.spec.id, &order.state, OrderStatus::Assigned, "assigned");
        (taken.state.rider, taken.state.assigned_at) = (Some(rider), Some(NOW));
        bed.commit(vec![Write::Place(order), Write::Order(taken)]).await;
    }
    assert_eq!(broken(&bed).await, 1, "two at a time, and one is allowed");
    let sql = "INSERT INTO city_policies VALUES ($1, 1, '{\"max_active_orders\": 2}', 'ada', 'epoch')";
    sqlx::query(sql).bind(bed.city.as_str()).execute(&bed.db).await.unwrap();
    assert_eq!(broken(&bed).await, 0, "two are allowed");
    let sql = "UPDATE city_policies SET policy = '{}' WHERE city = $1";
    sqlx::query(sql).bind(bed.city.as_str()).execute(&bed.db).await.unwrap();
    assert_eq!(broken(&bed).await, 1, "one is the default");
    // One after the other, to the millisecond.
    let sql = "UPDATE orders SET ended_at = assigned_at WHERE id = (SELECT id FROM orders ORDER BY id LIMIT 1)";
    sqlx::query(sql).execute(&bed.db).await.unwrap();
    assert_eq!(broken(&bed).await, 0);
}

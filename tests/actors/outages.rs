//! A database that does not answer: what waits, what is refused first, and that everything goes on by itself.

use std::{sync::Arc, time::Duration};

use dispatch_engine::{
    actors::{city::CityCallError, order_journal},
    domain::{city::CityStatus, duty::Duty},
    engine::command::{Command, Outcome, Refusal},
};
use sqlx::{Executor, Postgres, Transaction};

use crate::{
    bed::{Bed, at},
    support::{SOON, until},
};

/// Makes every commit of the journal wait for as long as the transaction is held.
async fn silence(bed: &Bed) -> Transaction<'static, Postgres> {
    let mut silent = bed.db.begin().await.unwrap();
    silent.execute("LOCK TABLE city_epochs IN ACCESS EXCLUSIVE MODE").await.unwrap();
    silent
}

fn writes_pending(bed: &Bed) -> impl Future<Output = u32> {
    let city = bed.city().unwrap();
    async move { city.snapshot(SOON).await.unwrap().counts.writes_pending }
}

#[actix_web::test]
async fn new_orders_are_refused_first_and_the_rest_waits_until_the_database_answers() {
    let journal =
        order_journal::Options { bound: 8, placement_share: 0.5, silent_ms: 50, ..order_journal::Options::default() };
    let bed = Arc::new(Bed::new(CityStatus::Live, journal).await);
    let device = bed.rider(at(18.521, 73.851)).await;
    let silent = silence(&bed).await;
    let mut placing = vec![];
    for _ in 0..4 {
        let bed = bed.clone();
        placing.push(actix_web::rt::spawn(async move { bed.place().await }));
    }
    while writes_pending(&bed).await < 4 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // One more new order has no room; why depends on how long nothing has come.
    loop {
        match bed.place().await {
            Err(CityCallError::Refused(Refusal::StorageBusy)) => {}
            Err(CityCallError::Refused(Refusal::StorageUnavailable)) => break,
            other => panic!("{other:?}"),
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    // Who is at work still finds room, and hears nothing before it is stored.
    let (rider, session, duty) = (device.rider, device.session, Duty::Break);
    let asking = bed.city().unwrap();
    let pausing = actix_web::rt::spawn(async move {
        asking.ask(SOON, move |reply| Command::SetDuty { rider, session, duty, reply }).await
    });
    while writes_pending(&bed).await < 5 {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert!(!pausing.is_finished() && placing.iter().all(|order| !order.is_finished()));

    silent.rollback().await.unwrap();
    for order in placing {
        order.await.unwrap().unwrap();
    }
    assert_eq!(pausing.await.unwrap(), Ok(Outcome::Duty { duty: Duty::Break, next: None }));
    bed.place().await.unwrap();
    let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&bed.db).await.unwrap();
    assert_eq!(stored, 5);
    Arc::into_inner(bed).unwrap().stop().await;
}

#[actix_web::test]
async fn whoever_has_patience_is_answered_after_an_outage_longer_than_the_deadline() {
    let journal = order_journal::Options { silent_ms: 10, ..order_journal::Options::default() };
    let bed = Bed::new(CityStatus::Live, journal).await;
    let device = bed.rider(at(18.521, 73.851)).await;
    let silent = silence(&bed).await;
    let (rider, session, duty) = (device.rider, device.session, Duty::Break);
    let (city, storage, deadline) = (bed.city().unwrap(), bed.storage.clone(), Duration::from_millis(100));
    let patient = actix_web::rt::spawn(async move {
        city.ask_through_outages(deadline, storage, move |reply| Command::SetDuty { rider, session, duty, reply }).await
    });
    let city = bed.city().unwrap();
    until("an outage", || (!bed.storage.is_up()).then_some(())).await;
    let hasty = city.ask(deadline, move |reply| Command::SetDuty { rider, session, duty, reply }).await;
    assert_eq!(hasty, Err(CityCallError::Deadline));
    assert!(!patient.is_finished());
    silent.rollback().await.unwrap();
    assert_eq!(patient.await.unwrap(), Ok(Outcome::Duty { duty: Duty::Break, next: None }));
    assert!(bed.storage.is_up());
    bed.stop().await;
}

//! Whose a city is: two processes on one database, told apart by their instance.

use std::{
    collections::BTreeSet,
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    time::Duration,
};

use dispatch_engine::{
    actors::{
        city::{CityCallError, Ending},
        order_journal,
        router::{self, RouterError},
    },
    domain::{city::CityStatus, ids::OrderId},
    engine::command::Refusal,
    store::{Db, epochs},
};

use crate::{
    bed::{Bed, pune},
    support::{
        TestDatabase,
        rows::{city_row, claim_by_force},
        until,
    },
};

/// As short as a lease can be.
const LEASE: Duration = Duration::from_secs(1);

async fn database() -> Db {
    let db = TestDatabase::create().await.db;
    city_row(&db, "pune").await;
    db
}

async fn process(db: &Db, instance: &str, take_over: bool) -> Bed {
    let options = router::Options { threads: 1, lease_s: LEASE.as_secs(), ..router::Options::default() };
    let journal = order_journal::Options::default();
    Bed::beside(db.clone(), CityStatus::Live, journal, options, instance, take_over).await
}

async fn epoch(bed: &Bed) -> (i64, String) {
    epochs::holder(&bed.db, &bed.code).await.unwrap().unwrap()
}

async fn orders(bed: &Bed) -> BTreeSet<OrderId> {
    let snapshot = bed.city().unwrap().snapshot(Duration::from_secs(20)).await.unwrap();
    snapshot.orders.iter().map(|view| view.order).collect()
}

async fn comes_to(bed: &Bed, state: &str) {
    until(state, || (bed.slot() == state).then_some(())).await;
}

#[actix_web::test]
async fn a_second_process_waits_until_the_city_is_given_back() {
    let db = database().await;
    let first = process(&db, "first", false).await;
    let order = first.place().await.unwrap();
    let second = process(&db, "second", false).await;
    assert_eq!((second.slot(), second.place().await), ("held", Err(CityCallError::Gone)));
    let again = second.launcher.apply_city(pune(CityStatus::Live)).await;
    assert!(matches!(again, Err(RouterError::Held(held)) if held.by == "first"));

    // The lease is renewed for as long as its holder lives.
    tokio::time::sleep(LEASE * 2).await;
    assert_eq!((first.slot(), second.slot(), epoch(&first).await), ("running", "held", (1, "first".into())));
    first.place().await.unwrap();

    first.stop().await;
    comes_to(&second, "running").await;
    assert_eq!(epoch(&second).await, (2, "second".into()));
    assert!(orders(&second).await.contains(&order));
    second.place().await.unwrap();
    second.stop().await;
}

#[actix_web::test]
async fn after_a_crash_the_lease_passes() {
    let db = database().await;
    let Bed { launcher, code, .. } = process(&db, "first", false).await;
    let left_over = launcher.router().city(&code).unwrap();
    // Nobody renews any more, and the city does not know.
    drop(launcher);
    let second = process(&db, "second", false).await;
    assert_eq!(second.slot(), "held");
    comes_to(&second, "running").await;
    second.place().await.unwrap();
    assert!(left_over.is_running(), "it learns of it when it writes");
    second.stop().await;
}

#[actix_web::test]
async fn the_same_instance_is_back_at_once() {
    let db = database().await;
    let Bed { launcher, .. } = process(&db, "same", false).await;
    drop(launcher);
    let second = process(&db, "same", false).await;
    assert_eq!((second.slot(), epoch(&second).await.0), ("running", 2));
    second.stop().await;
}

#[actix_web::test]
async fn who_takes_over_has_everything_that_was_confirmed_and_nothing_comes_after() {
    let db = database().await;
    let first = Arc::new(process(&db, "first", false).await);
    let (enough, mut clerks) = (Arc::new(AtomicBool::new(false)), vec![]);
    for _ in 0..8 {
        let (bed, enough) = (first.clone(), enough.clone());
        clerks.push(actix_web::rt::spawn(async move {
            let mut placed = BTreeSet::new();
            loop {
                match bed.place().await {
                    Ok(order) => placed.insert(order),
                    Err(why) => return (placed, why),
                };
                if placed.len() >= 20 {
                    enough.store(true, Ordering::Release);
                }
            }
        }));
    }
    until("many orders", || enough.load(Ordering::Acquire).then_some(())).await;

    // With commits in flight: the claim waits for them, and what it reads is all there will ever be.
    let second = process(&db, "second", true).await;
    let found = orders(&second).await;
    let mut confirmed = BTreeSet::new();
    for clerk in clerks {
        let (placed, why) = clerk.await.unwrap();
        assert!(matches!(why, CityCallError::Gone | CityCallError::Refused(Refusal::Fenced)), "{why:?}");
        confirmed.extend(placed);
    }
    assert!(confirmed.len() >= 20 && confirmed.is_subset(&found));
    let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&db).await.unwrap();
    assert_eq!(usize::try_from(stored).unwrap(), found.len(), "nothing was stored after the claim");

    comes_to(&first, "fenced").await;
    // It stays away, also when the city is free.
    second.place().await.unwrap();
    second.stop().await;
    let again = first.launcher.apply_city(pune(CityStatus::Live)).await;
    assert!(matches!(again, Err(RouterError::Fenced)), "{again:?}");
    tokio::time::sleep(LEASE * 2).await;
    assert_eq!((first.slot(), epoch(&first).await), ("fenced", (2, "second".into())));
}

#[actix_web::test]
async fn a_city_that_writes_nothing_is_fenced_by_its_lease() {
    let db = database().await;
    let bed = process(&db, "first", false).await;
    let city = bed.city().unwrap();
    claim_by_force(&db, &bed.code, "another").await;
    assert_eq!(city.ended().await, Ending::Fenced);
    comes_to(&bed, "fenced").await;
    assert_eq!(bed.city().err(), Some(CityCallError::Gone));
}

#[actix_web::test]
async fn a_city_that_was_taken_over_while_it_was_down_is_not_taken_back() {
    let db = database().await;
    let options = router::Options { threads: 1, restart_min_ms: 500, ..router::Options::default() };
    let journal = order_journal::Options::default();
    let bed = Bed::beside(db.clone(), CityStatus::Live, journal, options, "first", false).await;
    assert_eq!(bed.ask(|_| panic!("as the test wants")).await, Err(CityCallError::Gone));
    claim_by_force(&db, &bed.code, "another").await;
    comes_to(&bed, "fenced").await;
    assert_eq!(epoch(&bed).await, (2, "another".into()));
}

//! The life of a city: orders, panics, another process, a full or absent store.

use std::{
    sync::{Arc, MutexGuard},
    time::Duration,
};

use actix::Actor as _;
use dispatch_engine::{
    actors::{
        city::{CityCallError, Ending},
        gate::Gate,
        operator_session::{OperatorOutbox, Watched},
        order_journal,
        router::{self, RouterError},
    },
    domain::{
        city::CityStatus,
        duty::Duty,
        order::{Actor, OrderStatus, Step},
    },
    engine::{
        command::{Answer, Command, Conditions, Outcome, Refusal, StepReport},
        effect::Notice,
    },
    store::epochs,
};

use crate::{
    bed::{Bed, Screen, at, offer, pune},
    support::{
        SOON,
        rows::{claim_by_force, earned},
        until,
    },
};

#[actix_web::test]
async fn an_order_goes_from_placed_to_delivered() {
    let bed = Bed::new(CityStatus::Live, order_journal::Options::default()).await;
    let frames = Arc::default();
    let screen = Screen(Arc::clone(&frames)).start();
    bed.city().unwrap().watch(OperatorOutbox::new(screen.recipient(), Gate::unmetered(64))).unwrap();

    let order = bed.place().await.unwrap();
    let queue = async || bed.cache.queue(&bed.code).await.unwrap();
    while queue().await != [order] {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let device = bed.rider(at(18.521, 73.851)).await;
    let (rider, session) = (device.rider, device.session);
    let offer = bed.told(&device, offer).await;
    let seen = bed.ask(move |reply| Command::OfferSeen { rider, session, offer, reply }).await;
    assert!(matches!(seen, Ok(Outcome::OfferSeen { .. })), "{seen:?}");
    let answer = Answer::Accept;
    let taken = bed.ask(move |reply| Command::AnswerOffer { rider, session, offer, answer, reply }).await;
    assert!(matches!(taken, Ok(Outcome::Accepted(_))), "{taken:?}");
    for step in [Step::AtPickup, Step::PickedUp, Step::AtDropoff, Step::Delivered] {
        let at = bed.clock.now();
        let report = Box::new(StepReport { order, step, at, position: None, reason: None, proof: None, otp: None });
        let done = bed.ask(move |reply| Command::Progress { rider, session, report, reply }).await;
        assert!(matches!(done, Ok(Outcome::Stepped { .. })), "{step}: {done:?}");
    }

    let status: String =
        sqlx::query_scalar("SELECT status FROM orders WHERE id = $1").bind(order.0).fetch_one(&bed.db).await.unwrap();
    assert_eq!(status, OrderStatus::Delivered.as_str());
    assert_eq!(earned(&bed.db, rider).await, [4_000]);

    // The operator saw a snapshot, then deltas; the last word on the order is its end.
    until("the operator sees the end", || {
        let frames: MutexGuard<'_, Vec<Watched>> = frames.lock().unwrap();
        assert!(frames.first().is_none_or(|frame| matches!(frame, Watched::Snapshot(_))));
        frames.iter().find(|frame| {
            matches!(frame, Watched::Delta { changes, counts, .. }
                if changes.ended.contains(&(order, OrderStatus::Delivered)) && counts.delivered == 1)
        })?;
        Some(())
    })
    .await;
    // So did the mirror.
    while !queue().await.is_empty() || !bed.cache.pool(&bed.code).await.unwrap().contains(&rider) {
        bed.ping(&device);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    assert_eq!(bed.cache.duty(rider).await.unwrap(), Some(Duty::On));
    assert_eq!(bed.cache.location(rider).await.unwrap().unwrap().lat, 18.521);
    bed.stop().await;
}

#[actix_web::test]
async fn a_city_that_panics_is_rebuilt_and_one_that_keeps_at_it_stays_down() {
    let bed = Bed::new(CityStatus::Live, order_journal::Options::default()).await;
    let order = bed.place().await.unwrap();
    for panics in 1..=4 {
        let before = epochs::holder(&bed.db, &bed.code).await.unwrap().unwrap().0;
        let gone = bed.ask(|_| panic!("as the test wants")).await;
        assert_eq!(gone, Err(CityCallError::Gone));
        if panics == 4 {
            break;
        }
        // The caller may hear of the end a moment before the slot does.
        while epochs::holder(&bed.db, &bed.code).await.unwrap().unwrap().0 != before + 1 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        let city = until("the city is back", || bed.city().ok()).await;
        let snapshot = city.snapshot(SOON).await.unwrap();
        assert_eq!(snapshot.orders.iter().map(|view| view.order).collect::<Vec<_>>(), [order]);
    }
    until("quarantine", || (bed.slot() == "quarantined").then_some(())).await;
    assert_eq!(bed.city().err(), Some(CityCallError::Gone));

    // Somebody has looked.
    bed.launcher.apply_city(pune(CityStatus::Live)).await.unwrap();
    bed.place().await.unwrap();
    bed.stop().await;
}

#[actix_web::test]
async fn a_start_that_was_put_off_does_not_undo_a_quarantine() {
    let pause = 600;
    let options = router::Options {
        threads: 1,
        max_panics: 1,
        restart_min_ms: pause,
        restart_max_ms: pause,
        ..router::Options::default()
    };
    let bed = Bed::with(CityStatus::Live, order_journal::Options::default(), options).await;
    let fail = async || {
        assert_eq!(bed.ask(|_| panic!("as the test wants")).await, Err(CityCallError::Gone));
        until("the city is down", || (bed.slot() != "running").then_some(())).await;
    };
    // Somebody starts the city before its pause is over, and it fails again: now two starts are put off.
    fail().await;
    tokio::time::sleep(Duration::from_millis(pause / 2)).await;
    bed.launcher.apply_city(pune(CityStatus::Live)).await.unwrap();
    fail().await;
    // The first of them brings the city up, and it fails once too often before the second.
    until("the city is back", || bed.city().ok()).await;
    fail().await;
    assert_eq!(bed.slot(), "quarantined");
    tokio::time::sleep(Duration::from_millis(pause)).await;
    assert_eq!(bed.slot(), "quarantined");
    bed.stop().await;
}

#[actix_web::test]
async fn a_city_that_remembers_what_the_store_does_not_hold_is_rebuilt() {
    let bed = Bed::new(CityStatus::Live, order_journal::Options::default()).await;
    let order = bed.place().await.unwrap();
    sqlx::query("UPDATE orders SET version = version + 1").execute(&bed.db).await.unwrap();
    let cancel = || {
        bed.ask(move |reply| {
            let (actor, reason) = (Actor::ENGINE, "changed mind".to_owned());
            Command::Cancel { order, actor, reason, reply, given: Conditions::default() }
        })
    };
    assert_eq!(cancel().await, Err(CityCallError::Refused(Refusal::Conflict)));
    while epochs::holder(&bed.db, &bed.code).await.unwrap().unwrap().0 == 1 {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    until("the city is back", || bed.city().ok()).await;
    let done = cancel().await;
    assert!(matches!(done, Ok(Outcome::Order { status: OrderStatus::Cancelled, version: 3, .. })), "{done:?}");
    bed.stop().await;
}

#[actix_web::test]
async fn a_city_that_another_process_took_over_says_so_and_stays_away() {
    let bed = Bed::new(CityStatus::Live, order_journal::Options::default()).await;
    let city = bed.city().unwrap();
    claim_by_force(&bed.db, &bed.code, "another").await;
    assert_eq!(bed.place().await, Err(CityCallError::Refused(Refusal::Fenced)));
    assert_eq!(city.ended().await, Ending::Fenced);
    until("fenced", || (bed.slot() == "fenced").then_some(())).await;
    let again = bed.launcher.apply_city(pune(CityStatus::Live)).await;
    assert!(matches!(again, Err(RouterError::Fenced)), "{again:?}");
    assert_eq!(epochs::holder(&bed.db, &bed.code).await.unwrap().unwrap().1, "another");
    let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&bed.db).await.unwrap();
    assert_eq!(stored, 0);
    assert!(bed.launcher.stop(SOON).await);
}

#[actix_web::test]
async fn a_full_journal_refuses_and_a_city_goes_on() {
    let full = order_journal::Options { bound: 0, ..order_journal::Options::default() };
    let bed = Bed::new(CityStatus::Live, full).await;
    assert_eq!(bed.place().await, Err(CityCallError::Refused(Refusal::StorageBusy)));
    assert_eq!(bed.place().await, Err(CityCallError::Refused(Refusal::StorageBusy)));
    bed.stop().await;
}

#[actix_web::test]
async fn a_draft_does_not_run_until_it_is_live() {
    let bed = Bed::new(CityStatus::Draft, order_journal::Options::default()).await;
    assert_eq!((bed.slot(), bed.city().err()), ("draft", Some(CityCallError::Gone)));
    bed.launcher.apply_city(pune(CityStatus::Live)).await.unwrap();
    bed.place().await.unwrap();
    // A running city hears of its new settings.
    bed.launcher.apply_city(pune(CityStatus::Paused)).await.unwrap();
    assert_eq!(bed.place().await, Err(CityCallError::Refused(Refusal::CityPaused)));
    bed.launcher.apply_city(pune(CityStatus::Draft)).await.unwrap();
    assert_eq!((bed.slot(), bed.city().err()), ("draft", Some(CityCallError::Gone)));
    assert!(bed.launcher.stop(SOON).await);
}

#[actix_web::test]
async fn a_newer_session_takes_over() {
    let bed = Bed::new(CityStatus::Live, order_journal::Options::default()).await;
    let mut device = bed.rider(at(18.521, 73.851)).await;
    bed.connect(&mut device).await;
    bed.told(&device, |notice| (*notice == Notice::TakenOver).then_some(())).await;
    bed.stop().await;
}

#[actix_web::test]
async fn nothing_is_confirmed_while_the_database_is_away() {
    let bed = Bed::new(CityStatus::Live, order_journal::Options::default()).await;
    bed.db.close().await;
    let city = bed.city().unwrap();
    let placing = tokio::time::timeout(Duration::from_millis(300), bed.place()).await;
    assert!(placing.is_err(), "{placing:?}");
    assert!(city.is_running(), "the city goes on");
    assert_eq!(city.snapshot(SOON).await.unwrap().counts.writes_pending, 1);
    assert!(!bed.launcher.stop(Duration::from_millis(300)).await, "the write is not stored");
}

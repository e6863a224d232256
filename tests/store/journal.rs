//! The journal's transaction and recovery against a real PostgreSQL.

use std::time::Duration;

use dispatch_engine::{
    domain::{
        duty::{Duty, DutyReason},
        ids::{CityCode, JobId, MerchantId, OfferId, OrderId, RiderId, TransitionId},
        money::Currency,
        order::{Actor, Custody, OfferState, OrderSpec, OrderStatus, Place},
        position::Position,
        rider::Vehicle,
        steering::Priority,
        tags::Tags,
        time::Timestamp,
        wallet::settle_order,
    },
    engine::{
        MEMORY, StoredEnd,
        command::{IdempotencyRecord, PlacementExtras, RejectReason, SealedContact},
        effect::{DutyWrite, OfferRecord, OrderEvent, OrderState, OrderWrite, PlaceWrite, Write},
    },
    store::{
        Db, epochs,
        journal::{JournalEntry, commit},
        partitions, recovery,
    },
};
use serde_json::{Map, json};
use uuid::Uuid;

use crate::support::{
    TestDatabase,
    rows::{city_row, claim_by_force, earned, rider_row},
};

/// 2026-11-23T12:00:00Z.
pub(super) const NOW: Timestamp = Timestamp::from_millis(1_795_435_200_000);

/// How far back riders who lost an order are remembered.
pub const REPORT_AGE: Duration = Duration::from_secs(12 * 3_600);

pub fn id(at: Timestamp) -> Uuid {
    let mut tail = [0; 10];
    tail.copy_from_slice(&Uuid::new_v4().as_bytes()[..10]);
    uuid::Builder::from_unix_timestamp_millis(at.as_millis().cast_unsigned(), &tail).into_uuid()
}

pub(super) fn transition() -> TransitionId {
    TransitionId(id(NOW))
}

pub(super) struct Bed {
    pub db: Db,
    pub city: CityCode,
    pub epoch: i64,
}

impl Bed {
    pub async fn new() -> Self {
        let db = TestDatabase::create().await.db;
        let city = city_row(&db, "pune").await;
        partitions::ensure_months(&db, NOW).await.unwrap();
        let epoch = claim_by_force(&db, &city, "test").await;
        Self { db, city, epoch }
    }

    pub async fn rider(&self) -> RiderId {
        rider_row(&self.db, &self.city).await
    }

    pub fn entry(&self, write: Write) -> JournalEntry {
        JournalEntry { city: self.city.clone(), epoch: self.epoch, write }
    }

    pub async fn commit(&self, writes: Vec<Write>) -> Vec<Result<(), RejectReason>> {
        let batch: Vec<_> = writes.into_iter().map(|write| self.entry(write)).collect();
        commit(&self.db, &batch).await.unwrap()
    }

    pub async fn count(&self, sql: &'static str) -> i64 {
        sqlx::query_scalar(sql).fetch_one(&self.db).await.unwrap()
    }
}

fn spec(merchant: MerchantId, external_ref: Option<&str>) -> OrderSpec {
    let place = |lat, lon| Place { position: Position::new(lat, lon).unwrap(), hint: Some("gate 2".into()) };
    OrderSpec {
        id: OrderId(id(NOW)),
        merchant,
        external_ref: external_ref.map(Into::into),
        store: Some("s-1".into()),
        pickup: place(18.52, 73.85),
        drop: place(18.53, 73.86),
        ready_at: NOW + Duration::from_secs(600),
        promise_at: NOW + Duration::from_secs(2_400),
        dispatch_at: None,
        size_units: 2,
        vehicle_need: Some(Vehicle::Bicycle),
        cash_to_collect_minor: 25_050,
        payout_minor: 4_000,
        pay_policy_version: 1,
        currency: Currency::INR,
        metadata: json!({"basket": [1, 2]}).as_object().cloned().unwrap(),
        placed_at: NOW,
        otp_digest: None,
        needs_tags: Tags::NONE,
    }
}

fn first_state(spec: &OrderSpec) -> OrderState {
    OrderState {
        status: OrderStatus::Queued,
        version: 1,
        next_seq: 3,
        rider: None,
        custody: Custody::Store,
        ready_at: spec.ready_at,
        due_at: None,
        assigned_at: None,
        picked_up_at: None,
        delivered_at: None,
        ended_at: None,
        end_reason: None,
        round: 0,
        offers_tried: 0,
        updated_at: NOW,
        payout_minor: None,
        parked: false,
        hold: None,
        priority: Priority::default(),
    }
}

pub fn event(seq: i32, version: i32, kind: &'static str) -> OrderEvent {
    OrderEvent { seq, version, kind, actor: Actor::ENGINE, reason: None, data: Map::new(), at: NOW }
}

fn place(spec: OrderSpec, extras: PlacementExtras) -> PlaceWrite {
    PlaceWrite {
        transition: transition(),
        state: first_state(&spec),
        spec,
        events: vec![event(1, 1, "placed"), event(2, 1, "queued")],
        extras,
    }
}

pub(super) fn plain(external_ref: Option<&str>) -> PlaceWrite {
    place(spec(MerchantId(Uuid::from_u128(7)), external_ref), PlacementExtras::default())
}

fn keyed(key: &str, digest: u8, answer: &str) -> PlaceWrite {
    let idempotency = Some(IdempotencyRecord {
        caller: "merchant:7".into(),
        key: key.into(),
        digest: vec![digest; 32],
        answer: json!({ "order": answer }),
        expires_at: NOW + Duration::from_secs(86_400),
    });
    place(spec(MerchantId(Uuid::from_u128(7)), None), PlacementExtras { contact: None, idempotency })
}

/// The change that follows `before`: another status, one version on, one event.
pub(super) fn change(order: OrderId, before: &OrderState, status: OrderStatus, kind: &'static str) -> OrderWrite {
    let mut state = before.clone();
    state.status = status;
    state.version += 1;
    state.next_seq += 1;
    state.updated_at = NOW + Duration::from_secs(30);
    OrderWrite {
        transition: transition(),
        order,
        expected_version: before.version,
        events: vec![event(before.next_seq, state.version, kind)],
        state,
        offers: vec![],
        postings: vec![],
        currency: Currency::INR,
        audit: None,
        idempotency: None,
        frame: None,
        dispute: None,
    }
}

pub(super) fn offer(rider: RiderId, order: OrderId, state: OfferState) -> OfferRecord {
    OfferRecord {
        id: OfferId(id(NOW)),
        job: JobId(id(NOW)),
        rider,
        orders: vec![order],
        state,
        round: 1,
        reason: None,
        payout_minor: 4_000,
        currency: Currency::INR,
        pickup_eta: Duration::from_millis(61_500),
        pickup_distance_m: 512.5,
        sent_at: NOW,
        seen_at: None,
        hard_cap_at: NOW + Duration::from_secs(60),
        closed_at: None,
        pay_policy_version: 3,
    }
}

fn duty(bed: &Bed, rider: RiderId, duty: Duty, after_s: u64) -> Write {
    Write::Duty(DutyWrite {
        transition: transition(),
        rider,
        city: bed.city.clone(),
        duty,
        reason: DutyReason::Rider,
        at: NOW + Duration::from_secs(after_s),
        next: None,
        frame: None,
    })
}

#[tokio::test]
async fn a_version_conflict_fails_only_its_order() {
    let bed = Bed::new().await;
    let (a, b) = (plain(None), plain(None));
    assert_eq!(bed.commit(vec![Write::Place(a.clone()), Write::Place(b.clone())]).await, [Ok(()), Ok(())]);

    let good = change(a.spec.id, &a.state, OrderStatus::Offered, "offered");
    let mut stale = change(b.spec.id, &b.state, OrderStatus::Offered, "offered");
    stale.expected_version = 5;
    let answers = bed.commit(vec![Write::Order(stale), Write::Order(good)]).await;
    assert_eq!(answers, [Err(RejectReason::Conflict), Ok(())]);
    assert_eq!(bed.count("SELECT count(*) FROM order_events").await, 5);
    assert_eq!(bed.count("SELECT count(*) FROM orders WHERE version = 2 AND status = 'offered'").await, 1);
}

#[tokio::test]
async fn a_merchants_name_for_an_order_is_taken_once() {
    let bed = Bed::new().await;
    let first = plain(Some("A-1"));
    bed.commit(vec![Write::Place(first.clone())]).await;
    let mut second = keyed("k", 1, "second");
    second.spec.external_ref = Some("A-1".into());
    let fresh = plain(Some("A-2"));
    // The same batch also holds a pair that meets within it.
    let twin = plain(Some("A-2"));
    let batch = [&second, &fresh, &twin].map(|write| Write::Place(write.clone()));
    let answers = bed.commit(batch.to_vec()).await;
    assert_eq!(
        answers,
        [Err(RejectReason::DuplicateRef(first.spec.id)), Ok(()), Err(RejectReason::DuplicateRef(fresh.spec.id))]
    );
    assert_eq!(bed.count("SELECT count(*) FROM idempotency_keys").await, 0, "the loser's key is given back");
    assert_eq!(bed.count("SELECT count(*) FROM order_refs").await, 2);
    assert_eq!(bed.count("SELECT count(*) FROM orders").await, 2);
}

#[tokio::test]
async fn an_idempotency_key_answers_again_and_refuses_another_body() {
    let bed = Bed::new().await;
    let first = keyed("k-1", 1, "first");
    let (again, other) = (keyed("k-1", 1, "again"), keyed("k-1", 2, "other"));
    let batch = [&first, &again, &other].map(|write| Write::Place(write.clone()));
    let answers = bed.commit(batch.to_vec()).await;
    let replay = Err(RejectReason::Replay(json!({ "order": "first" })));
    assert_eq!(answers, [Ok(()), replay.clone(), Err(RejectReason::KeyReused)]);
    assert_eq!(bed.commit(vec![Write::Place(keyed("k-1", 1, "later"))]).await, [replay]);
    assert_eq!(bed.count("SELECT count(*) FROM orders").await, 1);

    // A key past its time is forgotten.
    let mut late = keyed("k-1", 9, "late");
    late.spec.placed_at = NOW + Duration::from_secs(86_401);
    assert_eq!(bed.commit(vec![Write::Place(late)]).await, [Ok(())]);
}

#[tokio::test]
async fn a_retry_after_a_lost_commit_finds_itself_stored() {
    let bed = Bed::new().await;
    let rider = bed.rider().await;
    let bare = plain(None);
    let mut full = keyed("k-2", 1, "full");
    full.spec.external_ref = Some("B-1".into());
    full.extras.contact = Some(SealedContact { key_id: "k".into(), sealed: vec![1, 2], expires_at: NOW });
    let mut taken = change(bare.spec.id, &bare.state, OrderStatus::Offered, "offered");
    taken.offers = vec![offer(rider, bare.spec.id, OfferState::Sent)];
    let batch = vec![
        Write::Place(bare.clone()),
        Write::Place(full.clone()),
        duty(&bed, rider, Duty::On, 1),
        Write::Order(taken),
    ];
    let first = bed.commit(batch.clone()).await;
    assert_eq!(first, [Ok(()), Ok(()), Ok(()), Ok(())], "a placement and its first change may share a batch");
    assert_eq!(bed.commit(batch).await, first);
    assert_eq!(bed.count("SELECT count(*) FROM order_events").await, 5);
    assert_eq!(bed.count("SELECT count(*) FROM duty_logs").await, 1);
    assert_eq!(bed.count("SELECT count(*) FROM offers").await, 1);
    assert_eq!(bed.count("SELECT count(*) FROM order_contacts").await, 1);
}

#[tokio::test]
async fn a_superseded_incarnation_is_fenced_and_the_rest_goes_on() {
    let bed = Bed::new().await;
    let old = bed.entry(Write::Place(plain(None)));
    let epoch = claim_by_force(&bed.db, &bed.city, "another").await;
    assert_eq!(epochs::holder(&bed.db, &bed.city).await.unwrap(), Some((epoch, "another".into())));
    let new = JournalEntry { epoch, ..bed.entry(Write::Place(plain(None))) };
    let nowhere = JournalEntry { city: CityCode::parse("delhi").unwrap(), ..new.clone() };
    let answers = commit(&bed.db, &[old, new, nowhere]).await.unwrap();
    assert_eq!(answers, [Err(RejectReason::Fenced), Ok(()), Err(RejectReason::Fenced)]);
    assert_eq!(bed.count("SELECT count(*) FROM orders").await, 1);
}

#[tokio::test]
async fn a_write_that_the_database_refuses_fails_alone() {
    let bed = Bed::new().await;
    let mut bad = plain(None);
    bad.spec.size_units = 0;
    let answers = bed.commit(vec![Write::Place(plain(None)), Write::Place(bad), Write::Place(plain(None))]).await;
    let [Ok(()), Err(RejectReason::Invalid(why)), Ok(())] = answers.as_slice() else { panic!("{answers:?}") };
    assert_eq!(why, "SQLSTATE 23514 at orders_size_units_check");
    assert_eq!(bed.count("SELECT count(*) FROM orders").await, 2);
    assert_eq!(bed.count("SELECT count(*) FROM order_events").await, 4);
}

#[tokio::test]
async fn a_month_without_a_partition_gets_one() {
    let bed = Bed::new().await;
    let later = NOW + Duration::from_secs(400 * 86_400);
    let mut far = plain(None);
    far.spec.id = OrderId(id(later));
    let rider = bed.rider().await;
    let answers = bed.commit(vec![Write::Place(far), duty(&bed, rider, Duty::On, 800 * 86_400)]).await;
    assert_eq!(answers, [Ok(()), Ok(())]);
}

#[tokio::test]
async fn a_delivery_moves_money_that_sums_to_zero_once() {
    let bed = Bed::new().await;
    let rider = bed.rider().await;
    let order = plain(None);
    let mut done = change(order.spec.id, &order.state, OrderStatus::Delivered, "delivered");
    done.state.custody = Custody::Recipient;
    done.state.ended_at = Some(NOW);
    done.postings = settle_order(order.spec.id, rider, order.spec.merchant, 4_000, 25_050);
    bed.commit(vec![Write::Place(order.clone())]).await;
    for _ in 0..2 {
        assert_eq!(bed.commit(vec![Write::Order(done.clone())]).await, [Ok(())]);
    }
    assert_eq!(bed.count("SELECT count(*) FROM wallet_ledger").await, 2);
    assert_eq!(bed.count("SELECT count(*) FROM platform_ledger").await, 2);
    let sum = "SELECT sum(amount)::int8 FROM (SELECT amount, transaction_id FROM wallet_ledger
               UNION ALL SELECT amount, transaction_id FROM platform_ledger) AS both_ledgers";
    assert_eq!(bed.count(sum).await, 0);
    assert_eq!(earned(&bed.db, rider).await, [4_000]);
    // An order that ended is not loaded again; its end is remembered for a while.
    let image = recovery::load_city(&bed.db, &bed.city, NOW, REPORT_AGE).await.unwrap();
    assert!(image.orders.is_empty());
    let end = |end: &StoredEnd| (end.order, end.status, end.version, end.at);
    let ended = (order.spec.id, OrderStatus::Delivered, done.state.version, NOW);
    assert_eq!(image.ended.iter().map(end).collect::<Vec<_>>(), [ended]);
    let later = NOW + MEMORY + Duration::from_secs(1);
    assert!(recovery::load_city(&bed.db, &bed.city, later, REPORT_AGE).await.unwrap().ended.is_empty());
}

#[tokio::test]
async fn an_offer_never_opens_again() {
    let bed = Bed::new().await;
    let rider = bed.rider().await;
    let order = plain(None);
    bed.commit(vec![Write::Place(order.clone())]).await;
    let sent = offer(rider, order.spec.id, OfferState::Sent);
    let seen = OfferRecord { state: OfferState::Seen, seen_at: Some(NOW), ..sent.clone() };
    let closed = OfferRecord { state: OfferState::Expired, closed_at: Some(NOW), ..seen.clone() };
    let write = |offer: &OfferRecord| Write::Offer { transition: transition(), offer: offer.clone() };
    // Within one batch, and over several.
    bed.commit(vec![write(&sent), write(&closed), write(&seen)]).await;
    bed.commit(vec![write(&seen)]).await;
    let state: String =
        sqlx::query_scalar("SELECT state FROM offers WHERE id = $1").bind(sent.id.0).fetch_one(&bed.db).await.unwrap();
    assert_eq!(state, "expired");
}

#[tokio::test]
async fn duty_is_logged_and_names_the_city_that_holds_the_rider() {
    let bed = Bed::new().await;
    let rider = bed.rider().await;
    bed.commit(vec![duty(&bed, rider, Duty::On, 1), duty(&bed, rider, Duty::Break, 2)]).await;
    let row: (String, Option<String>, i64) =
        sqlx::query_as("SELECT duty, live_city, live_epoch FROM riders WHERE id = $1")
            .bind(rider.0)
            .fetch_one(&bed.db)
            .await
            .unwrap();
    assert_eq!(row, ("BREAK".into(), Some("pune".into()), bed.epoch));
    bed.commit(vec![duty(&bed, rider, Duty::AutoOff, 3)]).await;
    let row: (String, Option<String>) = sqlx::query_as("SELECT duty, live_city FROM riders WHERE id = $1")
        .bind(rider.0)
        .fetch_one(&bed.db)
        .await
        .unwrap();
    assert_eq!(row, ("AUTO_OFF".into(), None));
    assert_eq!(bed.count("SELECT count(*) FROM duty_logs").await, 3);
}

#[tokio::test]
async fn a_city_loads_what_was_stored() {
    let bed = Bed::new().await;
    let (on_duty, carrier, idle) = (bed.rider().await, bed.rider().await, bed.rider().await);
    let (waiting, carried) = (plain(Some("C-1")), plain(None));
    let mut picked_up = change(carried.spec.id, &carried.state, OrderStatus::PickedUp, "picked_up");
    picked_up.state.rider = Some(carrier);
    let at = Position::new(18.525, 73.855).unwrap();
    picked_up.state.custody = Custody::Handover { holder: carrier, at };
    picked_up.state.assigned_at = Some(NOW);
    picked_up.state.picked_up_at = Some(NOW + Duration::from_secs(20));
    let mut offered = change(waiting.spec.id, &waiting.state, OrderStatus::Offered, "offered");
    offered.offers = vec![offer(on_duty, waiting.spec.id, OfferState::Sent)];
    bed.commit(vec![
        Write::Place(waiting.clone()),
        Write::Place(carried.clone()),
        duty(&bed, on_duty, Duty::On, 1),
        Write::Order(picked_up.clone()),
        Write::Order(offered.clone()),
    ])
    .await;

    let accepted = OfferRecord {
        state: OfferState::Accepted,
        closed_at: Some(NOW),
        ..offer(on_duty, carried.spec.id, OfferState::Sent)
    };
    let elsewhere = OfferRecord { id: Uuid::new_v4().into(), rider: idle, ..accepted.clone() };
    for offer in [&accepted, &elsewhere] {
        bed.commit(vec![Write::Offer { transition: transition(), offer: offer.clone() }]).await;
    }

    let image = recovery::load_city(&bed.db, &bed.city, NOW, REPORT_AGE).await.unwrap();
    assert_eq!(image.closed, [accepted], "what a rider of the city may ask for again");
    let later = NOW + MEMORY + Duration::from_secs(1);
    assert!(recovery::load_city(&bed.db, &bed.city, later, REPORT_AGE).await.unwrap().closed.is_empty());
    let mut expected = vec![(waiting.spec, offered.state), (carried.spec, picked_up.state)];
    expected.sort_by_key(|(spec, _)| spec.id);
    assert_eq!(image.orders, expected);
    assert_eq!(image.offers, offered.offers);
    let riders: Vec<_> = image.riders.iter().map(|rider| (rider.profile.id, rider.duty)).collect();
    assert!(riders.contains(&(on_duty, Duty::On)) && riders.contains(&(carrier, Duty::Off)));
    assert!(!riders.iter().any(|(rider, _)| *rider == idle));
}

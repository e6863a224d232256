//! Cities as production runs them, without sockets: launcher, city actors, journal and mirror on a real PostgreSQL.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use actix::{Actor, Context, Handler};
use dispatch_engine::{
    actors::{
        city::{self, CityCallError, CityDeps, CityHandle},
        gate::Gate,
        mirror::{Mirror, MirrorOptions},
        operator_session::{OperatorOutbox, Show, Watched},
        order_journal::{self, JournalHandle},
        rider_session::{Deliver, RiderOutbox},
        router::{self, Launcher, LauncherDeps, RouterError, Slot},
    },
    cache::Cache,
    clock::Clock,
    domain::{
        self,
        city::{Boundary, CityStatus},
        duty::Duty,
        ids::{CityCode, MerchantId, OrderId, RiderId, SessionId},
        money::Currency,
        order::{Actor as Cause, OrderSpec, OrderStatus, Place, Step},
        policy::DispatchPolicy,
        position::Position,
        rider::{KycStatus, RiderProfile, RiderStatus, Vehicle},
    },
    engine::{
        command::{Answer, Command, Fix, Outcome, PlacementExtras, Refusal, StepReport},
        effect::Notice,
    },
    metrics::Metrics,
    store::{Db, epochs},
};
use sqlx::postgres::{PgConnectOptions, PgPoolOptions};
use uuid::Uuid;

/// The longest a test waits for something that should happen at once.
const SOON: Duration = Duration::from_secs(20);

fn at(lat: f64, lon: f64) -> Position {
    Position::new(lat, lon).unwrap()
}

fn pune(status: CityStatus) -> domain::city::City {
    let corners = [at(18.0, 73.0), at(18.0, 74.0), at(19.0, 74.0), at(19.0, 73.0)];
    domain::city::City {
        code: CityCode::parse("pune").unwrap(),
        name: "Pune".into(),
        status,
        boundary: Boundary::new(&corners).unwrap(),
        time_zone: "Asia/Kolkata".into(),
        day_cutover_min: 0,
        currency: Currency::INR,
        policy: DispatchPolicy::default(),
        policy_version: 1,
    }
}

/// Runs a test inside an actor system on a thread of its own, as the program does.
async fn in_system<F, T>(options: PgConnectOptions, test: F)
where
    F: FnOnce(Db) -> T + Send + 'static,
    T: Future<Output = ()>,
{
    let run = move || {
        let runtime = || tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build().unwrap();
        actix::System::with_tokio_rt(runtime).block_on(async {
            let db = PgPoolOptions::new().max_connections(4).connect_with(options).await.unwrap();
            sqlx::query(
                "INSERT INTO cities (code, name, status, boundary, time_zone, currency, created_at, updated_at)
                 VALUES ('pune', 'Pune', 'live', '{}', 'Asia/Kolkata', 'INR', 'epoch', 'epoch')",
            )
            .execute(&db)
            .await
            .unwrap();
            test(db.clone()).await;
            db.close().await;
        });
    };
    tokio::task::spawn_blocking(run).await.unwrap();
}

struct Bed {
    db: Db,
    clock: Clock,
    cache: Cache,
    launcher: Launcher,
    code: CityCode,
}

impl Bed {
    async fn new(db: Db, status: CityStatus, journal: order_journal::Options) -> Self {
        let (clock, metrics, cache) = (Clock::scaled(20.0), Metrics::new(), Cache::in_process());
        let mirror = MirrorOptions { flush_ms: 20, ..MirrorOptions::default() };
        let city = CityDeps {
            clock: clock.clone(),
            journal: JournalHandle::start(db.clone(), journal, &metrics),
            mirror: Mirror::start(cache.clone(), mirror, &metrics),
            figures: city::Figures::new(&metrics),
            options: city::Options { publish_ms: 20, turn: 2, ..city::Options::default() },
        };
        let options = router::Options { threads: 1, restart_min_ms: 1, ..router::Options::default() };
        let deps = LauncherDeps { db: db.clone(), city, options, holder: "test".into() };
        let launcher = Launcher::launch(deps, vec![pune(status)]).await.unwrap();
        Self { db, clock, cache, launcher, code: CityCode::parse("pune").unwrap() }
    }

    fn city(&self) -> Result<CityHandle, CityCallError> {
        self.launcher.router().city(&self.code)
    }

    fn slot(&self) -> &'static str {
        match &self.launcher.router().cities()[0].1 {
            Slot::Running(_) => "running",
            Slot::Down(why) => why,
        }
    }

    async fn ask(
        &self,
        build: impl FnOnce(domain::ids::ReplyTo) -> Command + Send + 'static,
    ) -> Result<Outcome, CityCallError> {
        self.city()?.ask(SOON, build).await
    }

    async fn place(&self) -> Result<OrderId, CityCallError> {
        let now = self.clock.now();
        let place = |lat, lon| Place { position: at(lat, lon), hint: None };
        let spec = Box::new(OrderSpec {
            id: OrderId(self.clock.new_id()),
            merchant: MerchantId(Uuid::from_u128(7)),
            external_ref: None,
            store: None,
            pickup: place(18.52, 73.85),
            drop: place(18.53, 73.86),
            ready_at: now + Duration::from_secs(30),
            promise_at: now + Duration::from_secs(1_800),
            dispatch_at: None,
            size_units: 1,
            vehicle_need: None,
            cash_to_collect_minor: 25_050,
            payout_minor: 4_000,
            pay_policy_version: 1,
            currency: Currency::INR,
            metadata: serde_json::Map::new(),
            placed_at: now,
        });
        let id = spec.id;
        let extras = Box::<PlacementExtras>::default();
        let outcome = self.ask(move |reply| Command::Place { spec, extras, actor: Cause::ENGINE, reply }).await?;
        assert!(matches!(outcome, Outcome::Order { order, version: 1, .. } if order == id), "{outcome:?}");
        Ok(id)
    }

    /// A rider with a device, on duty at a position.
    async fn rider(&self, position: Position) -> Device {
        let rider = RiderId(self.clock.new_id());
        sqlx::query(
            "INSERT INTO riders (id, name, mobile, city, kyc_status, vehicle, created_at, updated_at)
             VALUES ($1, 'Asha', $1::text, 'pune', 'APPROVED', 'motorcycle', 'epoch', 'epoch')",
        )
        .bind(rider.0)
        .execute(&self.db)
        .await
        .unwrap();
        let mut device = Device { rider, session: SessionId(0), position, notices: Arc::default() };
        self.connect(&mut device).await;
        let (session, duty) = (device.session, Duty::On);
        let outcome = self.ask(move |reply| Command::SetDuty { rider, session, duty, reply }).await;
        assert_eq!(outcome, Ok(Outcome::Duty { duty: Duty::On, next: None }));
        self.ping(&device);
        device
    }

    async fn connect(&self, device: &mut Device) {
        device.session = SessionId(device.session.0 + 1 + u64::from(device.rider.0.as_fields().0));
        let profile = RiderProfile {
            id: device.rider,
            city: self.code.clone(),
            status: RiderStatus::Active,
            kyc: KycStatus::Approved,
            vehicle: Vehicle::Motorcycle,
            capacity_units: 10,
        };
        let inbox = Inbox(device.notices.clone()).start().recipient();
        let outbox = RiderOutbox::new(inbox, Gate::unmetered(64), Arc::new(|| {}));
        let outcome = self.city().unwrap().join(SOON, profile, device.session, outbox).await;
        assert!(matches!(outcome, Ok(Outcome::Connected(_))), "{outcome:?}");
    }

    fn ping(&self, device: &Device) {
        let recorded_at = self.clock.now();
        let fix = Fix { rider: device.rider, session: device.session, position: device.position, recorded_at };
        self.city().unwrap().fixes(vec![fix].into()).unwrap();
    }

    /// Pings until the device has been told something.
    async fn told<T>(&self, device: &Device, want: impl Fn(&Notice) -> Option<T>) -> T {
        until(|| {
            if let Ok(city) = self.city()
                && city.is_running()
            {
                self.ping(device);
            }
            device.notices.lock().unwrap().iter().find_map(&want)
        })
        .await
    }

    async fn stop(self) {
        assert!(self.launcher.stop(SOON).await);
        assert_eq!(self.slot(), "stopping");
        assert_eq!(self.city().err(), Some(CityCallError::Gone));
    }
}

/// Waits for something that should happen soon.
async fn until<T>(mut happened: impl FnMut() -> Option<T>) -> T {
    let waiting = async {
        loop {
            if let Some(result) = happened() {
                return result;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(SOON, waiting).await.unwrap()
}

struct Device {
    rider: RiderId,
    session: SessionId,
    position: Position,
    notices: Arc<Mutex<Vec<Notice>>>,
}

/// Keeps what a device is told.
struct Inbox(Arc<Mutex<Vec<Notice>>>);

impl Actor for Inbox {
    type Context = Context<Self>;
}

impl Handler<Deliver> for Inbox {
    type Result = ();

    fn handle(&mut self, deliver: Deliver, _: &mut Context<Self>) {
        self.0.lock().unwrap().push(deliver.notice);
    }
}

/// Keeps what an operator is shown.
struct Screen(Arc<Mutex<Vec<Watched>>>);

impl Actor for Screen {
    type Context = Context<Self>;
}

impl Handler<Show> for Screen {
    type Result = ();

    fn handle(&mut self, show: Show, _: &mut Context<Self>) {
        self.0.lock().unwrap().push(show.frame);
    }
}

fn offer(notice: &Notice) -> Option<domain::ids::OfferId> {
    if let Notice::Offer(view) = notice { Some(view.offer) } else { None }
}

#[sqlx::test(migrations = "./migrations")]
async fn an_order_goes_from_placed_to_delivered(_: PgPoolOptions, options: PgConnectOptions) {
    in_system(options, |db| async {
        let bed = Bed::new(db, CityStatus::Live, order_journal::Options::default()).await;
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
            let report = Box::new(StepReport { order, step, at, position: None, reason: None, proof: None });
            let done = bed.ask(move |reply| Command::Progress { rider, session, report, reply }).await;
            assert!(matches!(done, Ok(Outcome::Order { .. })), "{step}: {done:?}");
        }

        let status: String = sqlx::query_scalar("SELECT status FROM orders WHERE id = $1")
            .bind(order.0)
            .fetch_one(&bed.db)
            .await
            .unwrap();
        assert_eq!(status, OrderStatus::Delivered.as_str());
        let earned: i64 =
            sqlx::query_scalar("SELECT amount FROM wallet_ledger WHERE rider_id = $1 AND account = 'earnings'")
                .bind(rider.0)
                .fetch_one(&bed.db)
                .await
                .unwrap();
        assert_eq!(earned, 4_000);

        // The operator saw a snapshot, then deltas; the last word on the order is its end.
        until(|| {
            let frames: std::sync::MutexGuard<'_, Vec<Watched>> = frames.lock().unwrap();
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
    })
    .await;
}

#[sqlx::test(migrations = "./migrations")]
async fn a_city_that_panics_is_rebuilt_and_one_that_keeps_at_it_stays_down(
    _: PgPoolOptions,
    options: PgConnectOptions,
) {
    in_system(options, |db| async {
        let bed = Bed::new(db, CityStatus::Live, order_journal::Options::default()).await;
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
            let city = until(|| bed.city().ok()).await;
            let snapshot = city.snapshot(SOON).await.unwrap();
            assert_eq!(snapshot.orders.iter().map(|view| view.order).collect::<Vec<_>>(), [order]);
        }
        until(|| (bed.slot() == "quarantined").then_some(())).await;
        assert_eq!(bed.city().err(), Some(CityCallError::Gone));

        // Somebody has looked.
        bed.launcher.apply_city(pune(CityStatus::Live)).await.unwrap();
        bed.place().await.unwrap();
        bed.stop().await;
    })
    .await;
}

#[sqlx::test(migrations = "./migrations")]
async fn a_city_that_another_process_took_over_says_so_and_stays_away(_: PgPoolOptions, options: PgConnectOptions) {
    in_system(options, |db| async {
        let bed = Bed::new(db, CityStatus::Live, order_journal::Options::default()).await;
        let device = bed.rider(at(18.521, 73.851)).await;
        epochs::claim(&bed.db, &bed.code, "another", bed.clock.now()).await.unwrap();
        assert_eq!(bed.place().await, Err(CityCallError::Refused(Refusal::Fenced)));
        bed.told(&device, |notice| (*notice == Notice::CityMoved).then_some(())).await;
        until(|| (bed.slot() == "fenced").then_some(())).await;
        let again = bed.launcher.apply_city(pune(CityStatus::Live)).await;
        assert!(matches!(again, Err(RouterError::Fenced)), "{again:?}");
        assert_eq!(epochs::holder(&bed.db, &bed.code).await.unwrap().unwrap().1, "another");
        let stored: i64 = sqlx::query_scalar("SELECT count(*) FROM orders").fetch_one(&bed.db).await.unwrap();
        assert_eq!(stored, 0);
        assert!(bed.launcher.stop(SOON).await);
    })
    .await;
}

#[sqlx::test(migrations = "./migrations")]
async fn a_full_journal_refuses_and_a_city_goes_on(_: PgPoolOptions, options: PgConnectOptions) {
    in_system(options, |db| async {
        let full = order_journal::Options { bound: 0, ..order_journal::Options::default() };
        let bed = Bed::new(db, CityStatus::Live, full).await;
        assert_eq!(bed.place().await, Err(CityCallError::Refused(Refusal::StorageBusy)));
        assert_eq!(bed.place().await, Err(CityCallError::Refused(Refusal::StorageBusy)));
        bed.stop().await;
    })
    .await;
}

#[sqlx::test(migrations = "./migrations")]
async fn a_draft_does_not_run_until_it_is_live(_: PgPoolOptions, options: PgConnectOptions) {
    in_system(options, |db| async {
        let bed = Bed::new(db, CityStatus::Draft, order_journal::Options::default()).await;
        assert_eq!((bed.slot(), bed.city().err()), ("draft", Some(CityCallError::Gone)));
        bed.launcher.apply_city(pune(CityStatus::Live)).await.unwrap();
        bed.place().await.unwrap();
        // A running city hears of its new settings.
        bed.launcher.apply_city(pune(CityStatus::Paused)).await.unwrap();
        assert_eq!(bed.place().await, Err(CityCallError::Refused(Refusal::CityPaused)));
        bed.launcher.apply_city(pune(CityStatus::Draft)).await.unwrap();
        assert_eq!((bed.slot(), bed.city().err()), ("draft", Some(CityCallError::Gone)));
        assert!(bed.launcher.stop(SOON).await);
    })
    .await;
}

#[sqlx::test(migrations = "./migrations")]
async fn a_newer_session_takes_over(_: PgPoolOptions, options: PgConnectOptions) {
    in_system(options, |db| async {
        let bed = Bed::new(db, CityStatus::Live, order_journal::Options::default()).await;
        let mut device = bed.rider(at(18.521, 73.851)).await;
        bed.connect(&mut device).await;
        bed.told(&device, |notice| (*notice == Notice::TakenOver).then_some(())).await;
        bed.stop().await;
    })
    .await;
}

#[sqlx::test(migrations = "./migrations")]
async fn nothing_is_confirmed_while_the_database_is_away(_: PgPoolOptions, options: PgConnectOptions) {
    in_system(options, |db| async move {
        let bed = Bed::new(db.clone(), CityStatus::Live, order_journal::Options::default()).await;
        db.close().await;
        let city = bed.city().unwrap();
        let placing = tokio::time::timeout(Duration::from_millis(300), bed.place()).await;
        assert!(placing.is_err(), "{placing:?}");
        assert!(city.is_running(), "the city goes on");
        assert_eq!(city.snapshot(SOON).await.unwrap().counts.writes_pending, 1);
        assert!(!bed.launcher.stop(Duration::from_millis(300)).await, "the write is not stored");
    })
    .await;
}

//! Cities as production runs them, without sockets: launcher, city actors, journal and mirror on a real PostgreSQL.

use std::{
    sync::{Arc, Mutex},
    time::Duration,
};

use actix::{Actor, Context, Handler};
use dispatch_engine::{
    actors::{
        city::{self, CityCallError, CityDeps, CityHandle, Engaged, LivePoints},
        gate::Gate,
        location_log::PointBatch,
        mirror::{Mirror, MirrorOptions},
        operator_session::{Show, Watched},
        order_journal::{self, Availability, JournalHandle},
        push::{self, PushHandle},
        rider_session::{Deliver, RiderOutbox},
        router::{self, Launcher, LauncherDeps, Slot},
    },
    cache::Cache,
    clock::Clock,
    domain::{
        self,
        city::{Boundary, CityStatus},
        duty::Duty,
        ids::{CityCode, MerchantId, OrderId, RiderId, SessionId},
        money::Currency,
        order::{Actor as Cause, OrderSpec, Place},
        policy::DispatchPolicy,
        position::Position,
        rider::{KycStatus, RiderProfile, RiderStatus, Vehicle},
        tags::Tags,
    },
    engine::{
        command::{Command, Fix, Outcome, PlacementExtras},
        effect::Notice,
    },
    metrics::Metrics,
    push::Log,
    store::Db,
};
use tokio::time::Instant;
use uuid::Uuid;

use crate::support::{
    SOON, TestDatabase,
    rows::{city_row, rider_row},
    until,
};

/// A position.
pub fn at(lat: f64, lon: f64) -> Position {
    Position::new(lat, lon).unwrap()
}

/// The city's settings.
pub fn pune(status: CityStatus) -> domain::city::City {
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

/// One city, run as production runs it.
pub struct Bed {
    pub db: Db,
    pub clock: Clock,
    pub cache: Cache,
    pub launcher: Launcher,
    pub code: CityCode,
    pub storage: Availability,
    pub metrics: Metrics,
}

impl Bed {
    /// A city of a given status, on a database and a journal of its own.
    pub async fn new(status: CityStatus, journal: order_journal::Options) -> Self {
        let options = router::Options { threads: 1, restart_min_ms: 1, ..router::Options::default() };
        Self::with(status, journal, options).await
    }

    /// The same with a launcher of other settings.
    pub async fn with(status: CityStatus, journal: order_journal::Options, options: router::Options) -> Self {
        let db = TestDatabase::create().await.db;
        city_row(&db, "pune").await;
        Self::beside(db, status, journal, options, "test", false).await
    }

    /// The same on a given database, as another instance.
    pub async fn beside(
        db: Db,
        status: CityStatus,
        journal: order_journal::Options,
        options: router::Options,
        instance: &str,
        take_over: bool,
    ) -> Self {
        let code = pune(status).code;
        let (clock, metrics, cache) = (Clock::scaled(20.0), Metrics::new(), Cache::in_process());
        let mirror = MirrorOptions { flush_ms: 20, ..MirrorOptions::default() };
        let journal = JournalHandle::start(db.clone(), journal, &metrics);
        let storage = journal.availability().clone();
        let city = CityDeps {
            clock: clock.clone(),
            journal,
            mirror: Mirror::start(cache.clone(), mirror, &metrics),
            figures: city::Figures::new(&metrics),
            options: city::Options { publish_ms: 20, turn: 2, ..city::Options::default() },
            push: PushHandle::start(db.clone(), clock.clone(), Arc::new(Log), push::Options::default(), &metrics),
            engaged: Engaged::default(),
        };
        let deps = LauncherDeps {
            db: db.clone(),
            city,
            options,
            holder: instance.into(),
            instance: instance.into(),
            take_over,
        };
        let launcher = Launcher::launch(deps, vec![pune(status)]).await.unwrap();
        Self { db, clock, cache, launcher, code, storage, metrics }
    }

    /// Its handle.
    pub fn city(&self) -> Result<CityHandle, CityCallError> {
        self.launcher.router().city(&self.code)
    }

    /// What stands in its place.
    pub fn slot(&self) -> &'static str {
        match &self.launcher.router().cities()[0].1 {
            Slot::Running(_) => "running",
            Slot::Down(why) => why,
            Slot::Held(_) => "held",
        }
    }

    /// Asks it for something.
    pub async fn ask(
        &self,
        build: impl FnOnce(domain::ids::ReplyTo) -> Command + Send + 'static,
    ) -> Result<Outcome, CityCallError> {
        self.city()?.ask(SOON, build).await
    }

    /// Places an order.
    pub async fn place(&self) -> Result<OrderId, CityCallError> {
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
            otp_digest: None,
            needs_tags: Tags::NONE,
        });
        let id = spec.id;
        let extras = Box::<PlacementExtras>::default();
        let outcome = self.ask(move |reply| Command::Place { spec, extras, actor: Cause::ENGINE, reply }).await?;
        assert!(matches!(outcome, Outcome::Order { order, version: 1, .. } if order == id), "{outcome:?}");
        Ok(id)
    }

    /// A rider with a device, on duty at a position.
    pub async fn rider(&self, position: Position) -> Device {
        let rider = rider_row(&self.db, &self.code).await;
        let mut device = Device { rider, session: SessionId(0), position, notices: Arc::default() };
        self.connect(&mut device).await;
        let (session, duty) = (device.session, Duty::On);
        let outcome = self.ask(move |reply| Command::SetDuty { rider, session, duty, reply }).await;
        assert_eq!(outcome, Ok(Outcome::Duty { duty: Duty::On, next: None }));
        self.ping(&device);
        device
    }

    /// Opens a newer session of the device.
    pub async fn connect(&self, device: &mut Device) {
        device.session = SessionId(device.session.0 + 1 + u64::from(device.rider.0.as_fields().0));
        let profile = RiderProfile {
            id: device.rider,
            city: self.code.clone(),
            status: RiderStatus::Active,
            kyc: KycStatus::Approved,
            vehicle: Vehicle::Motorcycle,
            capacity_units: 10,
            tags: Tags::NONE,
        };
        let inbox = Inbox(device.notices.clone()).start().recipient();
        let outbox = RiderOutbox::new(inbox, Gate::unmetered(64), Arc::new(|| {}));
        let outcome = self.city().unwrap().join(SOON, profile, device.session, outbox).await;
        assert!(matches!(outcome, Ok(Outcome::Connected(_))), "{outcome:?}");
    }

    /// Reports where the device is.
    pub fn ping(&self, device: &Device) {
        let recorded_at = self.clock.now();
        let fix = Fix { rider: device.rider, session: device.session, position: device.position, recorded_at };
        let points = || LivePoints { kept: vec![fix], batch: PointBatch::from([]), arrived: Instant::now() };
        self.city().unwrap().points(points).unwrap();
    }

    /// Pings until the device has been told something.
    pub async fn told<T>(&self, device: &Device, want: impl Fn(&Notice) -> Option<T>) -> T {
        until("the device is told", || {
            if let Ok(city) = self.city()
                && city.is_running()
            {
                self.ping(device);
            }
            device.notices.lock().unwrap().iter().find_map(&want)
        })
        .await
    }

    /// Stops everything in order.
    pub async fn stop(self) {
        assert!(self.launcher.stop(SOON).await);
        assert_eq!(self.slot(), "stopping");
        assert_eq!(self.city().err(), Some(CityCallError::Gone));
    }
}

/// What a city knows of a rider's device.
pub struct Device {
    pub rider: RiderId,
    pub session: SessionId,
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
pub struct Screen(pub Arc<Mutex<Vec<Watched>>>);

impl Actor for Screen {
    type Context = Context<Self>;
}

impl Handler<Show> for Screen {
    type Result = ();

    fn handle(&mut self, show: Show, _: &mut Context<Self>) {
        self.0.lock().unwrap().push(show.frame);
    }
}

/// The offer of a notice.
pub fn offer(notice: &Notice) -> Option<domain::ids::OfferId> {
    if let Notice::Offer(view) = notice { Some(view.offer) } else { None }
}

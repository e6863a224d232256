//! A server of sockets over a real database, behind which a city is played: it notes what it hears and says what a test
//! makes it say.

use std::{
    collections::HashMap,
    net::{SocketAddr, TcpListener},
    sync::{Arc, Mutex, MutexGuard},
};

use actix::{Actor, ActorContext, Addr, Context, Handler, Message};
use actix_web::{App, HttpRequest, web};
use dispatch_engine::{
    actors::{
        city::{CityBody, CityHandle, CityMessage, Ending, Engaged, Life, PingRules, RuleBoard},
        gate::Gate,
        location_log,
        operator_session::{self, OperatorOutbox, OperatorSocketDeps, Watched},
        order_journal::Availability,
        rider_session::{self, RiderOutbox, RiderSocketDeps},
        router::{Router, Slot},
    },
    clock::Clock,
    domain::{
        duty::Duty,
        ids::{CityCode, ReplyTo, RiderId},
        order::OrderStatus,
        policy::PingPolicy,
        time::Timestamp,
    },
    engine::{
        command::{Command, Fix, Outcome, Refusal, RiderSync},
        effect::Notice,
        view::{CitySnapshot, Counts},
    },
    http::server::{Settings, connection, serve},
    metrics::Metrics,
    store::{Db, contacts::Sealer},
};
use tokio::sync::{oneshot, watch};
use uuid::Uuid;

use crate::support::{
    TestDatabase,
    database::new_spool,
    rows::{city_row, rider_row},
    until,
};

/// What the city saw.
#[derive(Default)]
pub struct Seen {
    pub commands: Vec<Command>,
    pub fixes: Vec<Fix>,
    pub riders: HashMap<RiderId, RiderOutbox>,
    pub operators: Vec<OperatorOutbox>,
}

/// The city.
struct PlayedCity {
    code: CityCode,
    seen: Arc<Mutex<Seen>>,
    life: Life,
    /// Answers that were never given: they are dropped with the city.
    held: Vec<oneshot::Sender<Result<Outcome, Refusal>>>,
}

/// Ends the city; without a reason as a panic would.
#[derive(Message)]
#[rtype(result = "()")]
struct Stop(Option<Ending>);

/// Answers what was held.
#[derive(Message)]
#[rtype(result = "()")]
struct Answer;

impl Handler<Answer> for PlayedCity {
    type Result = ();

    fn handle(&mut self, _: Answer, _: &mut Context<Self>) {
        for held in self.held.drain(..) {
            let _ = held.send(Err(Refusal::UnknownOffer));
        }
    }
}

impl Actor for PlayedCity {
    type Context = Context<Self>;
}

impl Handler<Stop> for PlayedCity {
    type Result = ();

    fn handle(&mut self, Stop(why): Stop, ctx: &mut Context<Self>) {
        if let Some(why) = why {
            self.life.ends(why);
        }
        ctx.stop();
    }
}

impl Handler<CityMessage> for PlayedCity {
    type Result = ();

    fn handle(&mut self, message: CityMessage, _: &mut Context<Self>) {
        let mut seen = self.seen.lock().unwrap();
        match message.body {
            CityBody::Join { rider, outbox, answer, .. } => {
                if let Some(older) = seen.riders.insert(rider.id, outbox) {
                    older.deliver(Notice::TakenOver);
                }
                let sync = RiderSync {
                    duty: Duty::On,
                    next_duty: None,
                    jobs: vec![],
                    open_offer: None,
                    ping_interval_ms: 5_000,
                    duty_why: None,
                };
                let _ = answer.send(Ok(Outcome::Connected(Box::new(sync))));
            }
            CityBody::Ask { build, answer } => {
                let command = match build(ReplyTo(1)) {
                    Command::Framed { command, .. } => *command,
                    command => command,
                };
                let result = match &command {
                    Command::OfferSeen { .. } => {
                        seen.commands.push(command);
                        return self.held.push(answer);
                    }
                    Command::SetDuty { duty, .. } => Ok(Outcome::Duty { duty: *duty, next: None }),
                    Command::Progress { report, .. } => Ok(Outcome::Stepped {
                        order: report.order,
                        status: OrderStatus::AtPickup,
                        version: 4,
                        job: None,
                    }),
                    _ => Err(Refusal::UnknownOffer),
                };
                seen.commands.push(command);
                let _ = answer.send(result);
            }
            CityBody::Tell(command) => seen.commands.push(command),
            CityBody::Points(points) => seen.fixes.extend(points.fixes()),
            CityBody::Watch(outbox) => {
                let snapshot = CitySnapshot {
                    city: self.code.clone(),
                    at: Timestamp::from_millis(5),
                    counts: Counts { orders_due: 3, ..Counts::default() },
                    orders: vec![],
                    riders: vec![],
                };
                assert!(outbox.show(Watched::Snapshot(Arc::new(snapshot))));
                seen.operators.push(outbox);
            }
            _ => {}
        }
    }
}

/// The server: riders connect at `/rider/{id}`, operators at `/operator`, without tokens.
pub struct Stage {
    pub db: Db,
    pub address: SocketAddr,
    pub router: Router,
    pub code: CityCode,
    /// Says that the app stops.
    pub stop: watch::Sender<bool>,
    pub metrics: Metrics,
    /// The bound of the city's queue.
    pub gate: Gate,
    /// Where the city shows its rules.
    pub rules: RuleBoard,
    seen: Arc<Mutex<Seen>>,
    city: Addr<PlayedCity>,
}

/// Rules by which every point is taken and stored: the devices of these tests jump between places.
fn every_point() -> PingRules {
    let believed = PingPolicy { jump_slack_m: 100_000, max_per_s: 100.0, ..PingPolicy::default() };
    let pings = PingPolicy { rest_radius_m: 0, idle_store_every_s: 0, ..believed };
    PingRules { pings, ..PingRules::default() }
}

impl Stage {
    /// With the defaults.
    pub async fn new() -> Self {
        Self::with(rider_session::Options::default()).await
    }

    /// With limits for rider sessions.
    pub async fn with(options: rider_session::Options) -> Self {
        let database = TestDatabase::create().await;
        let db = database.db.clone();
        let code = city_row(&db, "blr").await;
        Self::beside(db, code, options).await
    }

    /// With a database and a city that are there, as another process would be started on them.
    pub async fn beside(db: Db, code: CityCode, options: rider_session::Options) -> Self {
        let (seen, router, metrics) = (Arc::<Mutex<Seen>>::default(), Router::default(), Metrics::new());
        let life = Life::begin();
        let line = life.line();
        let city = PlayedCity { code: code.clone(), seen: seen.clone(), life, held: vec![] }.start();
        let (gate, rules) = (Gate::unmetered(10_000), RuleBoard::new(every_point()));
        let handle = CityHandle::new(code.clone(), city.clone().recipient(), gate.clone(), line, rules.clone());
        router.put(code.clone(), Slot::Running(handle.clone()));
        let mut log_options = location_log::Options { flush_age_ms: 20, ..location_log::Options::default() };
        log_options.spool.dir = new_spool(&db);
        let (log, _) = location_log::start(db.clone(), Clock::system(), &metrics, log_options).await.unwrap();
        let (stop, stopping) = watch::channel(false);
        let (clock, sealer) = (Clock::system(), Sealer::new(&[1; 32]));
        let engaged = Engaged::default();
        let storage = Availability::new(metrics.gauge("journal_unavailable", "as the journal shows it"));
        let stop_riders = stopping.clone();
        let riders = RiderSocketDeps::new(
            db.clone(),
            router.clone(),
            engaged,
            clock,
            log,
            &metrics,
            options,
            stop_riders,
            storage,
            sealer,
        );
        let operators = OperatorSocketDeps::new(20.0, &metrics, operator_session::Options::default(), stopping);
        let app = move || {
            let (riders, operators, handle) = (riders.clone(), operators.clone(), handle.clone());
            let rider = move |req: HttpRequest, payload: web::Payload, rider: web::Path<Uuid>| {
                std::future::ready(rider_session::upgrade(&req, payload, RiderId(*rider), &riders))
            };
            let operator = move |req: HttpRequest, payload: web::Payload| {
                std::future::ready(operator_session::upgrade(&req, payload, handle.clone(), &operators))
            };
            App::new().route("/rider/{rider}", web::get().to(rider)).route("/operator", web::get().to(operator))
        };
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let connection = connection::Options { user_timeout_ms: 500, send_buffer_bytes: 4_096, ..Default::default() };
        let server = serve(listener, app, &Settings { workers: 1, shutdown_timeout_s: 5, connection }).unwrap();
        actix_web::rt::spawn(server);
        Self { db, address, router, code, stop, metrics, gate, rules, seen, city }
    }

    /// A rider who may work.
    pub async fn rider(&self) -> RiderId {
        rider_row(&self.db, &self.code).await
    }

    /// What the city saw until now.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().unwrap()
    }

    /// Waits until the city has seen something.
    pub async fn until(&self, what: &str, done: impl Fn(&Seen) -> bool) {
        until(what, || done(&self.seen()).then_some(())).await;
    }

    /// Lets the city answer the requests that it held.
    pub fn answer_held(&self) {
        self.city.do_send(Answer);
    }

    /// Ends the city, and not the server; without a reason as a panic would.
    pub fn end_city(&self, why: Option<Ending>) {
        self.city.do_send(Stop(why));
    }
}

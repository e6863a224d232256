//! A rider's day against an engine that is played by the test, frame by frame, without a socket.

use dispatch_engine::{
    domain::rider::Vehicle,
    replay::{
        device::{clock::DeviceClock, encoding::Encoding, keeper::Limits},
        manners::{Manners, NEVER, Outage},
        motion::Motion,
    },
    wire::{
        MoneyBody,
        rider::{Down, DutyWish, Job, Offer, RefusedPing, Up, Welcome},
    },
};
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use tokio::{sync::Semaphore, time::Instant};
use uuid::Uuid;

use super::{
    Shared,
    behaviour::{Character, Rider},
    fixtures::{HERE, job},
    link::Endpoint,
    outcome::{Ending, Out},
};
use crate::{
    clock::{Reading, ServerClock},
    ledger::Ledger,
    stats::Stats,
    token::Minter,
};

const OFFER: Uuid = Uuid::from_u128(77);
const ORDER: Uuid = Uuid::from_u128(1);

/// What a rider shares with others, for an engine at `address`.
pub fn shared_at(address: std::net::SocketAddr, manners: Manners) -> Shared {
    let now = Instant::now();
    let reading = Reading { asked: now, answered: now, now: 1_000_000 };
    Shared {
        clock: ServerClock::aligned(&[reading], 100.0).unwrap(),
        manners,
        stats: Stats::default(),
        ledger: Ledger::default(),
        endpoint: Endpoint {
            address,
            uri: format!("ws://{address}/v1/rider/socket").parse().unwrap(),
            sources: 1,
            minter: Minter::new("secret"),
        },
        handshakes: Semaphore::new(4),
    }
}

/// A rider on a motorcycle.
pub fn rider() -> Rider {
    let character = Character {
        rider: Uuid::from_u128(0xA),
        index: 0,
        city: 0,
        liar: false,
        clock: DeviceClock::default(),
        encoding: Encoding::Json,
        limits: Limits::default(),
        haunts: None,
        ping_every_ms: None,
    };
    Rider::new(character, Motion::standing(HERE, Vehicle::Motorcycle, 1.4), ChaCha8Rng::seed_from_u64(1))
}

/// The first frame of an engine.
pub fn welcome(duty: &str, plan: Vec<Job>) -> Down {
    Down::Welcome(Welcome {
        server_time: 1_000_000,
        clock_speed: 100.0,
        ping_interval_ms: 5_000,
        city: "blr".into(),
        duty: duty.into(),
        next_duty: None,
        plan,
        open_offer: None,
        reconnect_within_ms: 2_000,
        duty_why: None,
    })
}

/// An offer of the test job.
pub fn offer(re: Option<String>) -> Down {
    Down::Offer(Offer {
        re,
        offer: OFFER,
        expires_in_ms: 30_000,
        job: job("assigned", 3),
        pickup_eta_ms: 1,
        pickup_distance_m: 1.0,
        payout: MoneyBody { minor: 1, currency: "INR".into() },
        sent_at: 1_000_000,
    })
}

/// What an engine answers, and the status of the order after it.
pub fn answer(up: &Up) -> Option<Down> {
    Some(match up {
        Up::Duty { id, state } => {
            let duty = match state {
                DutyWish::On => "ON",
                DutyWish::Break => "BREAK",
                DutyWish::Off => "OFF",
            };
            Down::DutyChanged { re: Some(id.clone()), duty: duty.into(), next: None, why: "rider".into() }
        }
        Up::OfferSeen { id, .. } => offer(Some(id.clone())),
        Up::OfferAccept { id, .. } => Down::Assigned { re: Some(id.clone()), job: job("assigned", 3) },
        Up::Progress(progress) => {
            let version = match progress.step.as_str() {
                "at_pickup" => 4,
                "picked_up" => 5,
                "at_dropoff" => 6,
                _ => 7,
            };
            Down::OrderChanged {
                re: Some(progress.id.clone()),
                order: progress.order,
                status: progress.step.clone(),
                version: Some(version),
                why: "progress".into(),
                // An answer may leave the job out; every second one here does.
                job: (version < 7 && version % 2 == 0).then(|| job(&progress.step, version)),
            }
        }
        Up::Pings { pings, .. } => {
            let last = pings.last()?.seq;
            Down::PingsAck { received_to: last, stored_to: last, refused: vec![] }
        }
        Up::Hello(_) | Up::OfferDecline { .. } => return None,
    })
}

struct Stage {
    rider: Rider,
    shared: Shared,
    now: i64,
    steps: Vec<String>,
    pings: usize,
}

impl Stage {
    fn new(manners: Manners) -> Self {
        let shared = shared_at("127.0.0.1:1".parse().unwrap(), manners);
        Self { rider: rider(), shared, now: 1_000_000, steps: vec![], pings: 0 }
    }

    fn hear(&mut self, frame: Down) -> Out {
        self.rider.on_frame(self.now, frame, &self.shared)
    }

    /// Lets time pass up to `until`, every request answered as `reply` says.
    fn pass(&mut self, until: i64, reply: impl Fn(&Up) -> Option<Down>) -> Option<Ending> {
        while self.rider.next_due() <= until {
            self.now = self.now.max(self.rider.next_due());
            let out = self.rider.on_time(self.now, &self.shared);
            for up in &out.frames {
                match up {
                    Up::Progress(progress) => self.steps.push(progress.step.clone()),
                    Up::Pings { pings, .. } => self.pings += pings.len(),
                    _ => {}
                }
                if let Some(down) = reply(up) {
                    self.rider.on_frame(self.now, down, &self.shared);
                }
            }
            if out.ending.is_some() {
                return out.ending;
            }
        }
        self.now = until;
        None
    }
}

#[test]
fn an_offer_becomes_a_delivery() {
    let mut stage = Stage::new(Manners::flawless());
    stage.hear(welcome("OFF", vec![]));
    stage.pass(1_010_000, answer);
    assert_eq!((stage.rider.duty.as_str(), stage.pings), ("ON", 3));
    stage.hear(offer(None));
    stage.pass(3_000_000, answer);
    assert_eq!(stage.steps, ["at_pickup", "picked_up", "at_dropoff", "delivered"]);
    let books = stage.shared.ledger.books();
    let told = &books.orders[&ORDER];
    assert_eq!((told.end.as_deref(), told.ended_by), (Some("delivered"), Some(stage.rider.character.rider)));
    assert!(books.contradictions().is_empty());
    drop(books);
    // 2,000 s at one every five seconds, each up to a quarter early or late.
    assert!((385..=417).contains(&stage.pings), "{} pings", stage.pings);
    stage.rider.shift_end = 3_000_001;
    stage.pass(3_100_000, answer);
    assert!(stage.rider.finished() && stage.rider.all_stored());
}

#[test]
fn a_request_sent_twice_is_answered_twice_and_heard_once() {
    let mut stage = Stage::new(Manners { twice: 1.0, ..Manners::flawless() });
    stage.hear(welcome("OFF", vec![]));
    stage.pass(1_010_000, answer);
    stage.hear(offer(None));
    stage.pass(3_000_000, answer);
    // Every step went out twice, and the second answer changed nothing.
    let once: Vec<&str> = stage.steps.iter().map(String::as_str).step_by(2).collect();
    assert_eq!((once, stage.steps.len()), (vec!["at_pickup", "picked_up", "at_dropoff", "delivered"], 8));
    assert!(stage.shared.ledger.books().contradictions().is_empty());
    let sums = stage.shared.stats.sums();
    assert!(sums.events["answer_repeated"] >= 6);
}

#[test]
fn a_repeated_answer_that_differs_is_noted() {
    let mut stage = Stage::new(Manners { twice: 1.0, ..Manners::flawless() });
    stage.hear(welcome("OFF", vec![]));
    let out = stage.rider.on_time(stage.now, &stage.shared);
    let mut duty = answer(&out.frames[0]).unwrap();
    stage.hear(duty.clone());
    let Down::DutyChanged { duty: told, .. } = &mut duty else { panic!("not a duty") };
    *told = "BREAK".into();
    stage.hear(duty);
    assert_eq!(stage.rider.duty, "ON");
    assert_eq!(stage.shared.ledger.books().contradictions()[0].kind, "repeat_differs");
}

#[test]
fn goods_that_cannot_be_handed_over_go_back_to_where_they_came_from() {
    let mut stage = Stage::new(Manners { fail: 1.0, ..Manners::flawless() });
    stage.hear(welcome("ON", vec![job("at_pickup", 4)]));
    let terse = |up: &Up| match up {
        Up::Progress(progress) => Some(Down::OrderChanged {
            re: Some(progress.id.clone()),
            order: progress.order,
            status: progress.step.clone(),
            version: None,
            why: "progress".into(),
            job: None,
        }),
        other => answer(other),
    };
    stage.pass(9_000_000, terse);
    let last = stage.steps.last().map(String::as_str);
    assert!(matches!(last, Some("delivered" | "returned")), "{:?}", stage.steps);
    assert!(stage.steps.iter().any(|step| step == "attempt_failed"));
    assert!(stage.rider.jobs.is_empty() && stage.rider.fetched.is_empty());
    if last == Some("returned") {
        let pickup = job("assigned", 1).stops[0].place.clone();
        assert_eq!(stage.rider.motion.heads_for().lon, pickup.lon);
    }
}

#[test]
fn a_report_without_an_answer_is_repeated_and_survives_a_reconnect() {
    let mut stage = Stage::new(Manners::flawless());
    stage.hear(welcome("ON", vec![job("at_dropoff", 6)]));
    let silent = |up: &Up| answer(up).filter(|_| !matches!(up, Up::Progress(_)));
    stage.pass(2_000_000, silent);
    assert!(stage.steps.len() > 1 && stage.steps.iter().all(|step| step == "delivered"));
    stage.rider.disconnected();
    // The engine had heard it: the plan is empty, and only the repeated report tells how the order ended.
    let out = stage.hear(welcome("ON", vec![]));
    let again: Vec<&Up> = out.frames.iter().filter(|up| matches!(up, Up::Progress(_))).collect();
    assert_eq!(again.len(), 1);
    stage.hear(answer(again[0]).unwrap());
    let books = stage.shared.ledger.books();
    assert_eq!(books.orders[&ORDER].end.as_deref(), Some("delivered"));
    assert!(books.contradictions().is_empty());
}

#[test]
fn a_cancelled_order_is_let_go_and_the_rider_stops() {
    let mut stage = Stage::new(Manners::flawless());
    stage.hear(welcome("ON", vec![job("assigned", 3)]));
    stage.pass(1_030_000, answer);
    stage.hear(Down::OrderChanged {
        re: None,
        order: ORDER,
        status: "cancelled".into(),
        version: None,
        why: "cancelled".into(),
        job: None,
    });
    assert!(stage.rider.jobs.is_empty() && stage.rider.step.is_none());
    stage.pass(2_000_000, answer);
    assert!(stage.steps.is_empty());
    assert_eq!(stage.shared.ledger.books().orders[&ORDER].rider, None);
}

#[test]
fn a_step_that_cannot_be_stored_is_tried_again_under_a_new_id() {
    let mut stage = Stage::new(Manners::flawless());
    stage.hear(welcome("ON", vec![job("at_dropoff", 6)]));
    let busy = |up: &Up| match up {
        Up::Progress(progress) => {
            let (re, code) = (Some(progress.id.clone()), "storage_busy".to_owned());
            Some(Down::Error { re, code, detail: String::new() })
        }
        other => answer(other),
    };
    assert_eq!(stage.pass(4_000_000, busy), None);
    assert!((2..7).contains(&stage.steps.len()), "{:?}", stage.steps);
    stage.pass(6_000_000, answer);
    assert!(stage.rider.jobs.is_empty());
    let illegal = Down::Error { re: None, code: "illegal_step".into(), detail: String::new() };
    assert_eq!(stage.hear(illegal).ending, None, "an error that answers nothing changes nothing");
}

#[test]
fn offers_are_declined_or_ignored_as_the_manners_say() {
    for (manners, declined) in [
        (Manners { accept: 0.0, decline: 1.0, ..Manners::flawless() }, true),
        (Manners { accept: 0.0, ignore: 1.0, ..Manners::flawless() }, false),
    ] {
        let mut stage = Stage::new(manners);
        stage.hear(welcome("ON", vec![]));
        stage.hear(offer(None));
        let refuse = |up: &Up| {
            assert!(!matches!(up, Up::OfferAccept { .. }));
            match up {
                Up::OfferDecline { id, offer, .. } => {
                    Some(Down::OfferClosed { re: Some(id.clone()), offer: *offer, why: "declined".into() })
                }
                other => answer(other),
            }
        };
        stage.pass(1_060_000, refuse);
        assert_eq!(stage.rider.offer.is_none(), declined);
        let closed = Down::OfferClosed { re: None, offer: OFFER, why: "expired".into() };
        stage.hear(closed);
        assert!(stage.rider.offer.is_none());
    }
}

#[test]
fn things_go_wrong_only_while_there_is_a_connection() {
    let mut stage = Stage::new(Manners { dropout_per_hour: 60.0, ..Manners::flawless() });
    stage.hear(welcome("ON", vec![]));
    let ending = stage.pass(5_000_000, answer);
    let Some(Ending::Outage(outage, until)) = ending else { panic!("no outage: {ending:?}") };
    stage.rider.disconnected();
    if outage == Outage::Restart {
        stage.rider.restart(&stage.shared);
    }
    let before = stage.pings;
    assert_eq!(stage.pass(until, answer), None);
    assert_eq!(stage.pings, before, "points are kept");
    stage.hear(welcome("ON", vec![]));
    let out = stage.rider.on_time(until, &stage.shared);
    assert!(out.frames.iter().any(|up| matches!(up, Up::Pings { .. })), "and sent when the network is back");
}

#[test]
fn goodbyes_are_understood() {
    let mut stage = Stage::new(Manners::flawless());
    let bye = |why: &str, ms| Down::Bye { why: why.into(), reconnect_after_ms: ms };
    let back = stage.hear(bye("going_away", Some(500))).ending;
    assert_eq!(back, Some(Ending::Bye(Some(std::time::Duration::from_millis(500)))));
    assert_eq!(stage.hear(bye("taken_over", None)).ending, Some(Ending::Bye(None)));
    assert_eq!(stage.hear(bye("taken_over", Some(1))).ending, Some(Ending::Bye(None)));
}

#[test]
fn points_of_a_liar_are_refused_rightly() {
    let mut stage = Stage::new(Manners::flawless());
    stage.rider.character.liar = true;
    stage.hear(welcome("ON", vec![]));
    let refuse_all = |up: &Up| match up {
        Up::Pings { pings, .. } => {
            let refused = pings.iter().filter(|p| p.lat.abs() > 90.0 || p.lat == 0.0 || p.lon < -180.0);
            let refused = refused.map(|p| RefusedPing { seq: p.seq, reason: "out_of_world".into() }).collect();
            let last = pings.last()?.seq;
            Some(Down::PingsAck { received_to: last, stored_to: last, refused })
        }
        other => answer(other),
    };
    stage.pass(4_000_000, refuse_all);
    stage.rider.account(0, &stage.shared);
    let sums = stage.shared.stats.sums();
    assert!(sums.pings.lies > 10 && sums.pings.refused.is_empty());
    assert!(sums.pings.refused_rightly["out_of_world"] > 5);
    assert!(sums.events["garbage_sent"] > 5);
    assert_ne!(stage.rider.next_due(), NEVER);
}

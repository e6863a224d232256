//! The pure engine in a world of its own: invented months by seed, in virtual time, with everything going wrong that can.
//!
//! A seed draws a fleet, orders and the rates of its faults. Time jumps from event to event: devices repeat themselves,
//! come late, vanish and take over; the journal is slow, full, out of step; somebody meddles with rows; the city's thread
//! stands still, and the city dies at any moment, with its writes stored or lost, and is restored from a model of the
//! store. After every step the engine's own invariants are checked, and an auditor outside compares what was told with
//! what is stored. In the end the faults stop and everything has to drain.
//!
//! ```text
//! cargo test --test engine simulation                                    20 seeds of 10,000 virtual minutes
//! SIM_SEEDS=1000 cargo test --test engine simulation                     a longer campaign
//! SIM_SEED=7 SIM_MINUTES=10000 cargo test --test engine simulation       one seed alone
//! ```
//!
//! A seed that breaks is lived once more, and its report shows the last steps. The same seed lives the same life.

pub mod auditor;
mod city_life;
mod device;
mod diary;
mod faults;
pub mod fleet;
mod journal;
mod merchants;
mod operators;
mod policies;
pub mod repeats;
mod rules;
pub mod store;
mod told;
mod world;

use std::{
    collections::BTreeMap,
    hash::Hasher,
    panic::{AssertUnwindSafe, catch_unwind},
    sync::{
        Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
};

use dispatch_engine::engine::Defect;
use world::{Plan, World};

use crate::harness::START;

/// Fine, or what is broken.
pub type Checked = Result<(), String>;

pub fn ensure(holds: bool, words: impl FnOnce() -> String) -> Checked {
    if holds { Ok(()) } else { Err(words()) }
}

/// Steps that a report shows.
const SHOWN: u64 = 40;

/// What became of a seed.
struct Life {
    steps: u64,
    tally: BTreeMap<&'static str, u64>,
    digest: u64,
    broken: Option<Broken>,
}

struct Broken {
    what: String,
    step: u64,
    /// Virtual minutes from the start.
    minute: u64,
    when: String,
    log: Vec<String>,
}

fn live(plan: Plan) -> Life {
    let mut world = World::new(plan);
    // The engine itself may panic: that is a find like any other.
    let outcome = catch_unwind(AssertUnwindSafe(|| world.live()));
    let what = match outcome {
        Ok(Ok(())) => None,
        Ok(Err(what)) => Some(what),
        Err(panic) => {
            let words = panic.downcast_ref::<String>().cloned();
            Some(words.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned())).unwrap_or_default())
        }
    };
    let broken = what.map(|what| Broken {
        what,
        step: world.steps,
        minute: world.now.since(START).as_secs() / 60,
        when: world.now.to_string(),
        log: world.log.iter().cloned().collect(),
    });
    Life { steps: world.steps, tally: world.tally, digest: world.digest.finish(), broken }
}

/// What a developer needs to see the break again.
fn report(plan: Plan, broken: &Broken) -> String {
    let again = live(Plan { trace_from: broken.step.saturating_sub(SHOWN), ..plan });
    let steps = again.broken.map(|broken| broken.log.join("\n")).unwrap_or_default();
    let Broken { what, step, minute, when, .. } = broken;
    let Plan { seed, minutes, .. } = plan;
    format!(
        "seed {seed} broke in virtual minute {minute} ({when}), step {step}: {what}\n{steps}\n\
         once more: SIM_SEED={seed} SIM_MINUTES={minutes} cargo test --test engine simulation"
    )
}

pub fn from_env(name: &str) -> Option<u64> {
    std::env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}={text} is no number")))
}

/// Lives through seeds on every core; panics with the first break.
fn campaign(plans: &[Plan]) -> Vec<Life> {
    let (next, stop) = (AtomicU64::new(0), AtomicBool::new(false));
    let lives = Mutex::new(Vec::new());
    let threads = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                while !stop.load(Ordering::Relaxed) {
                    let place = usize::try_from(next.fetch_add(1, Ordering::Relaxed)).unwrap();
                    let Some(plan) = plans.get(place) else { return };
                    let life = live(*plan);
                    stop.fetch_or(life.broken.is_some(), Ordering::Relaxed);
                    lives.lock().unwrap().push((*plan, life));
                }
            });
        }
    });
    let lives = lives.into_inner().unwrap();
    if let Some((plan, broken)) = lives.iter().find_map(|(plan, life)| Some((plan, life.broken.as_ref()?))) {
        panic!("{}", report(*plan, broken));
    }
    lives.into_iter().map(|(_, life)| life).collect()
}

fn plan(seed: u64, minutes: u64) -> Plan {
    Plan { seed, minutes, defect: None, inside: true, trace_from: u64::MAX }
}

/// What has to happen in the whole campaign, and how often in 10,000 minutes of a seed at least, on average: a simulation
/// in which nothing goes wrong proves nothing. About a third of what happens today.
const LEAST: [(&str, u64); 66] = [
    ("order placed", 2_500),
    ("delivered", 2_000),
    ("offered", 3_000),
    ("accepted", 2_500),
    ("declined", 200),
    ("offer expired", 500),
    ("offer withdrawn", 5),
    ("attempt failed", 150),
    ("returned", 100),
    ("handover", 100),
    ("breakdown", 100),
    ("cancelled", 80),
    ("order called off", 80),
    ("order expired", 1),
    ("another was faster", 450),
    ("parked", 5),
    ("search resumed", 5),
    ("off after ignoring", 140),
    ("offer woken", 800),
    ("silence warned", 20),
    ("ready time changed", 150),
    ("taken back", 20),
    ("auto off", 40),
    ("silent carrier", 20),
    ("barred", 5),
    ("off after work", 60),
    ("duty changed", 700),
    ("suspended", 8),
    ("suspended with an order", 15),
    ("vanished", 40),
    ("vanished with an order", 70),
    ("connection lost", 300),
    ("app restart", 100),
    ("frame lost", 700),
    ("frame late", 1_000),
    ("frame twice", 1_500),
    ("request repeated", 2_000),
    ("merchant asked again", 70),
    ("placement replayed", 50),
    ("duplicate reference", 10),
    ("journal busy", 150),
    ("journal stalled", 8),
    ("write refused", 70),
    ("answer twice", 300),
    ("meddled", 4),
    ("conflict", 3),
    ("city paused", 8),
    ("engine paused", 10),
    ("city crashed", 20),
    ("disputed", 5),
    ("duty planned", 5),
    ("old frame repeated", 50),
    ("worked without a network", 20),
    ("write stored in a crash", 2),
    ("write lost in a crash", 2),
    ("explained", 1_500),
    ("offered ahead", 4),
    ("taken ahead", 2),
    ("assigned by an operator", 40),
    ("reassigned", 30),
    ("unassigned by an operator", 20),
    ("held", 40),
    ("released", 3),
    ("hold ended by itself", 20),
    ("priority changed", 30),
    ("operator's answer replayed", 2),
];

#[test]
fn invented_months_break_nothing() {
    let minutes = from_env("SIM_MINUTES").unwrap_or(10_000);
    let seeds: Vec<u64> = match (from_env("SIM_SEED"), from_env("SIM_SEEDS")) {
        (Some(seed), _) => vec![seed],
        (None, seeds) => (1..=seeds.unwrap_or(20)).collect(),
    };
    let plans: Vec<Plan> = seeds.iter().map(|seed| plan(*seed, minutes)).collect();
    let lives = campaign(&plans);
    let mut tally: BTreeMap<&str, u64> = BTreeMap::new();
    for (what, count) in lives.iter().flat_map(|life| &life.tally) {
        *tally.entry(what).or_default() += count;
    }
    let steps: u64 = lives.iter().map(|life| life.steps).sum();
    println!("{} seeds of {minutes} minutes, {steps} steps", lives.len());
    tally.iter().for_each(|(what, count)| println!("{count:>10} {what}"));
    // One seed alone may well leave a fault out.
    if lives.len() >= 10 {
        let months = u64::try_from(lives.len()).unwrap() * minutes / 10_000;
        for (what, least) in LEAST {
            let count = tally.get(what).copied().unwrap_or_default();
            assert!(count >= least * months, "`{what}` happened {count} times only");
        }
    }
}

#[test]
fn the_same_seed_lives_the_same_life() {
    let once = || live(Plan { trace_from: 0, ..plan(42, 600) });
    let (first, second) = (once(), once());
    assert!(first.broken.is_none() && first.steps > 1_000);
    assert_eq!((first.steps, first.tally, first.digest), (second.steps, second.tally, second.digest));
    assert_ne!(first.digest, live(Plan { trace_from: 0, ..plan(43, 600) }).digest);
}

/// The seed and the minutes within which a defect has to be caught.
const HUNT: (u64, u64) = (1, 1_000);

/// Hunts a defect with nothing but the auditor's eyes: the engine's own invariants are not asked.
fn is_caught(defect: Defect) {
    let (seed, minutes) = HUNT;
    let hunt = Plan { defect: Some(defect), inside: false, ..plan(seed, minutes) };
    let Some(Broken { what, minute, step, .. }) = live(hunt).broken else { panic!("nobody noticed {defect:?}") };
    println!("{defect:?} is caught in minute {minute} of seed {seed}, step {step}: {what}");
    assert!(minute <= minutes, "{defect:?} was found after the faults had stopped only");
}

#[test]
fn an_engine_that_tells_before_the_commit_is_caught() {
    is_caught(Defect::TellsBeforeCommit);
}

#[test]
fn an_engine_that_offers_to_the_busy_is_caught() {
    is_caught(Defect::OffersToTheBusy);
}

#[test]
fn an_engine_that_loses_refused_writes_is_caught() {
    is_caught(Defect::LosesRefusedWrites);
}

#[test]
fn an_engine_that_forgets_the_holder_is_caught() {
    is_caught(Defect::ForgetsTheHolder);
}

#[test]
fn a_sound_engine_passes_where_the_defects_are_caught() {
    let (seed, minutes) = HUNT;
    campaign(&[plan(seed, minutes)]);
}

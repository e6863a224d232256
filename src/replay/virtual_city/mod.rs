//! A city's day in virtual time: the same scenario that the load tester lives against a running engine, brought to the pure
//! engine without sockets, a database or a clock, as fast as the processor allows. The engine is used exactly as the city's
//! actor uses it; around it are riders, merchants and a journal of the same model. The same seed lives the same day.
//!
//! What exists only because there are sockets is not simulated ([`NOT_SIMULATED`]).

mod agenda;
mod books;
mod hearing;
mod merchants;
mod names;
mod requests;
mod rider;
mod setup;
mod world;

use std::collections::BTreeMap;

use serde::Serialize;

use crate::{
    domain::{city::City, position::PositionError},
    engine::invariants::Broken,
};

use super::{
    manners::Manners,
    outcome::Outcomes,
    scenario::{Scenario, Window},
};

pub use setup::{NoCity, city_around};

/// Manners that have no meaning without sockets, with the reason, for reports.
pub const NOT_SIMULATED: [(&str, &str); 3] = [
    ("liars", "a session refuses a lie before the engine sees it"),
    ("skewed", "a session corrects a device's clock before the engine sees its times"),
    ("twice", "a session and the idempotency key answer a repetition without the engine"),
];

/// How a scenario is lived.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The city, its policy included.
    pub city: City,
    /// The index of the city in the run: cities of one run differ by it in what chance brings.
    pub index: usize,
    /// The window that the scenario was cut for.
    pub window: Window,
    /// How riders and merchants behave.
    pub manners: Manners,
    /// Street distance over straight-line distance.
    pub detour: f64,
    /// Whatever is left to chance follows from this number.
    pub seed: u64,
    /// Overrules the policy's ping interval; milliseconds.
    pub ping_every_ms: Option<i64>,
    /// Time that the journal takes to store a write, milliseconds.
    pub commit_ms: i64,
    /// Checks the engine's invariants after every command; a debug build always does after all but points.
    pub check: bool,
}

/// What a virtual day came to.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// What became of orders and riders.
    pub outcomes: Outcomes,
    /// What the machine did for it.
    pub machine: Machine,
}

/// What the machine did.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Machine {
    /// Commands that the engine was given.
    pub commands: u64,
    /// Effects that it answered with.
    pub effects: u64,
    /// Writes among them.
    pub writes: u64,
    /// Points of riders, which come in batches of one instant.
    pub fixes: u64,
    /// Events of the agenda.
    pub events: u64,
    /// Virtual time that was lived through, milliseconds, the riders' coming on duty before time 0 included.
    pub lived_ms: i64,
    /// The longest queues.
    pub peaks: Peaks,
    /// Refusals by their code.
    pub refusals: BTreeMap<&'static str, u64>,
    /// Alerts to operators by their kind.
    pub alerts: BTreeMap<&'static str, u64>,
}

/// How long queues were at most.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Peaks {
    /// Orders that waited for a rider, at a tick.
    pub orders_waiting: usize,
    /// Writes that the journal had not answered.
    pub writes_pending: usize,
    /// Entries of the agenda.
    pub events_to_come: usize,
    /// Riders on duty, at a tick.
    pub riders_on_duty: usize,
}

impl Machine {
    fn refusal(&mut self, code: &'static str) {
        *self.refusals.entry(code).or_default() += 1;
    }

    fn alert(&mut self, kind: &'static str) {
        *self.alerts.entry(kind).or_default() += 1;
    }
}

/// Why a day cannot be lived.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// The engine broke one of its invariants.
    #[error("an invariant of the engine is broken, {at_ms} ms after the start of the plan")]
    Broken {
        /// When.
        at_ms: i64,
        /// Which.
        source: Broken,
    },
    /// An order that lies nowhere.
    #[error("order {order} of the scenario lies nowhere")]
    Place {
        /// Its number.
        order: u64,
        /// Why.
        source: PositionError,
    },
}

/// Lives a scenario through, until its window is over and every order has ended, or the time to work them off is.
///
/// # Errors
/// [`Failure`] when the scenario lies off the world, or when the engine breaks an invariant while they are checked.
pub fn run(scenario: Scenario, settings: Settings) -> Result<Report, Failure> {
    let window = settings.window;
    let mut world = world::World::new(scenario, settings)?;
    world.live()?;
    let (orders, riders, machine, until) = world.close();
    let outcomes = Outcomes {
        dispatcher: "virtual engine".to_owned(),
        from_s: window.from_s,
        placed_to: window.length_ms(),
        until,
        orders,
        riders,
    };
    Ok(Report { outcomes, machine })
}

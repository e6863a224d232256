//! Every course of events of a few small worlds: the protocol of accept, commit and withdraw between devices, the city,
//! its journal and the store, gone through whole.
//!
//! The city is the real one, driven by `City::apply`; around it stand the simulation's model of the store, a journal that
//! refuses, loses answers and is fenced by epochs, and riders and merchants who may say anything that they could know, at
//! any time and over again. A state is left in every possible way, breadth first, and visited once. In each of them:
//!
//! - the engine's own invariants hold, and the simulation's auditor finds everything that is told to be stored: one rider
//!   per order, one order per rider, an acceptance that stands until another transition ends it;
//! - orders that have not ended are where operators see them, and are seen as they are stored;
//! - once the journal has answered, nobody waits for an answer, and every request has had exactly one;
//! - from a sample of them, riders who work and a journal that commits bring every order to its end, paid once.
//!
//! The explorer is written by hand. What exists (`stateright`) wants states that are hashed by their fields; a city makes
//! ids, holds coordinates and lives from closures of time, so what two states have in common must be said here anyway.
//!
//! ```text
//! cargo test --test engine exhaustive -- --nocapture                          the figures
//! MODEL_LARGE=1 cargo test --test engine exhaustive -- --nocapture            larger bounds, minutes of it
//! ```

mod action;
mod drain;
mod explorer;
mod fingerprint;
mod journal;
mod model;
mod promises;
mod scenario;

use dispatch_engine::{
    domain::{duty::Duty, order::Step},
    engine::Defect,
};

use self::{
    action::{Action, Ask},
    explorer::{Explored, explore},
    model::Model,
    scenario::{Budget, Reaction, Scenario, TICK_S},
};
use crate::simulation::from_env;

/// Offers run out, are declined, accepted late and twice, and a cancellation races them.
const OFFERS: Scenario = Scenario {
    name: "offers",
    reactions: &[Reaction::Seen, Reaction::Accept, Reaction::Decline],
    budget: Budget { ticks: 3, cancels: 1, ..Budget::NOTHING },
    sees: &["offered", "assigned", "offer_declined", "offer_expired", "cancelled", "answered again", "offer_closed"],
    ..Scenario::BASE
};

/// The journal is full, refuses, and loses an answer.
const REFUSALS: Scenario = Scenario {
    name: "refusals",
    reactions: &[Reaction::Accept, Reaction::Decline],
    budget: Budget { ticks: 2, cancels: 1, unheard: 1, busy: 1, invalid: 1, ..Budget::NOTHING },
    sees: &["assigned", "offer_declined", "cancelled", "storage_busy", "storage_refused", "found stored"],
    ..Scenario::BASE
};

/// The city dies anywhere, alone or with its journal, and late writes of the dead meet the next incarnation.
const CRASHES: Scenario = Scenario {
    name: "crashes",
    budget: Budget { ticks: 2, cancels: 1, crashes: 1, unheard: 1, ..Budget::NOTHING },
    at_once: 1,
    sees: &["offered", "assigned", "cancelled", "fenced", "found stored", "stored for nobody"],
    ..Scenario::BASE
};

/// Two orders and two riders: nobody gets two, and nobody's is given twice.
const TWO_ORDERS: Scenario = Scenario {
    name: "two orders",
    orders: 2,
    budget: Budget { ticks: 3, busy: 1, ..Budget::NOTHING },
    sees: &["offered", "assigned", "offer_expired", "storage_busy"],
    ..Scenario::BASE
};

/// Sessions break and take over; the rider goes off duty and comes back.
const SESSIONS: Scenario = Scenario {
    name: "sessions",
    riders: 1,
    reactions: &[Reaction::Seen, Reaction::Accept],
    duties: &[Duty::On, Duty::Off],
    budget: Budget { ticks: 2, takeovers: 1, losses: 1, duties: 2, ..Budget::NOTHING },
    sees: &["offered", "assigned", "offer_withdrawn", "OFF", "ON", "superseded"],
    ..Scenario::BASE
};

/// A rider who cannot decide on a duty, with a journal that is slow to answer, full, or dies.
const DUTIES: Scenario = Scenario {
    name: "duties",
    riders: 1,
    orders: 0,
    duties: &[Duty::On, Duty::Break, Duty::Off],
    budget: Budget { duties: 3, takeovers: 1, losses: 1, busy: 1, unheard: 1, crashes: 1, ..Budget::NOTHING },
    sees: &["ON", "BREAK", "OFF", "storage_busy", "found stored", "fenced"],
    ..Scenario::BASE
};

/// Goods on their way: steps out of order and repeated, a breakdown, a cancellation before and after pickup, silence.
const CARRIED: Scenario = Scenario {
    name: "carried",
    steps: &[Step::PickedUp, Step::Handover, Step::AttemptFailed, Step::Returning, Step::Returned, Step::Delivered],
    budget: Budget { ticks: 2, cancels: 1, ..Budget::NOTHING },
    at_once: 1,
    auto_off_after_s: TICK_S + TICK_S / 2,
    opening: &[Action::Tick, Action::Commit, Action::Ask(0, Ask::Accept(0)), Action::Commit],
    sees: &[
        "picked_up",
        "handover",
        "attempt_failed",
        "returned",
        "delivered",
        "unassigned",
        "cancelled",
        "cancelled_after_pickup",
        "illegal_step",
        "disputed",
        "answered again",
        "AUTO_OFF",
    ],
    ..Scenario::BASE
};

/// The same with a city that dies on the way, and a rider who says everything twice.
const CARRIED_THROUGH_A_CRASH: Scenario = Scenario {
    name: "carried through a crash",
    riders: 1,
    steps: &[Step::PickedUp, Step::Delivered],
    budget: Budget { cancels: 1, crashes: 1, unheard: 1, busy: 1, ..Budget::NOTHING },
    opening: CARRIED.opening,
    sees: &["picked_up", "delivered", "cancelled", "cancelled_after_pickup", "fenced", "found stored", "order_ended"],
    ..Scenario::BASE
};

/// Merchants place twice and call off, and the process dies meanwhile.
const PLACEMENTS: Scenario = Scenario {
    name: "placements",
    riders: 1,
    placements: 2,
    budget: Budget { ticks: 1, cancels: 1, crashes: 1, unheard: 1, invalid: 1, ..Budget::NOTHING },
    sees: &["placed", "replayed", "cancelled", "offered", "storage_refused", "fenced", "stored for nobody"],
    ..Scenario::BASE
};

/// Explores a world, or a larger one of its kind when that is asked for; shows its figures, and fails with the way into a
/// broken state.
fn holds(scenario: Scenario, large: Budget) {
    let asked = from_env("MODEL_LARGE").is_some_and(|asked| asked > 0);
    let scenario = if asked { Scenario { budget: large, ..scenario } } else { scenario };
    let (name, sees) = (scenario.name, scenario.sees);
    let seen = explore(scenario).unwrap_or_else(|counterexample| panic!("{counterexample}"));
    let Explored { states, transitions, depth, drained, seen } = seen;
    println!("{name}: {states} states, {transitions} transitions, {depth} deep, {drained} drained; {seen:?}");
    let missed: Vec<_> = sees.iter().filter(|what| !seen.contains_key(*what)).collect();
    assert!(missed.is_empty(), "{missed:?} never happened in the world `{name}`");
}

#[test]
fn offers_have_one_winner() {
    holds(OFFERS, Budget { ticks: 4, ..OFFERS.budget });
}

#[test]
fn a_journal_that_refuses_breaks_nothing() {
    holds(REFUSALS, Budget { ticks: 3, ..REFUSALS.budget });
}

#[test]
fn a_city_may_die_anywhere() {
    holds(CRASHES, Budget { ticks: 3, ..CRASHES.budget });
}

#[test]
fn two_orders_never_meet_in_one_hand() {
    holds(TWO_ORDERS, Budget { cancels: 1, ..TWO_ORDERS.budget });
}

#[test]
fn sessions_may_break_and_take_over() {
    holds(SESSIONS, Budget { duties: 3, ..SESSIONS.budget });
}

#[test]
fn a_duty_is_told_as_stored() {
    holds(DUTIES, Budget { duties: 4, ..DUTIES.budget });
}

#[test]
fn goods_on_their_way_are_never_lost() {
    holds(CARRIED, Budget { crashes: 1, ..CARRIED.budget });
}

#[test]
fn goods_on_their_way_outlive_the_city() {
    holds(CARRIED_THROUGH_A_CRASH, Budget { ticks: 1, ..CARRIED_THROUGH_A_CRASH.budget });
}

#[test]
fn placements_are_stored_once() {
    holds(PLACEMENTS, Budget { busy: 1, ..PLACEMENTS.budget });
}

/// Explores a broken world with an outsider's eyes alone: the engine's own invariants are not asked.
fn is_caught(scenario: Scenario) {
    let what = (scenario.defect, scenario.fenced);
    let Err(counterexample) = explore(Scenario { inside: false, ..scenario }) else {
        panic!("{what:?} goes unnoticed")
    };
    println!("{what:?} is caught: {counterexample}");
}

#[test]
fn telling_before_the_commit_is_caught() {
    is_caught(Scenario { defect: Some(Defect::TellsBeforeCommit), ..OFFERS });
}

#[test]
fn accepting_twice_is_caught() {
    is_caught(Scenario { defect: Some(Defect::AcceptsTwice), ..OFFERS });
}

#[test]
fn offering_to_the_busy_is_caught() {
    is_caught(Scenario { defect: Some(Defect::OffersToTheBusy), riders: 1, ..TWO_ORDERS });
}

#[test]
fn losing_refused_writes_is_caught() {
    is_caught(Scenario { defect: Some(Defect::LosesRefusedWrites), ..REFUSALS });
}

#[test]
fn forgetting_the_holder_is_caught() {
    is_caught(Scenario { defect: Some(Defect::ForgetsTheHolder), ..CARRIED });
}

#[test]
fn a_store_without_epochs_is_caught() {
    is_caught(Scenario { fenced: false, ..CRASHES });
}

#[test]
fn states_are_the_same_whatever_the_engine_called_its_ids() {
    let in_world = |scenario: Scenario, actions: &[Action]| {
        let mut model = Model::new(scenario.into()).unwrap();
        actions.iter().for_each(|action| model.perform(*action).unwrap());
        model.fingerprint().unwrap()
    };
    let after = |actions: &[Action]| in_world(SESSIONS, actions);
    // The engine names the two writes in the order in which it makes them.
    let pause = |rider| Action::Ask(rider, Ask::Duty(Duty::Break));
    let one = in_world(Scenario { riders: 2, ..SESSIONS }, &[pause(0), pause(1), Action::Commit, Action::Commit]);
    assert_eq!(
        one,
        in_world(Scenario { riders: 2, ..SESSIONS }, &[pause(1), pause(0), Action::Commit, Action::Commit])
    );
    let lost = [Action::Tick, Action::Commit, Action::Lost(0), Action::Hello(0)];
    let twice = [Action::Tick, Action::Commit, Action::Hello(0), Action::LostLate(0), Action::LostLate(0)];
    assert_eq!(after(&twice), after(&twice[..3]));
    assert_ne!(after(&lost), after(&twice));
    assert_ne!(after(&lost[..1]), after(&lost[..2]));
}

//! Operators step in at random: they assign, take away, hold, release, call off and move orders, often on an old picture,
//! and ask again under the same key when they get no answer.

use dispatch_engine::{
    domain::{
        duty::Duty,
        ids::{OrderId, RiderId},
        order::{Actor, ActorKind},
        steering::Priority,
    },
    engine::command::{Command, Conditions, IdempotencyRecord, OperatorAction, Outcome, Refusal},
};
use rand::RngExt;
use serde_json::Value;

use super::{
    Checked,
    world::{Asker, Event, World},
};
use crate::harness::secs;

/// What an operator asks.
#[derive(Clone, Copy, Debug)]
pub struct Act {
    pub number: u64,
    order: OrderId,
    action: OperatorAction,
    /// Which of the operators.
    by: u64,
    expected: Option<i32>,
    keyed: bool,
    tried: u32,
}

impl World {
    /// An operator looks at the city and does something, wise or not.
    pub fn step_in(&mut self) {
        if self.calm {
            return;
        }
        let gap = self.rng.random_range(60_000..900_000);
        self.after_ms(gap, Event::StepIn);
        let dice = self.rng.random_range(0..100);
        let held = if (18..30).contains(&dice) { self.some_held_order() } else { None };
        let Some(order) = held.or_else(|| self.some_open_order()) else { return };
        let state = &self.store.orders[&order].state;
        let (version, in_hand) = (state.version, state.status.has_rider());
        let level = self.rng.random_range(-2..=2);
        let action = match (dice, in_hand) {
            (0..4, _) => OperatorAction::Cancel,
            (4..18, _) => OperatorAction::SetPriority { level: Priority::new(level).unwrap_or_default() },
            (18..30, _) => OperatorAction::Release,
            (30..55, false) => {
                let most = if self.rng.random_bool(0.1) { 5_000 } else { 1_200 };
                OperatorAction::Hold { until: self.now + secs(self.rng.random_range(30..most)) }
            }
            (30..45, true) => OperatorAction::Unassign,
            (dice, _) => {
                let Some(rider) = self.some_rider() else { return };
                let force = self.rng.random_bool(0.2);
                // Now and then the wrong word for what is meant.
                if in_hand != (dice >= 95) {
                    OperatorAction::Reassign { rider, force }
                } else {
                    OperatorAction::Assign { rider, force }
                }
            }
        };
        let expected = match self.rng.random_range(0..10) {
            0..5 => None,
            5..9 => Some(version),
            _ => Some(version - 1),
        };
        self.last_act += 1;
        let (number, by, keyed) = (self.last_act, self.rng.random_range(0..3), self.rng.random_bool(0.7));
        self.act_soon(Act { number, order, action, by, expected, keyed, tried: 0 }, 5_000);
        if self.rng.random_bool(0.1) {
            // A double click.
            self.act_soon(Act { number, order, action, by, expected, keyed, tried: 0 }, 5_000);
        }
        if keyed && self.rng.random_bool(0.5) {
            // A page that was left open sends it once more, when the order has long moved on, and insists.
            self.act_soon(Act { number, order, action, by, expected: None, keyed, tried: 3 }, 2_400_000);
        }
    }

    fn act_soon(&mut self, act: Act, within_ms: u64) {
        let ms = self.rng.random_range(10..within_ms);
        self.after_ms(ms, Event::Operator(act));
    }

    fn some_open_order(&mut self) -> Option<OrderId> {
        if self.store.open.is_empty() {
            return None;
        }
        let skip = self.rng.random_range(0..self.store.open.len());
        self.store.open.iter().nth(skip).copied()
    }

    fn some_held_order(&self) -> Option<OrderId> {
        self.store.open.iter().find(|id| self.store.orders[id].state.hold.is_some()).copied()
    }

    fn some_rider(&mut self) -> Option<RiderId> {
        let picky = self.rng.random_bool(0.9);
        let fits = |id: &RiderId, duty: Duty| !picky || (duty == Duty::On && self.store.is_free(*id));
        let riders: Vec<RiderId> =
            self.store.riders.iter().filter(|(id, (_, duty))| fits(id, *duty)).map(|(id, _)| *id).collect();
        if riders.is_empty() { None } else { Some(riders[self.rng.random_range(0..riders.len())]) }
    }

    /// An operator's request reaches the city.
    pub fn operate(&mut self, act: Act) -> Checked {
        if self.city.is_none() {
            self.try_again(act);
            return Ok(());
        }
        let Act { number, order, action, by, expected, keyed, .. } = act;
        let reply = self.expect(Asker::Operator(act));
        let name = format!("operator-{by}");
        let record = IdempotencyRecord {
            caller: name.clone(),
            key: format!("act-{number}"),
            digest: vec![1],
            answer: Value::Null,
            expires_at: self.now + secs(86_400),
        };
        let given = Conditions { expected_version: expected, idempotency: keyed.then(|| Box::new(record)) };
        let by = Actor { kind: ActorKind::Operator, id: Some(name) };
        self.apply(Command::Operate { order, action, by, reason: "as it seemed best".into(), given, reply })
    }

    fn try_again(&mut self, act: Act) {
        if act.tried < 3 {
            self.act_soon(Act { tried: act.tried + 1, ..act }, 20_000);
        }
    }

    /// An operator has an answer.
    pub fn operator_hears(&mut self, act: Act, result: &Result<Outcome, Refusal>) {
        if self.chance(self.faults.answer_lost) {
            return self.try_again(act);
        }
        match result {
            Err(Refusal::StorageBusy | Refusal::OrderBusy | Refusal::Invalid(_) | Refusal::Conflict) => {
                self.try_again(act);
            }
            Err(Refusal::Moved { .. }) => self.count("operator saw an old picture"),
            Err(_) => self.count("operator refused"),
            Ok(_) => {}
        }
    }
}

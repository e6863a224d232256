//! What the merchants of a virtual city do: they place orders, call some off and announce delays, and try again for a while
//! when they are put off.

use super::{
    Failure,
    agenda::Event,
    names,
    world::{Asker, World},
};
use crate::{
    domain::order::{Actor, ActorKind},
    engine::command::{Command, Conditions, Outcome, PlacementExtras, Refusal},
    replay::orders::CANCEL_REASON,
};

/// A merchant who is put off tries again after this time, milliseconds.
const TRY_AGAIN_MS: i64 = 1_000;

/// A merchant gives up this long after the first attempt, milliseconds.
const PATIENCE_MS: i64 = 60_000;

impl World {
    /// A merchant's event happens.
    pub(super) fn merchant_acts(&mut self, event: Event) -> Result<(), Failure> {
        let (Event::Place(index) | Event::Cancel(index) | Event::Delay(index)) = event else { return Ok(()) };
        let Some(spec) = self.specs.get_mut(index) else { return Ok(()) };
        let now = self.shared.stamp(self.now);
        let actor = Actor { kind: ActorKind::Merchant, id: Some(spec.merchant.to_string()) };
        if event == Event::Place(index) {
            spec.id = names::order(index, now);
            spec.placed_at = now;
            // Goods that have been ready for a while are ready now: nobody could have fetched them before.
            spec.ready_at = spec.ready_at.max(now);
        }
        let (order, spec) = (spec.id, spec.clone());
        let reply = self.ask(Asker::Merchant(index, event));
        let given = Conditions::default();
        let command = match event {
            Event::Place(_) => {
                Command::Place { spec: Box::new(spec), extras: Box::new(PlacementExtras::default()), actor, reply }
            }
            Event::Cancel(_) => Command::Cancel { order, actor, reason: CANCEL_REASON.to_owned(), reply, given },
            _ => {
                let planned = &self.orders[index];
                let late = planned.whims.delay.map_or(0, |(_, by)| by);
                Command::ChangeReady { order, ready_at: self.shared.stamp(planned.ready + late), actor, reply, given }
            }
        };
        self.apply(command)
    }

    /// A merchant hears what came of it.
    pub(super) fn answer_merchant(&mut self, index: usize, event: Event, result: Result<Outcome, Refusal>) {
        let planned = &self.orders[index];
        let whims = planned.whims;
        let cancel_at = whims.cancel_after.map(|after| planned.at + after);
        let delay_at = whims.delay.map(|(after, _)| planned.at + after);
        let delay_at = delay_at.filter(|at| cancel_at.is_none_or(|cancel| *at < cancel));
        let first = match event {
            Event::Cancel(_) => cancel_at,
            Event::Delay(_) => delay_at,
            _ => Some(planned.at),
        };
        match (result, event) {
            (Ok(_), Event::Place(_)) => {
                // What was to happen before the placement was through happens after it.
                if let Some(at) = delay_at {
                    self.agenda.enter(at.max(self.now), Event::Delay(index));
                }
                if let Some(at) = cancel_at {
                    self.agenda.enter(at.max(self.now), Event::Cancel(index));
                }
            }
            (Ok(_), _) => {}
            (Err(Refusal::StorageBusy | Refusal::OrderBusy | Refusal::Conflict | Refusal::CityFull(_)), _)
                if first.is_some_and(|first| self.now < first + PATIENCE_MS) =>
            {
                self.agenda.enter(self.now + TRY_AGAIN_MS, event);
            }
            (Err(_), Event::Place(_)) => self.books.refused(index),
            (Err(_), _) => {}
        }
    }
}

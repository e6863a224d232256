//! The journal of the simulation: writes take time, are refused, answered late, twice or never, and out of step
//! between orders. What concerns one order, one offer or one rider's duty keeps its order, as in the real one.

use std::{collections::BTreeMap, time::Duration};

use dispatch_engine::{
    domain::{ids::TransitionId, time::Timestamp},
    engine::{
        command::{Command, RejectReason},
        effect::Write,
    },
};
use rand::RngExt;
use uuid::Uuid;

use super::{
    Checked,
    world::{Event, World},
};

/// Writes on their way.
#[derive(Default)]
pub struct Journal {
    /// In the order in which the city handed them over.
    flight: Vec<Write>,
    /// Nothing of the same thing is stored or answered before this.
    not_before: BTreeMap<Uuid, Timestamp>,
    /// Nothing is stored before this.
    pub stalled_until: Timestamp,
}

/// What a write is about.
fn subject(write: &Write) -> Uuid {
    match write {
        Write::Place(place) => place.spec.id.0,
        Write::Order(order) => order.order.0,
        Write::Note(note) => note.order.0,
        Write::Offer { offer, .. } => offer.id.0,
        Write::Duty(duty) => duty.rider.0,
        Write::Dispute(dispute) => dispute.record.order.0,
    }
}

impl World {
    /// The city hands a write over.
    pub fn submit(&mut self, write: Write) {
        let transition = write.transition();
        if self.chance(self.faults.busy) {
            self.count("journal busy");
            return self.after_ms(5, Event::Answer(self.incarnation, transition, Err(RejectReason::Busy)));
        }
        let spread = if self.chance(self.faults.slow) { 20_000 } else { 40 };
        let delay = Duration::from_millis(self.rng.random_range(2..spread));
        let subject = subject(&write);
        let free = self.journal.not_before.get(&subject).copied().unwrap_or_default();
        let at = (self.now.max(self.journal.stalled_until) + delay).max(free);
        self.journal.not_before.insert(subject, at);
        self.journal.flight.push(write);
        self.at(at, Event::Store(transition));
    }

    /// A write reaches the store.
    pub fn store_write(&mut self, transition: TransitionId) -> Checked {
        let Some(place) = self.journal.flight.iter().position(|write| write.transition() == transition) else {
            return Ok(());
        };
        let write = self.journal.flight.remove(place);
        let result = if self.chance(self.faults.invalid) {
            Err(RejectReason::Invalid("a simulated refusal".to_owned()))
        } else {
            self.commit(&write)?
        };
        match &result {
            Ok(()) => {}
            Err(RejectReason::Conflict) => self.count("conflict"),
            Err(RejectReason::Invalid(_)) => self.count("write refused"),
            Err(RejectReason::Replay(_)) if matches!(write, Write::Place(_)) => self.count("placement replayed"),
            Err(RejectReason::Replay(_)) => self.count("operator's answer replayed"),
            Err(_) => self.count("duplicate reference"),
        }
        // The answer takes a moment of its own; answers about the same thing keep their order, and the next write of it
        // stays behind them.
        let spread = if self.chance(self.faults.slow) { 5_000 } else { 20 };
        let free = self.journal.not_before.entry(subject(&write)).or_default();
        let at = (self.now + Duration::from_millis(self.rng.random_range(0..spread))).max(*free);
        *free = at;
        self.at(at, Event::Answer(self.incarnation, transition, result.clone()));
        if self.chance(self.faults.answer_twice) {
            self.count("answer twice");
            let again = at + Duration::from_millis(self.rng.random_range(0..5_000));
            self.at(again, Event::Answer(self.incarnation, transition, result));
        }
        Ok(())
    }

    fn commit(&mut self, write: &Write) -> Result<Result<(), RejectReason>, String> {
        let result = self.store.commit(write)?;
        self.trace(|| format!("   store {:?}: {result:?}", write.transition()));
        if result.is_ok() {
            self.tally_stored(write);
            self.auditor.stored(write);
        }
        Ok(result)
    }

    /// An answer reaches the city that asked, if it still lives.
    pub fn journal_answers(
        &mut self,
        incarnation: u64,
        transition: TransitionId,
        result: Result<(), RejectReason>,
    ) -> Checked {
        if incarnation != self.incarnation {
            return Ok(());
        }
        self.auditor.confirmed(transition);
        let diverged = result == Err(RejectReason::Conflict);
        self.apply(match result {
            Ok(()) => Command::Committed { transition },
            Err(why) => Command::Rejected { transition, why },
        })?;
        // As the city's shell does: what is remembered can no longer be trusted.
        if diverged { self.crash() } else { Ok(()) }
    }

    /// The city is gone: what was on its way is stored or lost, and nothing of it later, for the epoch is over.
    pub fn fence_journal(&mut self) -> Checked {
        let mut cut: Vec<Uuid> = Vec::new();
        for write in std::mem::take(&mut self.journal.flight) {
            let subject = subject(&write);
            if cut.contains(&subject) || self.rng.random_bool(0.5) {
                self.count("write lost in a crash");
                cut.push(subject);
                continue;
            }
            self.count("write stored in a crash");
            // Nobody is left to hear of it.
            let _ = self.commit(&write)?;
        }
        self.journal.not_before.clear();
        Ok(())
    }
}

//! The way out of a state: nothing more goes wrong, everybody works, and everything has to come to its end.

use dispatch_engine::domain::duty::Duty;

use super::{
    action::{Action, Ask},
    model::Model,
    scenario::Budget,
};
use crate::simulation::{Checked, ensure};

/// Ticks within which a small world has finished.
const TICKS: usize = 60;

/// Writes that may follow from each other before it is held for a circle.
const WRITES: usize = 64;

impl Model {
    /// The journal answers everything that it has: then nobody may be left waiting.
    pub fn settle(&mut self) -> Checked {
        self.left = Budget { takeovers: u8::MAX, duties: u8::MAX, ticks: u8::MAX, ..Budget::NOTHING };
        if self.city.is_none() {
            self.perform(Action::Restart)?;
        }
        self.commit_all()?;
        ensure(self.asks.is_empty(), || {
            format!("the journal has answered everything, and these wait: {:?}", self.asks)
        })?;
        let pending = self.city.as_ref().map(|city| city.counts(self.now).writes_pending).unwrap_or_default();
        ensure(pending == 0, || format!("the journal has answered everything, and {pending} writes wait for it"))?;
        self.check()
    }

    fn commit_all(&mut self) -> Checked {
        for _ in 0..WRITES {
            if self.journal.is_empty() {
                return Ok(());
            }
            self.perform(Action::Commit)?;
        }
        Err("the journal never runs empty".to_owned())
    }

    /// From a settled state to the end of every order.
    pub fn drain(&mut self) -> Checked {
        // What a device knew before is worth nothing: it acts by what its next `welcome` says.
        for n in 0..self.riders.len() {
            self.perform(Action::Hello(n))?;
            self.perform(Action::Ping(n))?;
        }
        for _ in 0..TICKS {
            self.commit_all()?;
            if self.store.open.is_empty() {
                return self.rest();
            }
            for n in 0..self.riders.len() {
                self.work(n)?;
                self.commit_all()?;
            }
            self.perform(Action::Tick)?;
        }
        let open = self.store.open.iter().map(|id| (id, self.store.orders[id].state.status));
        Err(format!("everybody works, and these orders reach no end: {:?}", open.collect::<Vec<_>>()))
    }

    /// A rider does what there is to do.
    fn work(&mut self, n: usize) -> Checked {
        let rider = &self.riders[n];
        if let Some((order, step)) = rider.job {
            let order = rider.orders.iter().position(|known| *known == order);
            return order.map_or(Ok(()), |order| self.perform(Action::Ask(n, Ask::Step(order, step))));
        }
        if let Some(offer) = rider.open_offer {
            let offer = rider.offers.iter().position(|known| *known == offer);
            return offer.map_or(Ok(()), |offer| self.perform(Action::Ask(n, Ask::Accept(offer))));
        }
        if self.store.riders[&rider.id].1 == Duty::On {
            return Ok(());
        }
        self.perform(Action::Ask(n, Ask::Duty(Duty::On)))
    }

    /// All is done: nobody waits, nobody believes to have work, and everybody was paid.
    fn rest(&self) -> Checked {
        ensure(self.asks.is_empty(), || format!("all is done, and these wait: {:?}", self.asks))?;
        let believer = self.riders.iter().find(|rider| rider.job.is_some());
        ensure(believer.is_none(), || format!("all is done, and one believes to have work: {believer:?}"))?;
        self.store.check_books()
    }
}

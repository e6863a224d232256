//! The fate of the city itself: its journal stalls, somebody meddles, its thread stands still, it dies and is restored.

use dispatch_engine::engine::{City, invariants};
use rand::RngExt;

use super::{
    Checked,
    world::{Asker, Event, World},
};
use crate::harness::secs;

impl World {
    /// Fate looks at the city.
    pub fn doom(&mut self) -> Checked {
        let ms = self.rng.random_range(300_000..2_100_000);
        self.after_ms(ms, Event::Doom);
        if self.chance(self.faults.stall) {
            self.count("journal stalled");
            self.journal.stalled_until = self.now + secs(self.rng.random_range(5..120));
        }
        if self.chance(self.faults.meddling) && !self.store.open.is_empty() {
            let skip = self.rng.random_range(0..self.store.open.len());
            if let Some(order) = self.store.open.iter().nth(skip).copied() {
                self.count("meddled");
                self.store.meddle(order);
            }
        }
        if self.backlog.is_none() && self.chance(self.faults.pause) {
            self.count("engine paused");
            self.backlog = Some(Vec::new());
            let long = self.rng.random_bool(0.3);
            let ms = self.rng.random_range(11_000..if long { 1_800_000 } else { 90_000 });
            self.after_ms(ms, Event::Resume);
        }
        if self.city.is_some() && self.chance(self.faults.crash) {
            if self.rng.random_bool(0.5) {
                return self.crash();
            }
            self.doomed = true;
        }
        Ok(())
    }

    /// The city's thread goes on: with its timer or with what stands at the door, in whatever order.
    pub fn resume(&mut self) -> Checked {
        let Some(mut backlog) = self.backlog.take() else { return Ok(()) };
        self.auditor.stood_still(self.now);
        backlog.retain(|event| !matches!(event, Event::Tick));
        let place = if self.rng.random_bool(0.5) { 0 } else { backlog.len() };
        backlog.insert(place, Event::Tick);
        backlog.into_iter().try_for_each(|event| self.happen(event))
    }

    /// The city dies; everybody who waits for it is alone.
    pub fn crash(&mut self) -> Checked {
        self.count("city crashed");
        self.trace(|| "   the city dies".to_owned());
        self.city = None;
        self.doomed = false;
        self.incarnation += 1;
        for (_, asker) in std::mem::take(&mut self.asks).into_values() {
            match asker {
                Asker::Merchant(request) => self.after_ms(10_000, Event::Merchant(request)),
                Asker::Operator(act) => self.after_ms(10_000, Event::Operator(act)),
                Asker::Device { .. } => {}
            }
        }
        if self.rng.random_bool(0.5) {
            // The whole process is gone, and not its city alone.
            self.fence_journal()?;
        }
        self.hang_up();
        // What stood at its door finds nobody there.
        for event in self.backlog.take().unwrap_or_default() {
            self.after_ms(100, event);
        }
        let down = self.rng.random_range(200..60_000);
        self.after_ms(down, Event::Restart);
        Ok(())
    }

    pub fn restart(&mut self) -> Checked {
        if self.city.is_some() {
            return Ok(());
        }
        self.fence_journal()?;
        let image = self.store.image(self.now);
        self.auditor.restored(self.now, &self.store);
        let seed = self.plan.seed.wrapping_mul(1_000_003).wrapping_add(self.incarnation);
        let (mut city, effects) = City::restore(self.settings.clone(), seed, self.now, image);
        if let Some(defect) = self.plan.defect {
            city.break_with(defect);
        }
        self.trace(|| "   a new incarnation".to_owned());
        if self.plan.inside {
            invariants::check(&city, self.now).map_err(|broken| format!("restored: {broken}"))?;
        }
        self.city = Some(city);
        effects.into_iter().try_for_each(|effect| self.carry_out(effect))
    }
}

//! What a rider does of their own accord, and what goes wrong meanwhile: breaks, wandering while idle, lost connections,
//! garbage. Pure.

use dispatch_engine::{
    replay::manners::{BREAK_MS, NEVER, OUTAGE_MS, Outage, after},
    wire::rider::DutyWish,
};
use rand::RngExt;

use super::{
    Shared,
    behaviour::Rider,
    lies,
    outcome::{Ending, Out},
};

impl Rider {
    /// The moods of a shift begin: outages, breaks, lies.
    pub(super) fn set_moods(&mut self, now: i64, shared: &Shared) {
        if self.next_outage == NEVER {
            self.next_outage = after(now, shared.manners.dropout_per_hour, &mut self.rng);
        }
        if self.next_break == NEVER {
            self.next_break = after(now, shared.manners.breaks_per_hour, &mut self.rng);
        }
        if self.character.liar && self.next_garbage == NEVER {
            self.next_garbage = now + self.rng.random_range(0..2 * lies::GARBAGE_EVERY_MS);
        }
    }

    pub(super) fn wanders(&self) -> bool {
        self.character.haunts.is_some() && self.duty == "ON" && self.jobs.is_empty() && self.offer.is_none()
    }

    pub(super) fn take_break(&mut self, now: i64) {
        if now >= self.break_end {
            self.break_end = NEVER;
            if self.wish == DutyWish::Break {
                self.wish = DutyWish::On;
            }
        }
        if now >= self.next_break {
            self.next_break = NEVER;
            if self.wish == DutyWish::On && self.jobs.is_empty() && self.offer.is_none() {
                self.wish = DutyWish::Break;
                self.break_end = now + self.rng.random_range(BREAK_MS);
            }
        }
    }

    pub(super) fn wander(&mut self, now: i64) {
        let Some(haunts) = self.character.haunts.clone().filter(|_| self.wanders() && now >= self.idle_until) else {
            return;
        };
        let rng = &mut self.rng;
        let to = if rng.random_bool(0.3) { haunts.busy_spot(rng) } else { self.motion.position(now) };
        let to = haunts.near(rng, to, 500.0);
        let arrival = self.motion.go(now, to, 0.6, rng);
        self.idle_until = arrival + rng.random_range(30_000..180_000);
    }

    pub(super) fn go_wrong(&mut self, now: i64, shared: &Shared, out: &mut Out) {
        if now >= self.next_garbage {
            self.next_garbage = now + self.rng.random_range(0..2 * lies::GARBAGE_EVERY_MS).max(1_000);
            shared.stats.event("garbage_sent");
            out.raw.push(lies::garbage(&mut self.rng));
        }
        if now >= self.next_outage {
            let until = now + self.rng.random_range(OUTAGE_MS);
            self.next_outage = after(until, shared.manners.dropout_per_hour, &mut self.rng);
            let outage = Outage::draw(&mut self.rng);
            shared.stats.event(match outage {
                Outage::Cut => "outage_cut",
                Outage::Silent => "outage_silent",
                Outage::Restart => "outage_restart",
            });
            out.ending = Some(Ending::Outage(outage, until));
        }
    }
}

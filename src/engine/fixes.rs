//! A rider's position comes in. Nearly everything that reaches a city is this, so it looks the rider up once and does what a
//! ping can change, no more.
//!
//! What a ping leaves as it is: the means of a rider, and every deadline that counts from the last one, which only moves
//! back, and alarms may be early. Who is ready for work stays so, for the last fix cannot be fresher. Who is not may become
//! it: by a fix after a silence, or with a plan that will soon be finished as seen from here.

use crate::domain::time::Timestamp;

use super::{
    aside::same_square,
    city::City,
    command::Fix,
    forward::Stands,
    roster::Slot,
    state::{LiveFix, LiveRider},
};

/// Positions whose riders are looked up before the first of them is taken in. Each stands in a few places that nothing was
/// read from for seconds; memory brings what is asked for together in little more time than one alone.
const TOGETHER: usize = 32;

impl City {
    /// Takes positions in, in their order.
    pub(super) fn fixes(&mut self, now: Timestamp, fixes: impl IntoIterator<Item = Fix>) {
        let mut fixes = fixes.into_iter().peekable();
        while fixes.peek().is_some() {
            let mut known = [None; TOGETHER];
            for (known, fix) in known.iter_mut().zip(fixes.by_ref()) {
                *known = self.riders.slot(fix.rider).map(|slot| (slot, fix));
            }
            let live = known.iter().flatten().filter_map(|(slot, _)| self.riders.at(*slot));
            self.index.look_at(live.filter(|live| live.stands == Stands::Ready).map(|live| live.ticket));
            // None of these positions takes a rider out, so the slots stay.
            for (slot, fix) in known.into_iter().flatten() {
                self.fix(now, slot, fix);
            }
        }
    }

    /// Takes a position in. Ignored when its session no longer speaks for the rider; one that is older than the last counts
    /// as a sign of life and moves nobody.
    fn fix(&mut self, now: Timestamp, slot: Slot, fix: Fix) {
        let Some(live) = self.riders.at_mut(slot).filter(|live| live.session == Some(fix.session)) else { return };
        let was_silent = live.heard(now);
        // The lane has taken late points out; this keeps two lanes of one rider in order too.
        let last = live.fix;
        if last.is_some_and(|last| last.recorded_at > fix.recorded_at) {
            if was_silent {
                self.watch_rider_again(now, fix.rider);
            }
            return;
        }
        live.fix = Some(LiveFix { position: fix.position, recorded_at: fix.recorded_at, received_at: now });
        if live.touched.set() {
            self.touched.riders.push(fix.rider);
        }
        if was_silent {
            return self.reindex_at(now, slot);
        }
        if live.stands == Stands::Ready {
            return self.index.shift(live.ticket, fix.position);
        }
        self.fix_of_the_others(now, slot, last);
    }

    /// The fix of a rider who was not ready for work is in.
    fn fix_of_the_others(&mut self, now: Timestamp, slot: Slot, last: Option<LiveFix>) {
        let Some(live) = self.riders.at(slot) else { return };
        let from = self.forward_from(live);
        let offerable = self.is_offerable_from(now, live, from);
        let stays = match live.stands {
            // Where the plan ends, wherever the rider is.
            Stands::Ahead => offerable && live.outlook.is_some(),
            Stands::Aside => !offerable,
            Stands::Ready | Stands::Nowhere => false,
        };
        let (Some(fix), Some(last)) = (live.fix.filter(|_| stays), last) else { return self.reindex_at(now, slot) };
        if live.stands == Stands::Aside && !same_square(last.position, fix.position) {
            self.aside.shift(live.ticket, fix.position);
        }
        // A plan may be finished sooner than it seemed.
        let sooner = from.filter(|from| live.look_at.is_none_or(|set| set > *from));
        if sooner.is_some() {
            let due = self.rider_due(live, live.stands.in_index(), from);
            self.watch_rider(now, live.profile.id, due);
        }
    }
}

impl LiveRider {
    /// Notes a sign of life; whether a silence ends with it that somebody was told of.
    pub(super) fn heard(&mut self, now: Timestamp) -> bool {
        self.heard_at = now;
        let (told, warned) = (self.silence_told, self.warned);
        (self.silence_told, self.warned) = (false, false);
        told || warned
    }
}

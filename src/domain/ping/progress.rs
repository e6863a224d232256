//! How far the points of one run of one device have come: which were received, and which of those are settled, so that
//! the device may forget them. A point is settled when it is stored (committed, or synced to the disk that waits for the
//! database), when the city's policy leaves it out, when it was refused, or when its device says that it never comes.
//!
//! What is kept is what was received and what of it is outstanding: everything else that was received is settled. So
//! nothing counts as settled by mistake, and the outstanding ranges are no more than the points on their way.

use super::ranges::{Prefixed, Ranges};

/// Ranges of received points beyond the first gap, at most. One more gives the lowest gap up: what a device sends then is
/// full of holes, and neither memory nor progress may depend on it.
pub const MOST_RANGES: usize = 256;

/// Ranges that a run begins with, at most, when it is known from what was stored. Those beyond are forgotten: their points
/// may come, and be stored, once more, which is better than to give up numbers that the device still holds.
pub const MOST_RESTORED: usize = 128;

/// The points of one run, by their numbers, which count from 1.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    received: Prefixed,
    /// Received and not settled.
    outstanding: Ranges,
    /// Those of them that will never be stored unless they come again.
    dropped: Ranges,
    in_order: bool,
    given_up: u64,
}

impl Progress {
    /// A run whose points up to `settled` are settled.
    #[must_use]
    pub const fn new(settled: u64) -> Self {
        Self {
            received: Prefixed::new(settled),
            outstanding: Ranges::new(),
            dropped: Ranges::new(),
            in_order: true,
            given_up: 0,
        }
    }

    /// Points that are known to be settled, before any of this run came. `oldest` is the lowest number that the device
    /// says it holds; without it its points come in order, and all up to the highest settled one are done with.
    pub fn restore(&mut self, settled: &Ranges, oldest: Option<u64>) {
        for (first, last) in settled.iter() {
            self.received.insert(first, last);
            if oldest.is_none() {
                self.received.fill_to(last);
            }
        }
        self.expect(oldest);
        self.received.forget_beyond(MOST_RESTORED);
    }

    /// What the device says about the points that come next: the lowest number it still holds, and then any order; or
    /// nothing, and then a number that is skipped never comes.
    pub fn expect(&mut self, oldest: Option<u64>) {
        self.in_order = oldest.is_none();
        let Some(below) = oldest.and_then(|oldest| oldest.checked_sub(1)) else { return };
        if below > self.received.to() {
            self.received.fill_to(below);
        }
        // What was dropped cannot come again: nobody waits for it any longer.
        while let Some((first, last)) = self.dropped.first_range().filter(|range| range.0 <= below) {
            self.dropped.remove(first, last.min(below));
            self.outstanding.remove(first, last.min(below));
        }
    }

    /// Whether a point was received.
    #[must_use]
    pub fn has(&self, seq: u64) -> bool {
        self.received.contains(seq)
    }

    /// A point came and is to be stored.
    pub fn accepted(&mut self, seq: u64) {
        if !self.has(seq) {
            self.receive(seq);
            self.outstanding.insert(seq, seq);
        }
    }

    /// A point came and is refused; one that came before stays what it is.
    pub fn refused(&mut self, seq: u64) {
        if !self.has(seq) {
            self.receive(seq);
        }
    }

    /// A point came, and the city's policy leaves it out of the store.
    pub fn thinned(&mut self, seq: u64) {
        self.refused(seq);
        self.outstanding.remove(seq, seq);
    }

    /// A point is stored.
    pub fn stored(&mut self, seq: u64) {
        self.outstanding.remove(seq, seq);
        if !self.dropped.is_empty() {
            self.dropped.remove(seq, seq);
        }
        // It may have been taken for dropped since it was sent on.
        if !self.has(seq) {
            self.received.insert(seq, seq);
            self.bound();
        }
    }

    /// A point will never be stored unless it comes again.
    pub fn dropped(&mut self, seq: u64) {
        if self.outstanding.contains(seq) {
            self.dropped.insert(seq, seq);
        }
    }

    /// No outstanding point will be stored unless it comes again.
    pub fn dropped_all(&mut self) {
        self.dropped.clone_from(&self.outstanding);
    }

    /// Whether points were dropped that are wanted again.
    #[must_use]
    pub const fn has_dropped(&self) -> bool {
        !self.dropped.is_empty()
    }

    /// The device is back, and hears how far its points came: those that were dropped are as if they had never come.
    pub fn reopen(&mut self) {
        for (first, last) in std::mem::take(&mut self.dropped).iter() {
            self.outstanding.remove(first, last);
            self.received.remove(first, last);
        }
        self.received.forget_beyond(MOST_RANGES);
    }

    /// Every number up to this one is received, or never comes.
    #[must_use]
    pub const fn received_to(&self) -> u64 {
        self.received.to()
    }

    /// Every number up to this one is settled.
    #[must_use]
    pub fn settled_to(&self) -> u64 {
        let outstanding = self.outstanding.first().map_or(u64::MAX, |first| first.saturating_sub(1));
        self.received.to().min(outstanding)
    }

    /// What is settled, as far as it is known: the highest number of the prefix, and the ranges beyond.
    #[must_use]
    pub fn settled(&self) -> Self {
        let mut settled = Self { in_order: self.in_order, ..Self::new(0) };
        settled.received = self.received.clone();
        for (first, last) in self.outstanding.iter() {
            settled.received.remove(first, last);
        }
        settled.received.forget_beyond(MOST_RANGES);
        settled
    }

    /// How many numbers were given up since the last call because there were too many gaps.
    #[must_use]
    pub const fn take_given_up(&mut self) -> u64 {
        std::mem::replace(&mut self.given_up, 0)
    }

    fn receive(&mut self, seq: u64) {
        if self.in_order {
            self.received.fill_to(seq);
        } else {
            self.received.insert(seq, seq);
            self.bound();
        }
    }

    fn bound(&mut self) {
        if self.received.ranges_beyond() > MOST_RANGES {
            self.given_up = self.given_up.saturating_add(self.received.close_gaps(MOST_RANGES));
        }
    }
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;

//! How far the points of one run of one device have come: which were received, and which of those are settled, so that
//! the device may forget them. A point is settled when it is stored (committed, or synced to the disk that waits for the
//! database), when the city's policy leaves it out, when it was refused, or when its device says that it never comes.
//!
//! What is kept is what was received and what of it is outstanding: everything else that was received is settled. So
//! nothing counts as settled by mistake, and the outstanding ranges are no more than the points on their way.

use super::ranges::{Prefixed, Ranges};

/// Ranges of received points beyond the first gap, at most, those aside that a run was restored with. One more gives the
/// lowest gap up: what a device sends then is full of holes, and neither memory nor progress may depend on it.
pub const MOST_RANGES: usize = 256;

/// The points of one run, by their numbers, which count from 1.
#[derive(Clone, Debug, Default)]
pub struct Progress {
    received: Prefixed,
    /// Received and not settled.
    outstanding: Ranges,
    /// Those of them that will never be stored unless they come again.
    dropped: Ranges,
    /// Numbers that were dropped and are as if they had never come: they may turn out to be stored all the same.
    wanted: Ranges,
    /// Ranges beyond the first gap that may be there because the run was restored: thinned points are a range each, and
    /// that is no reason to give up numbers that the device still holds.
    restored: u32,
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
            wanted: Ranges::new(),
            restored: 0,
            in_order: true,
            given_up: 0,
        }
    }

    /// Points that are known to be settled, before any of this run came. `oldest` is the lowest number that the device
    /// says it holds. Nothing else is filled: points become durable in any order, so what is missing between two of them
    /// may be lost, and only the device knows whether it holds it.
    pub fn restore(&mut self, settled: &Ranges, oldest: Option<u64>) {
        settled.iter().for_each(|(first, last)| self.received.insert(first, last));
        self.restored = u32::try_from(self.received.ranges_beyond()).unwrap_or(u32::MAX);
        self.expect(oldest);
        self.received.shrink();
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
        self.wanted.remove_to(self.received.to());
        self.passed();
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

    /// A point came that had come before. In order, the numbers below it never come, as with any other.
    pub fn came_again(&mut self, seq: u64) {
        if self.in_order && self.has(seq) {
            self.received.fill_to(seq);
            self.passed();
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
        // It may have been taken for dropped since it was sent on. No other number is received by being stored.
        if self.wanted.contains(seq) {
            self.wanted.remove(seq, seq);
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
            self.wanted.insert(first, last);
        }
        self.wanted.truncate(MOST_RANGES);
        self.received.forget_beyond(self.most_ranges());
        self.received.shrink();
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
        settled.restored = self.restored;
        for (first, last) in self.outstanding.iter() {
            settled.received.remove(first, last);
        }
        settled.received.forget_beyond(self.most_ranges());
        settled
    }

    /// How many numbers were given up since the last call because there were too many gaps.
    #[must_use]
    pub const fn take_given_up(&mut self) -> u64 {
        std::mem::replace(&mut self.given_up, 0)
    }

    fn receive(&mut self, seq: u64) {
        if !self.wanted.is_empty() {
            self.wanted.remove(seq, seq);
        }
        if self.in_order {
            self.received.fill_to(seq);
            self.passed();
        } else {
            self.received.insert(seq, seq);
            self.bound();
        }
    }

    fn bound(&mut self) {
        self.passed();
        let most = self.most_ranges();
        if self.received.ranges_beyond() > most {
            self.given_up = self.given_up.saturating_add(self.received.close_gaps(most));
        }
    }

    fn most_ranges(&self) -> usize {
        MOST_RANGES.saturating_add(usize::try_from(self.restored).unwrap_or(usize::MAX))
    }

    /// Ranges may have become part of the prefix: none of them is there because the run was restored any longer.
    fn passed(&mut self) {
        if self.restored == 0 {
            return;
        }
        let beyond = u32::try_from(self.received.ranges_beyond()).unwrap_or(u32::MAX);
        self.restored = self.restored.min(beyond);
        if self.restored == 0 {
            self.received.shrink();
        }
    }
}

#[cfg(test)]
#[path = "progress_tests.rs"]
mod tests;

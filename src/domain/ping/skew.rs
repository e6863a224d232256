//! How far a device's clock is off, from what it says about the time while it talks to us.
//!
//! A frame that says "it is `d`" and arrives at `s` bounds the error from above: `s - d` is the error plus the frame's time
//! on the way, which is never negative. So the least of the samples is the best one, as in the clock filter of NTP (RFC
//! 5905, section 10: of the last samples the one with the least delay counts) and in the one-way measurements of Moon,
//! Skelly and Towsley (INFOCOM 1999). An old minimum must not hold for ever, because clocks drift: like NTP's dispersion it
//! grows with time, at the rate of a bad quartz, until the next good sample pulls it down.
//!
//! Two things look like each other: a clock that was set back, and a frame that was long on the way; and where the device
//! does not say when it sent a frame, a clock that was set back and a frame of old points. So an error that seems to have
//! grown by more than [`STEP_MS`] is believed after [`CONFIRM`] frames that agree, and without a time of sending only when
//! a point with a higher number bore an earlier time. An error that has become smaller needs no proof where the device
//! says when it sent the frame; the time of a point might be nonsense, and needs it.

use crate::domain::time::Timestamp;

/// What a network's delay may be, milliseconds: clocks that seem to be off by no more are believed as they are, and a
/// correction is not changed for less. A phone's network delays a frame by 50 to 500 ms.
pub const JITTER_MS: i64 = 500;
/// A change of the error beyond which the clock must have been set, milliseconds.
pub const STEP_MS: i64 = 5_000;
/// Frames that have to agree that it was.
pub const CONFIRM: u32 = 3;
/// How far these may be apart, milliseconds.
const AGREE_MS: i64 = 2_500;
/// One millisecond in so many: 100 parts per million, a bad quartz.
const DRIFT: i64 = 10_000;
/// A point may be recorded so much before one with a lower number, milliseconds: fused providers are not that exact.
const UNORDERED_MS: i64 = 2_000;

/// The estimate of one session. All values are what must be added to device time, milliseconds.
#[derive(Clone, Debug, Default)]
pub struct Skew {
    /// The least sample that counts, and when it was taken.
    least: Option<(i64, Timestamp)>,
    applied: i64,
    /// The point with the highest number: that, and its device time.
    newest: Option<(u64, i64)>,
    /// A higher number bore an earlier time.
    set_back: bool,
    doubt: Option<Doubt>,
    /// Points up to this number were recorded before the clock was set.
    before_step: Option<(u64, i64)>,
}

/// Samples that say that the clock was set.
#[derive(Clone, Copy, Debug)]
struct Doubt {
    least: i64,
    most: i64,
    frames: u32,
    /// The highest number before them.
    after: u64,
}

impl Skew {
    /// The device says what time it is.
    pub fn hello(&mut self, now: Timestamp, device_ms: i64) {
        self.sample(now, device_ms, true, 0);
    }

    /// A frame of points: its time of sending where the device tells it, and `(number, device time)` of its points.
    pub fn frame(&mut self, now: Timestamp, sent_ms: Option<i64>, points: impl Iterator<Item = (u64, i64)>) {
        let after = self.newest.map_or(0, |(seq, _)| seq);
        let mut newer = None;
        for (seq, at) in points.filter(|(seq, _)| *seq <= i64::MAX as u64) {
            match self.newest {
                Some((highest, _)) if seq <= highest => continue,
                Some((_, last)) if at < last.saturating_sub(UNORDERED_MS) => self.set_back = true,
                _ => {}
            }
            self.newest = Some((seq, at));
            newer = Some(at);
        }
        match (sent_ms, newer) {
            (Some(sent), _) => self.sample(now, sent, true, after),
            // The newest point is at best as old as the frame was long on the way.
            (None, Some(at)) => self.sample(now, at, false, after),
            (None, None) => {}
        }
    }

    /// What must be added to the device's time now.
    #[must_use]
    pub const fn now_ms(&self) -> i64 {
        self.applied
    }

    /// What must be added to the time of a point.
    #[must_use]
    pub fn of(&self, seq: u64) -> i64 {
        self.before_step.filter(|(last, _)| seq <= *last).map_or(self.applied, |(_, old)| old)
    }

    /// `exact`: of the time of sending, and not of a point that may be old.
    fn sample(&mut self, now: Timestamp, device_ms: i64, exact: bool, after: u64) {
        let sample = now.as_millis().saturating_sub(device_ms);
        let Some((least, taken)) = self.least else {
            self.least = Some((sample, now));
            self.apply(sample);
            return;
        };
        let expected = least.saturating_add(now.millis_since(taken).max(0) / DRIFT);
        let more = sample.saturating_sub(expected);
        if more.saturating_abs() <= STEP_MS {
            self.doubt = None;
            self.set_back = false;
            if more <= 0 {
                self.least = Some((sample, now));
            }
            self.apply(sample.min(expected));
        } else if more < 0 && exact {
            self.step(now, sample, after);
        } else if more < 0 || exact || self.set_back {
            self.suspect(now, sample, after);
        }
        // Otherwise it is an old point.
    }

    fn suspect(&mut self, now: Timestamp, sample: i64, after: u64) {
        let agreed = self.doubt.map(|doubt| Doubt {
            least: doubt.least.min(sample),
            most: doubt.most.max(sample),
            frames: doubt.frames + 1,
            after: doubt.after,
        });
        let agreed = agreed.filter(|doubt| doubt.most.saturating_sub(doubt.least) <= AGREE_MS);
        let doubt = agreed.unwrap_or(Doubt { least: sample, most: sample, frames: 1, after });
        self.doubt = Some(doubt);
        if doubt.frames >= CONFIRM {
            self.step(now, doubt.least, doubt.after);
        }
    }

    /// The clock was set.
    fn step(&mut self, now: Timestamp, sample: i64, after: u64) {
        self.before_step = Some((after, self.applied));
        self.least = Some((sample, now));
        self.doubt = None;
        self.set_back = false;
        self.apply(sample);
    }

    fn apply(&mut self, estimate: i64) {
        if estimate.saturating_sub(self.applied).saturating_abs() > JITTER_MS {
            self.applied = if estimate.saturating_abs() <= JITTER_MS { 0 } else { estimate };
        }
    }
}

#[cfg(test)]
#[path = "skew_tests.rs"]
mod tests;

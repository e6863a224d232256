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
//! a point with a higher number bore an earlier time.
//!
//! One time of sending may be nonsense too, and what it would cost is the points of several frames, told as refused for
//! ever. So a step is believed at once only where the points of the same frame prove it: the clock was set forward when the
//! estimate that is in force would have them come from the future, and back when a higher number bears an earlier time and
//! the newest point is as fresh as the frame says. A step beyond the error that is corrected at all proves nothing but
//! itself, and always needs [`CONFIRM`] frames.

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

/// What the points of a frame say about the time that it gives for its sending.
#[derive(Clone, Copy, Debug)]
struct Witness {
    /// None of them is later than that time.
    agrees: bool,
    /// By the correction in force the latest of them comes from the future.
    ahead: bool,
    /// A higher number bore an earlier time, and the newest point was recorded just then.
    back: bool,
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
        self.first(now, now.as_millis().saturating_sub(device_ms));
    }

    /// A frame of points: its time of sending where the device tells it, and `(number, device time)` of its points.
    /// `most_ms` is the greatest error that is corrected, milliseconds.
    pub fn frame(
        &mut self,
        now: Timestamp,
        sent_ms: Option<i64>,
        points: impl Iterator<Item = (u64, i64)>,
        most_ms: i64,
    ) {
        let after = self.newest.map_or(0, |(seq, _)| seq);
        let (mut newer, mut latest, mut went_back) = (None, None, false);
        for (seq, at) in points.filter(|(seq, _)| *seq <= i64::MAX as u64) {
            latest = latest.max(Some(at));
            match self.newest {
                Some((highest, _)) if seq <= highest => continue,
                Some((_, last)) if at < last.saturating_sub(UNORDERED_MS) => went_back = true,
                _ => {}
            }
            self.newest = Some((seq, at));
            newer = Some(at);
        }
        self.set_back |= went_back;
        match (sent_ms, newer) {
            (Some(sent), _) => {
                let ahead =
                    latest.is_some_and(|at| at.saturating_add(self.applied) > now.as_millis().saturating_add(STEP_MS));
                let witness = Witness {
                    agrees: latest.is_some_and(|at| at <= sent.saturating_add(UNORDERED_MS)),
                    ahead,
                    back: went_back && newer.is_some_and(|at| at >= sent.saturating_sub(STEP_MS)),
                };
                self.sample(now, sent, Some(witness), after, most_ms);
            }
            // The newest point is at best as old as the frame was long on the way.
            (None, Some(at)) => self.sample(now, at, None, after, most_ms),
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

    fn first(&mut self, now: Timestamp, sample: i64) {
        self.least = Some((sample, now));
        self.apply(sample);
    }

    /// `witness`: of the time of sending, and not of a point that may be old.
    fn sample(&mut self, now: Timestamp, device_ms: i64, witness: Option<Witness>, after: u64, most_ms: i64) {
        let sample = now.as_millis().saturating_sub(device_ms);
        let Some((least, taken)) = self.least else {
            return self.first(now, sample);
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
        } else if witness.is_some_and(|witness| self.is_proven(witness, sample, more, most_ms)) {
            self.step(now, sample, after);
        } else if more < 0 || witness.is_some() || self.set_back {
            self.suspect(now, sample, after);
        }
        // Otherwise it is an old point.
    }

    /// Whether one frame is enough to believe that the clock was set.
    const fn is_proven(&self, witness: Witness, sample: i64, more: i64, most_ms: i64) -> bool {
        let most = most_ms.unsigned_abs();
        let told = if more < 0 { witness.ahead } else { witness.back };
        // By an error that is not corrected every point is refused: with another one there is nothing to lose.
        let hopeless = self.applied.unsigned_abs() > most;
        witness.agrees && sample.unsigned_abs() <= most && (told || hopeless)
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

//! What a rider writes down about the own shift: on duty, with work, metres ridden for it. Pure; for the figures of the
//! report, not for the cross-check.

use dispatch_engine::replay::outcome::{RiderOutcome, close_span, open_span};

/// A rider's notes; times are milliseconds of the engine's clock.
#[derive(Clone, Debug, Default)]
pub struct Diary {
    notes: RiderOutcome,
    /// Metres on the clock when the work in hand was taken.
    work_from_m: Option<f64>,
}

impl Diary {
    /// The duty is on, or is not.
    pub fn duty(&mut self, now: i64, on: bool) {
        if on {
            open_span(&mut self.notes.on_duty, now);
        } else {
            close_span(&mut self.notes.on_duty, now);
        }
    }

    /// There is work in hand, or there is none; `ridden_m` are the metres ridden in all.
    pub fn work(&mut self, now: i64, in_hand: bool, ridden_m: f64) {
        if in_hand {
            self.work_from_m.get_or_insert(ridden_m);
            open_span(&mut self.notes.busy, now);
        } else if let Some(from) = self.work_from_m.take() {
            self.notes.ridden_m += ridden_m - from;
            close_span(&mut self.notes.busy, now);
        }
    }

    /// The notes up to now; `None` of a rider who never was on duty.
    pub fn close(mut self, now: i64, ridden_m: f64) -> Option<RiderOutcome> {
        self.work(now, false, ridden_m);
        self.duty(now, false);
        (!self.notes.on_duty.is_empty()).then_some(self.notes)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_shift_is_written_down() {
        assert_eq!(Diary::default().close(5, 0.0), None);
        let mut diary = Diary::default();
        diary.duty(1_000, true);
        diary.work(1_500, true, 100.0);
        diary.work(1_600, true, 150.0);
        diary.work(1_800, false, 400.0);
        diary.work(1_900, false, 420.0);
        diary.work(2_000, true, 420.0);
        let notes = diary.close(2_500, 450.0).unwrap();
        assert_eq!((notes.on_duty, notes.busy), (vec![(1_000, 2_500)], vec![(1_500, 1_800), (2_000, 2_500)]));
        assert!((notes.ridden_m - 330.0).abs() < 1e-9);
    }
}

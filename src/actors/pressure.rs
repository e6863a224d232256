//! How hard it is for the engine to take in the pings: measured on a beat from the fullest queue on their way, told to
//! everybody by one number. Sessions read it when a frame comes by, so that devices slow down one after another and keep
//! the spread that they have; nobody sends ten thousand frames because a queue filled.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    time::Duration,
};

use prometheus::IntGauge;

use super::{
    location_log::LocationLogHandle,
    router::{Router, Slot},
};
use crate::metrics::Metrics;

/// A level is left once the fullest queue is down to this share of what the level begins at.
const LEFT_BELOW: f64 = 0.5;

/// When there is pressure, and what it does.
#[derive(Clone, Copy, Debug)]
pub struct Options {
    /// How often it is measured, real time.
    pub beat: Duration,
    /// How full the fullest queue is where the levels 1, 2 and 3 begin, 0 to 1.
    pub levels: [f64; 3],
    /// What ping intervals are stretched by at the levels 1, 2 and 3.
    pub factors: [f64; 3],
    /// How long it must be calm before the level falls by one, real time.
    pub calm: Duration,
}

/// The pressure of one app. Cheap to clone; all clones show the same.
#[derive(Clone, Debug)]
pub struct Pressure(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    factors: [f64; 3],
    level: AtomicUsize,
    /// A lane found a city full since the last beat.
    city_full: AtomicBool,
    shown: IntGauge,
}

impl Pressure {
    /// Measures from now on, on the current runtime, until nobody is left to see it.
    #[must_use]
    pub fn start(options: Options, router: Router, log: LocationLogHandle, metrics: &Metrics) -> Self {
        let shared = Arc::new(Shared {
            factors: options.factors,
            level: AtomicUsize::new(0),
            city_full: AtomicBool::new(false),
            shown: metrics.gauge("dispatch_ping_pressure", "How pressed the way of the pings is, 0 to 3"),
        });
        let watched = Arc::downgrade(&shared);
        let beat = options.beat.max(Duration::from_millis(1));
        tokio::spawn(async move {
            let mut meter = Meter::new(&options);
            loop {
                tokio::time::sleep(beat).await;
                let Some(shared) = watched.upgrade() else { return };
                let crowded = shared.city_full.swap(false, Ordering::AcqRel);
                shared.show(meter.beat(if crowded { 1.0 } else { fullest(&router, &log) }));
            }
        });
        Self(shared)
    }

    /// What ping intervals are to be stretched by; 1 while all is well.
    #[must_use]
    pub fn factor(&self) -> f64 {
        match self.0.level.load(Ordering::Acquire) {
            0 => 1.0,
            level => self.0.factors[level.min(3) - 1],
        }
    }

    /// A lane found a city's queue full: counts as a full queue whenever the next beat comes.
    pub fn city_was_full(&self) {
        self.0.city_full.store(true, Ordering::Release);
    }
}

impl Shared {
    fn show(&self, level: usize) {
        let before = self.level.swap(level, Ordering::AcqRel);
        if before != level {
            self.shown.set(i64::try_from(level).unwrap_or(i64::MAX));
            if level > before {
                tracing::warn!(level, "pings come faster than they can be taken in; devices are slowed down");
            } else {
                tracing::info!(level, "the pressure of pings falls");
            }
        }
    }
}

/// How full the fullest queue on the way of the pings is, 0 to 1.
fn fullest(router: &Router, log: &LocationLogHandle) -> f64 {
    let cities = router.cities().into_iter().map(|(_, slot)| match slot {
        Slot::Running(city) => city.fill(),
        Slot::Down(_) | Slot::Held(_) => 0.0,
    });
    cities.fold(log.fill(), f64::max)
}

/// The level of the pressure: rises at once, and falls step by step after a calm. Pure.
#[derive(Debug)]
struct Meter {
    levels: [f64; 3],
    calm_beats: u32,
    level: usize,
    calm: u32,
}

impl Meter {
    fn new(options: &Options) -> Self {
        let beats = options.calm.as_millis() / options.beat.as_millis().max(1);
        Self { levels: options.levels, calm_beats: u32::try_from(beats).unwrap_or(u32::MAX).max(1), level: 0, calm: 0 }
    }

    /// One measurement, 0 to 1; returns the level from now on.
    fn beat(&mut self, fill: f64) -> usize {
        let reached = self.levels.iter().filter(|begins| fill >= **begins).count();
        if reached >= self.level {
            (self.level, self.calm) = (reached, 0);
        } else if fill >= self.levels[self.level - 1] * LEFT_BELOW {
            self.calm = 0;
        } else {
            self.calm += 1;
            if self.calm >= self.calm_beats {
                (self.level, self.calm) = (self.level - 1, 0);
            }
        }
        self.level
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const OPTIONS: Options = Options {
        beat: Duration::from_millis(500),
        levels: [0.25, 0.5, 0.75],
        factors: [1.5, 2.0, 4.0],
        calm: Duration::from_millis(1_500),
    };

    fn levels(meter: &mut Meter, fills: &[f64]) -> Vec<usize> {
        fills.iter().map(|fill| meter.beat(*fill)).collect()
    }

    #[test]
    fn it_rises_at_once_and_falls_one_step_per_calm() {
        let mut meter = Meter::new(&OPTIONS);
        assert_eq!(levels(&mut meter, &[0.0, 0.2, 0.3, 1.0]), [0, 0, 1, 3]);
        assert_eq!(levels(&mut meter, &[0.0; 9]), [3, 3, 2, 2, 2, 1, 1, 1, 0]);
        assert_eq!(levels(&mut meter, &[0.0, 0.5]), [0, 2]);
    }

    #[test]
    fn a_queue_that_swings_around_a_bound_moves_nothing() {
        let mut meter = Meter::new(&OPTIONS);
        assert_eq!(levels(&mut meter, &[0.5, 0.49, 0.51, 0.3, 0.26, 0.49]), [2; 6]);
        // Nearly calm is not calm: what comes back begins the wait anew.
        assert_eq!(levels(&mut meter, &[0.1, 0.1, 0.3, 0.1, 0.1, 0.1]), [2, 2, 2, 2, 2, 1]);
    }

    #[test]
    fn each_level_has_its_factor() {
        let shown = Metrics::new().gauge("pressure", "as the app shows it");
        let shared = Shared { factors: OPTIONS.factors, level: 0.into(), city_full: false.into(), shown };
        let pressure = Pressure(Arc::new(shared));
        let factors = [0, 1, 2, 3].map(|level| {
            pressure.0.show(level);
            pressure.factor()
        });
        assert_eq!(factors, [1.0, 1.5, 2.0, 4.0]);
        assert_eq!(pressure.0.shown.get(), 3);
    }
}

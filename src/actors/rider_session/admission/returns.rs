//! When devices that are sent away are to come back: each has a place of its own in time, so that a crowd that left at
//! once does not return at once. Pure: times and chance are arguments.

use std::time::Duration;

use tokio::time::Instant;

/// How returns are spread.
#[derive(Clone, Copy, Debug)]
pub struct Spread {
    /// The earliest return; alone, a device comes back between this time and three times it.
    pub least: Duration,
    /// Devices that are wanted back per second.
    pub per_second: u32,
    /// No return is put off further than this.
    pub most: Duration,
}

impl Spread {
    /// The time in which `devices` that leave at once are to come back.
    #[must_use]
    pub fn window(&self, devices: usize) -> Duration {
        let all = self.between().mul_f64(u32::try_from(devices).map_or(f64::from(u32::MAX), f64::from));
        all.max(self.least * 2).min(self.most.max(self.least * 2))
    }

    fn between(&self) -> Duration {
        Duration::from_secs(1) / self.per_second.max(1)
    }
}

/// The next free place in time.
#[derive(Debug)]
pub struct Returns {
    next: Instant,
}

impl Returns {
    /// Nobody is awaited.
    #[must_use]
    pub const fn new(now: Instant) -> Self {
        Self { next: now }
    }

    /// How long a device that is sent away now stays away; `ahead` is what those take who wait before it already, and
    /// `chance` lies in 0..1.
    pub fn after(&mut self, now: Instant, ahead: Duration, spread: &Spread, chance: f64) -> Duration {
        let (usual, most) = (spread.least * 2, spread.most.max(spread.least * 3));
        let offset = self.next.max(now + ahead).saturating_duration_since(now).min(most);
        self.next = now + offset + spread.between();
        // The first ones share the usual window, and with the rest each place is blurred by a part of it: devices whose
        // clocks and networks are alike do not march in step.
        let blur = spread.least.mul_f64(chance);
        let away = if offset <= usual { usual.mul_f64(chance) } else { offset - spread.least / 2 + blur };
        let away = spread.least + away;
        // Beyond the bound there are no places any more, only chance.
        if away > most { most.mul_f64(0.5 + chance / 2.0) } else { away }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SPREAD: Spread = Spread { least: Duration::from_secs(1), per_second: 100, most: Duration::from_secs(60) };

    /// Returns of devices that leave at once, per second of their return.
    fn crowd(devices: u32) -> Vec<u32> {
        let now = Instant::now();
        let mut returns = Returns::new(now);
        let mut seconds = vec![0; 64];
        for n in 0..devices {
            let chance = f64::from(n * 7_919 % 1_000) / 1_000.0;
            let after = returns.after(now, Duration::ZERO, &SPREAD, chance);
            seconds[usize::try_from(after.as_secs()).unwrap()] += 1;
        }
        seconds
    }

    #[test]
    fn a_few_come_back_in_the_usual_window_and_a_crowd_one_after_another() {
        let few = crowd(20);
        assert_eq!(few.iter().sum::<u32>(), few[1..3].iter().sum::<u32>());
        let many = crowd(3_000);
        assert!(many[1..30].iter().all(|n| (60..=170).contains(n)), "{many:?}");
        assert_eq!(SPREAD.window(20), Duration::from_secs(2));
        assert_eq!(SPREAD.window(3_000), Duration::from_secs(30));
    }

    #[test]
    fn nobody_is_put_off_beyond_the_bound() {
        let many = crowd(20_000);
        assert_eq!(many[61..].iter().sum::<u32>(), 0, "{many:?}");
        assert_eq!(SPREAD.window(1_000_000), Duration::from_secs(60));
        // Time passes, and with it the places that were given out.
        let now = Instant::now();
        let mut returns = Returns::new(now);
        for _ in 0..20_000 {
            returns.after(now, Duration::ZERO, &SPREAD, 0.5);
        }
        let later = now + Duration::from_secs(61);
        assert!(returns.after(later, Duration::ZERO, &SPREAD, 0.5) <= Duration::from_secs(3));
    }

    #[test]
    fn those_who_wait_already_come_before() {
        let now = Instant::now();
        let after = |chance| Returns::new(now).after(now, Duration::from_secs(10), &SPREAD, chance);
        // The place itself, and how far it is blurred.
        assert_eq!(after(0.5), Duration::from_secs(11));
        assert_eq!((after(0.0), after(1.0)), (Duration::from_millis(10_500), Duration::from_millis(11_500)));
    }
}

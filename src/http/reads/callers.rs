//! The callers of a rate limiter, in bounded memory: two generations of them. Who calls is taken into the young one; when that
//! holds half of the bound it becomes the old one, and what was old is forgotten. So a caller who calls now and then stays,
//! nothing is ever gone through, and whoever is forgotten has let at least half of the bound of others pass and begins anew.

use std::{
    collections::HashMap,
    mem,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
};

use governor::{nanos::Nanos, state::StateStore};

/// What a rate limiter keeps of its callers. Cheap to clone; all clones share them.
#[derive(Clone, Debug)]
pub struct Callers {
    half: usize,
    generations: Arc<Mutex<Generations>>,
}

#[derive(Debug, Default)]
struct Generations {
    young: HashMap<Box<str>, Nanos>,
    old: HashMap<Box<str>, Nanos>,
}

impl Callers {
    /// For at most `bound` callers.
    pub fn new(bound: usize) -> Self {
        Self { half: (bound / 2).max(1), generations: Arc::default() }
    }

    /// How many are remembered.
    pub fn len(&self) -> usize {
        let generations = self.lock();
        generations.young.len() + generations.old.len()
    }

    fn lock(&self) -> MutexGuard<'_, Generations> {
        self.generations.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl StateStore for Callers {
    type Key = Box<str>;

    fn measure_and_replace<T, F, E>(&self, caller: &Box<str>, decide: F) -> Result<T, E>
    where
        F: Fn(Option<Nanos>) -> Result<(T, Nanos), E>,
    {
        let mut generations = self.lock();
        let Generations { young, old } = &mut *generations;
        let before = young.get(caller).copied().or_else(|| old.remove(caller));
        let (decided, after) = match decide(before) {
            Ok((outcome, after)) => (Ok(outcome), Some(after)),
            // Who is refused stays remembered as one who has used everything up.
            Err(refused) => (Err(refused), before),
        };
        if let Some(after) = after {
            if young.len() >= self.half && !young.contains_key(caller) {
                *old = mem::take(young);
            }
            young.insert(caller.clone(), after);
        }
        decided
    }
}

#[cfg(test)]
mod tests {
    use std::{num::NonZeroU32, time::Duration};

    use governor::{Quota, RateLimiter, clock::FakeRelativeClock, middleware::NoOpMiddleware};

    use super::*;

    type Limiter = RateLimiter<Box<str>, Callers, FakeRelativeClock, NoOpMiddleware<Nanos>>;

    /// Three a minute.
    fn limiter(callers: &Callers, clock: &FakeRelativeClock) -> Limiter {
        RateLimiter::new(Quota::per_minute(NonZeroU32::new(3).unwrap()), callers.clone(), clock.clone())
    }

    #[test]
    fn a_quota_is_used_up_and_comes_back_and_is_each_callers_own() {
        let clock = FakeRelativeClock::default();
        let limiter = limiter(&Callers::new(10), &clock);
        let allowed = |who: &str| limiter.check_key(&who.into()).is_ok();
        assert_eq!(
            [allowed("a"), allowed("a"), allowed("a"), allowed("a"), allowed("b")],
            [true, true, true, false, true]
        );
        clock.advance(Duration::from_secs(20));
        assert_eq!([allowed("a"), allowed("a")], [true, false]);
        clock.advance(Duration::from_secs(600));
        assert_eq!([allowed("a"), allowed("a"), allowed("a"), allowed("a")], [true, true, true, false]);
    }

    #[test]
    fn the_bound_holds_and_who_keeps_calling_is_not_forgotten() {
        let callers = Callers::new(100);
        let limiter = limiter(&callers, &FakeRelativeClock::default());
        while limiter.check_key(&"loud".into()).is_ok() {}
        for number in 0..10_000 {
            assert!(limiter.check_key(&format!("quiet {number}").into()).is_ok());
            assert!(callers.len() <= 100, "{}", callers.len());
            if number % 40 == 0 {
                assert!(limiter.check_key(&"loud".into()).is_err(), "{number}");
            }
        }
        // Somebody who has been silent while a hundred others called begins anew.
        for number in 0..100 {
            limiter.check_key(&format!("other {number}").into()).unwrap();
        }
        assert!(limiter.check_key(&"loud".into()).is_ok());
    }
}

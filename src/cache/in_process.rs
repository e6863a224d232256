//! The same mirror in this process, for a machine without Redis: what Redis keeps as text stands here as it is, and
//! expires when it is read.

use std::{
    collections::{BTreeSet, HashMap},
    hash::Hash,
    sync::{Arc, Mutex, MutexGuard, PoisonError},
    time::Duration,
};

use super::{
    commands::{CacheWrite, CachedLocation},
    keys,
};
use crate::{
    clock::Clock,
    domain::{
        duty::Duty,
        ids::{CityCode, OrderId, RiderId},
        time::Timestamp,
    },
};

/// How often what has expired is thrown away. It must not pile up over a shift, and to look for it at every write would
/// cost more than the writes.
const SWEEP_EVERY: Duration = Duration::from_secs(60);

/// The values with their ends of life. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct InProcess(Arc<Mutex<Values>>);

#[derive(Debug, Default)]
struct Values {
    duties: HashMap<RiderId, Mortal<Duty>>,
    locations: HashMap<RiderId, Mortal<CachedLocation>>,
    pools: HashMap<CityCode, Mortal<BTreeSet<RiderId>>>,
    queues: HashMap<CityCode, Vec<OrderId>>,
    swept: Timestamp,
}

#[derive(Clone, Debug)]
struct Mortal<T> {
    value: T,
    end: Timestamp,
}

impl Values {
    fn write(&mut self, write: &CacheWrite, now: Timestamp) {
        match write {
            CacheWrite::Duty(rider, duty) => {
                self.duties.insert(*rider, Mortal { value: *duty, end: now + keys::DUTY_TTL });
            }
            CacheWrite::Location(rider, position, at) => {
                let value = CachedLocation { lat: position.lat(), lon: position.lon(), timestamp: at.as_millis() };
                self.locations.insert(*rider, Mortal { value, end: now + keys::LOCATION_TTL });
            }
            CacheWrite::Pool { city, add, remove } => {
                let pool =
                    self.pools.entry(city.clone()).or_insert_with(|| Mortal { value: BTreeSet::new(), end: now });
                if pool.end <= now {
                    pool.value.clear();
                }
                for rider in remove {
                    pool.value.remove(rider);
                }
                pool.value.extend(add);
                pool.end = now + keys::POOL_TTL;
            }
            CacheWrite::WholePool(city, riders) => {
                let value = riders.iter().copied().collect();
                self.pools.insert(city.clone(), Mortal { value, end: now + keys::POOL_TTL });
            }
            CacheWrite::Queue(city, orders) => {
                self.queues.insert(city.clone(), orders.clone());
            }
        }
    }

    fn sweep(&mut self, now: Timestamp) {
        if now < self.swept + SWEEP_EVERY {
            return;
        }
        self.swept = now;
        self.duties.retain(|_, duty| duty.end > now);
        self.locations.retain(|_, location| location.end > now);
        self.pools.retain(|_, pool| pool.end > now);
    }
}

fn living<K: Eq + Hash, T: Clone>(values: &HashMap<K, Mortal<T>>, key: &K) -> Option<T> {
    values.get(key).filter(|mortal| mortal.end > Clock::wall()).map(|mortal| mortal.value.clone())
}

impl InProcess {
    fn values(&self) -> MutexGuard<'_, Values> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn apply(&self, writes: &[CacheWrite]) {
        let now = Clock::wall();
        let mut values = self.values();
        writes.iter().for_each(|write| values.write(write, now));
        values.sweep(now);
    }

    pub(super) fn duty(&self, rider: RiderId) -> Option<Duty> {
        living(&self.values().duties, &rider)
    }

    pub(super) fn location(&self, rider: RiderId) -> Option<CachedLocation> {
        living(&self.values().locations, &rider)
    }

    pub(super) fn pool(&self, city: &CityCode) -> BTreeSet<RiderId> {
        living(&self.values().pools, city).unwrap_or_default()
    }

    pub(super) fn queue(&self, city: &CityCode) -> Vec<OrderId> {
        self.values().queues.get(city).cloned().unwrap_or_default()
    }
}

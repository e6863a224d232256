//! What the mirror should show: the latest value of every key, and which of them have not been written yet. Pure.

use std::collections::{BTreeMap, BTreeSet, HashMap};

use crate::{
    cache::CacheWrite,
    domain::{
        duty::Duty,
        ids::{CityCode, OrderId, RiderId},
        position::Position,
        time::Timestamp,
    },
    engine::view::{CityChanges, CitySnapshot, RiderState, RiderView},
};

/// The latest of all cities. Coalesced by construction: however long the cache is away, one value per key is kept.
#[derive(Debug, Default)]
pub struct Latest {
    cities: BTreeMap<CityCode, CityLatest>,
}

#[derive(Debug, Default)]
struct CityLatest {
    riders: HashMap<RiderId, RiderLatest>,
    queue: Vec<OrderId>,
    /// Riders whose duty, position or place in the pool is not written yet, in the order of their first change.
    dirty: Vec<RiderId>,
    /// Riders who left, and whose last duty is not written yet.
    left: BTreeSet<RiderId>,
    queue_dirty: bool,
    whole: bool,
    /// Whether the city was heard of since the last writes.
    heard: bool,
}

#[derive(Clone, Debug)]
struct RiderLatest {
    duty: Duty,
    in_pool: bool,
    fix: Option<(Position, Timestamp)>,
    dirty: Dirty,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Dirty {
    duty: bool,
    pool: bool,
    fix: bool,
}

impl Latest {
    /// Takes a city's changes, and its queue when that changed.
    pub fn change(&mut self, city: &CityCode, changes: &CityChanges, queue: Option<Vec<OrderId>>) {
        let latest = self.cities.entry(city.clone()).or_default();
        latest.heard = true;
        for view in &changes.riders {
            latest.put(view);
        }
        for rider in &changes.gone {
            latest.riders.remove(rider);
            latest.left.insert(*rider);
        }
        if let Some(queue) = queue {
            latest.queue = queue;
            latest.queue_dirty = true;
        }
    }

    /// Takes a whole city.
    pub fn replace(&mut self, snapshot: &CitySnapshot, queue: Vec<OrderId>) {
        let riders = snapshot.riders.iter().map(|view| (view.rider, RiderLatest::from(view))).collect();
        let fresh = CityLatest { riders, queue, whole: true, heard: true, ..CityLatest::default() };
        self.cities.insert(snapshot.city.clone(), fresh);
    }

    /// The cache may have lost everything: all of it is to be written again.
    pub fn rebuild(&mut self) {
        self.cities.values_mut().for_each(|latest| latest.whole = true);
    }

    /// Takes what is not written yet. The pool of every city that was heard of is among it, so that its life is renewed;
    /// a city that has stopped, or runs in another process now, says nothing and is left alone.
    pub fn take_writes(&mut self) -> Vec<CacheWrite> {
        self.cities.iter_mut().flat_map(|(city, latest)| latest.take_writes(city)).collect()
    }
}

impl From<&RiderView> for RiderLatest {
    fn from(view: &RiderView) -> Self {
        // The pool holds who works now: on duty and heard of.
        let in_pool = view.duty == Duty::On && view.state != RiderState::Stale;
        Self { duty: view.duty, in_pool, fix: view.fix, dirty: Dirty::default() }
    }
}

impl CityLatest {
    fn put(&mut self, view: &RiderView) {
        let mut now = RiderLatest::from(view);
        self.left.remove(&view.rider);
        let before = self.riders.get_mut(&view.rider);
        let was = before.as_ref().map_or_else(Dirty::default, |before| before.dirty);
        now.dirty = match &before {
            None => Dirty { duty: true, pool: true, fix: now.fix.is_some() },
            Some(before) => Dirty {
                duty: was.duty || before.duty != now.duty,
                pool: was.pool || before.in_pool != now.in_pool,
                fix: was.fix || (now.fix.is_some() && before.fix != now.fix),
            },
        };
        if was == Dirty::default() && now.dirty != was {
            self.dirty.push(view.rider);
        }
        match before {
            Some(before) => *before = now,
            None => drop(self.riders.insert(view.rider, now)),
        }
    }

    fn take_writes(&mut self, city: &CityCode) -> Vec<CacheWrite> {
        let mut writes = Vec::new();
        if !std::mem::take(&mut self.heard) {
            return writes;
        }
        let left = std::mem::take(&mut self.left);
        writes.extend(left.iter().map(|rider| CacheWrite::Duty(*rider, Duty::Off)));
        if std::mem::take(&mut self.whole) {
            self.dirty.clear();
            self.queue_dirty = false;
            for (rider, latest) in &mut self.riders {
                latest.dirty = Dirty::default();
                writes.push(CacheWrite::Duty(*rider, latest.duty));
                writes.extend(latest.fix.map(|(position, at)| CacheWrite::Location(*rider, position, at)));
            }
            let pool = self.riders.iter().filter(|(_, latest)| latest.in_pool).map(|(rider, _)| *rider).collect();
            writes.push(CacheWrite::WholePool(city.clone(), pool));
            writes.push(CacheWrite::Queue(city.clone(), self.queue.clone()));
            return writes;
        }
        let (mut add, mut remove) = (Vec::new(), left.into_iter().collect::<Vec<_>>());
        for rider in self.dirty.drain(..) {
            // One who left and came back stands in the list twice.
            let Some(latest) = self.riders.get_mut(&rider) else { continue };
            let dirty = std::mem::take(&mut latest.dirty);
            if dirty.duty {
                writes.push(CacheWrite::Duty(rider, latest.duty));
            }
            if let (true, Some((position, at))) = (dirty.fix, latest.fix) {
                writes.push(CacheWrite::Location(rider, position, at));
            }
            if dirty.pool {
                if latest.in_pool { &mut add } else { &mut remove }.push(rider);
            }
        }
        writes.push(CacheWrite::Pool { city: city.clone(), add, remove });
        if std::mem::take(&mut self.queue_dirty) {
            writes.push(CacheWrite::Queue(city.clone(), self.queue.clone()));
        }
        writes
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::rider::Vehicle;

    fn view(n: u128, duty: Duty, state: RiderState, lat: f64) -> RiderView {
        RiderView {
            rider: RiderId(Uuid::from_u128(n)),
            duty,
            state,
            vehicle: Vehicle::Bicycle,
            connected: true,
            fix: Some((Position::new(lat, 77.0).unwrap(), Timestamp::from_millis(5))),
            orders: vec![],
        }
    }

    #[test]
    fn only_the_latest_of_each_key_is_written_once() {
        let city = CityCode::parse("blr").unwrap();
        let mut latest = Latest::default();
        for lat in [12.0, 12.1, 12.2] {
            let riders = vec![view(1, Duty::On, RiderState::Idle, lat)];
            latest.change(&city, &CityChanges { riders, ..CityChanges::default() }, Some(vec![]));
        }
        let writes = latest.take_writes();
        assert_eq!(writes.iter().filter(|w| matches!(w, CacheWrite::Location(..))).count(), 1);
        assert!(writes.iter().any(|w| matches!(w, CacheWrite::Location(_, p, _) if p.lat() == 12.2)));
        assert!(writes.iter().any(|w| matches!(w, CacheWrite::Pool { add, .. } if add.len() == 1)));
        // A city that is silent keeps nothing alive.
        assert_eq!(latest.take_writes(), []);
        // Nothing new: only the pool's life is renewed.
        latest.change(&city, &CityChanges::default(), None);
        assert_eq!(latest.take_writes(), [CacheWrite::Pool { city: city.clone(), add: vec![], remove: vec![] }]);
        let gone = vec![RiderId(Uuid::from_u128(1))];
        latest.change(&city, &CityChanges { gone, ..CityChanges::default() }, None);
        let writes = latest.take_writes();
        assert!(writes.contains(&CacheWrite::Duty(RiderId(Uuid::from_u128(1)), Duty::Off)));
        assert!(writes.iter().any(|w| matches!(w, CacheWrite::Pool { remove, .. } if remove.len() == 1)));
    }

    #[test]
    fn a_cache_that_came_back_is_filled_whole() {
        let city = CityCode::parse("blr").unwrap();
        let mut latest = Latest::default();
        let riders = vec![view(1, Duty::On, RiderState::Idle, 12.0), view(2, Duty::On, RiderState::Stale, 12.0)];
        let order = OrderId(Uuid::from_u128(9));
        latest.change(&city, &CityChanges { riders, ..CityChanges::default() }, Some(vec![order]));
        latest.take_writes();
        latest.rebuild();
        latest.change(&city, &CityChanges::default(), None);
        let writes = latest.take_writes();
        assert!(writes.contains(&CacheWrite::WholePool(city.clone(), vec![RiderId(Uuid::from_u128(1))])));
        assert!(writes.contains(&CacheWrite::Queue(city, vec![order])));
        assert_eq!(writes.iter().filter(|w| matches!(w, CacheWrite::Duty(..))).count(), 2);
    }
}

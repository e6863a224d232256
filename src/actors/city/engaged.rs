//! The riders who have work in hand or an open offer, as their cities last published them: whoever lets devices in asks
//! here whom nobody may keep waiting. Up to one publication old, so it decides about turns and about nothing else.

use std::{
    collections::HashMap,
    sync::{Arc, PoisonError, RwLock},
};

use crate::{
    domain::ids::{CityCode, RiderId},
    engine::view::{CityChanges, CitySnapshot, RiderState, RiderView},
};

/// Cheap to clone; all clones share the riders of all cities.
#[derive(Clone, Debug, Default)]
pub struct Engaged(Arc<RwLock<HashMap<RiderId, CityCode>>>);

impl Engaged {
    /// Whether somebody waits for this rider.
    #[must_use]
    pub fn is(&self, rider: RiderId) -> bool {
        self.0.read().unwrap_or_else(PoisonError::into_inner).contains_key(&rider)
    }

    /// A city shows what changed.
    pub(super) fn change(&self, city: &CityCode, changes: &CityChanges) {
        if changes.riders.is_empty() && changes.gone.is_empty() {
            return;
        }
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        for view in &changes.riders {
            if is_engaged(view) {
                all.insert(view.rider, city.clone());
            } else {
                remove(&mut all, city, view.rider);
            }
        }
        for rider in &changes.gone {
            remove(&mut all, city, *rider);
        }
    }

    /// A city shows itself whole.
    pub(super) fn replace(&self, snapshot: &CitySnapshot) {
        let mut all = self.0.write().unwrap_or_else(PoisonError::into_inner);
        all.retain(|_, city| *city != snapshot.city);
        all.extend(snapshot.riders.iter().filter(|view| is_engaged(view)).map(|v| (v.rider, snapshot.city.clone())));
    }

    /// A city is no longer served here.
    pub(super) fn forget(&self, gone: &CityCode) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).retain(|_, city| city != gone);
    }
}

fn is_engaged(view: &RiderView) -> bool {
    matches!(view.state, RiderState::Busy | RiderState::Offered) || !view.orders.is_empty()
}

/// A rider who went on to another city stays with that one.
fn remove(all: &mut HashMap<RiderId, CityCode>, city: &CityCode, rider: RiderId) {
    if all.get(&rider) == Some(city) {
        all.remove(&rider);
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        domain::{duty::Duty, rider::Vehicle, time::Timestamp},
        engine::view::Counts,
    };

    fn view(rider: u128, state: RiderState) -> RiderView {
        let (rider, fix) = (RiderId(Uuid::from_u128(rider)), None);
        RiderView { rider, duty: Duty::On, state, vehicle: Vehicle::Car, connected: false, fix, orders: vec![] }
    }

    fn changes(riders: Vec<RiderView>) -> CityChanges {
        CityChanges { riders, ..CityChanges::default() }
    }

    #[test]
    fn a_city_speaks_for_its_own_riders_only() {
        let (engaged, [blr, pune]) = (Engaged::default(), ["blr", "pune"].map(|code| CityCode::parse(code).unwrap()));
        let is = |rider| engaged.is(RiderId(Uuid::from_u128(rider)));
        engaged.change(&blr, &changes(vec![view(1, RiderState::Busy), view(2, RiderState::Offered)]));
        engaged.change(&blr, &changes(vec![view(3, RiderState::Idle)]));
        assert_eq!([1, 2, 3].map(is), [true, true, false]);
        // Rider 1 goes on to the other city, and the first one hears of the end later.
        engaged.change(&pune, &changes(vec![view(1, RiderState::Offered)]));
        engaged.change(&blr, &CityChanges { gone: vec![RiderId(Uuid::from_u128(1))], ..CityChanges::default() });
        engaged.change(&blr, &changes(vec![view(2, RiderState::Stale)]));
        assert_eq!([1, 2].map(is), [true, false]);
        let riders = vec![view(4, RiderState::Busy), view(5, RiderState::Off)];
        let (city, counts) = (pune.clone(), Counts::default());
        engaged.replace(&CitySnapshot { city, at: Timestamp::default(), counts, orders: vec![], riders });
        assert_eq!([1, 4, 5].map(is), [false, true, false]);
        engaged.forget(&pune);
        assert!(!is(4));
    }
}

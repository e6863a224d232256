//! Who is live in a city, found by id in one step: a ping looks its rider up, and little else.
//!
//! Records stand in slots that are used again; a hash table finds the slot of an id. Whoever goes through all riders does so
//! in the order of their ids, which is sorted out then: it happens when an operator's page opens or a policy changes, and
//! nothing depends on the order of slots or of the hash.

use hashbrown::HashTable;

use crate::domain::ids::RiderId;

use super::{rider_index::hash, state::LiveRider};

/// Where a rider's record stands, until the rider is removed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot(usize);

/// The riders of a city.
#[derive(Clone, Debug, Default)]
pub(super) struct Roster {
    slots: Vec<Option<LiveRider>>,
    free: Vec<Slot>,
    /// With the ids beside the slots, so that a search reads no records.
    by_id: HashTable<(RiderId, Slot)>,
    looks: Looks,
}

impl Roster {
    /// The slot of a rider who is live here.
    pub fn slot(&self, rider: RiderId) -> Option<Slot> {
        self.looks.add(1);
        self.by_id.find(hash(rider), |(id, _)| *id == rider).map(|(_, slot)| *slot)
    }

    /// The rider in a slot.
    pub fn at(&self, slot: Slot) -> Option<&LiveRider> {
        self.slots.get(slot.0)?.as_ref()
    }

    /// The rider in a slot, to be changed.
    pub fn at_mut(&mut self, slot: Slot) -> Option<&mut LiveRider> {
        self.slots.get_mut(slot.0)?.as_mut()
    }

    /// A rider.
    pub fn get(&self, rider: &RiderId) -> Option<&LiveRider> {
        self.at(self.slot(*rider)?)
    }

    /// A rider, to be changed.
    pub fn get_mut(&mut self, rider: &RiderId) -> Option<&mut LiveRider> {
        self.at_mut(self.slot(*rider)?)
    }

    /// Whether a rider is live here.
    pub fn contains_key(&self, rider: &RiderId) -> bool {
        self.slot(*rider).is_some()
    }

    /// How many there are.
    pub fn len(&self) -> usize {
        self.by_id.len()
    }

    /// A rider, who is put in first if need be.
    pub fn get_or_insert_with(&mut self, rider: RiderId, new: impl FnOnce() -> LiveRider) -> &mut LiveRider {
        let slot = self.slot(rider).unwrap_or_else(|| {
            let slot = self.free.pop().unwrap_or_else(|| {
                self.slots.push(None);
                Slot(self.slots.len() - 1)
            });
            self.by_id.insert_unique(hash(rider), (rider, slot), |(id, _)| hash(*id));
            slot
        });
        self.slots[slot.0].get_or_insert_with(new)
    }

    /// Takes a rider out.
    pub fn remove(&mut self, rider: &RiderId) -> Option<LiveRider> {
        let entry = self.by_id.find_entry(hash(*rider), |(id, _)| id == rider).ok()?;
        let ((_, slot), _) = entry.remove();
        self.free.push(slot);
        self.slots[slot.0].take()
    }

    /// Everybody, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&RiderId, &LiveRider)> {
        let mut all: Vec<_> = self.slots.iter().flatten().map(|live| (&live.profile.id, live)).collect();
        all.sort_unstable_by_key(|(rider, _)| **rider);
        self.looks.add(all.len());
        all.into_iter()
    }

    /// The ids of all, in their order.
    pub fn keys(&self) -> impl Iterator<Item = &RiderId> {
        self.iter().map(|(rider, _)| rider)
    }

    /// The records of all, in the order of their ids.
    pub fn values(&self) -> impl Iterator<Item = &LiveRider> {
        self.iter().map(|(_, live)| live)
    }
}

/// Riders who were looked at, be it by id or one by one; only tests count them.
#[cfg(not(test))]
#[derive(Clone, Debug, Default)]
struct Looks;

#[cfg(not(test))]
impl Looks {
    const fn add(&self, _: usize) {}
}

#[cfg(test)]
#[derive(Clone, Debug, Default)]
struct Looks(std::cell::Cell<usize>);

#[cfg(test)]
impl Looks {
    fn add(&self, looks: usize) {
        self.0.update(|before| before + looks);
    }
}

#[cfg(test)]
impl Roster {
    /// Riders who were looked at since the last call.
    pub fn take_looks(&self) -> usize {
        self.looks.0.take()
    }
}

#[cfg(test)]
#[path = "looks_tests.rs"]
mod tests;

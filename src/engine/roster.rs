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
    free: Vec<usize>,
    by_id: HashTable<usize>,
}

impl Roster {
    /// The slot of a rider who is live here.
    pub fn slot(&self, rider: RiderId) -> Option<Slot> {
        self.by_id.find(hash(rider), |slot| id_at(&self.slots, *slot) == Some(rider)).copied().map(Slot)
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
        if let Some(Slot(slot)) = self.slot(rider) {
            return self.slots[slot].get_or_insert_with(new);
        }
        let slot = self.free.pop().unwrap_or_else(|| {
            self.slots.push(None);
            self.slots.len() - 1
        });
        let Self { slots, by_id, .. } = self;
        by_id.insert_unique(hash(rider), slot, |slot| id_at(slots, *slot).map_or(0, hash));
        self.slots[slot].get_or_insert_with(new)
    }

    /// Takes a rider out.
    pub fn remove(&mut self, rider: &RiderId) -> Option<LiveRider> {
        let Self { slots, by_id, .. } = self;
        let entry = by_id.find_entry(hash(*rider), |slot| id_at(slots, *slot) == Some(*rider)).ok()?;
        let (slot, _) = entry.remove();
        self.free.push(slot);
        self.slots[slot].take()
    }

    /// Everybody, in the order of their ids.
    pub fn iter(&self) -> impl Iterator<Item = (&RiderId, &LiveRider)> {
        let mut all: Vec<_> = self.slots.iter().flatten().map(|live| (&live.profile.id, live)).collect();
        all.sort_unstable_by_key(|(rider, _)| **rider);
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

fn id_at(slots: &[Option<LiveRider>], slot: usize) -> Option<RiderId> {
    slots.get(slot)?.as_ref().map(|live| live.profile.id)
}

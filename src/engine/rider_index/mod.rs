//! Where the riders who may be offered work are: nearest in true metres anywhere on earth, in exact order, although most
//! pings change nothing but the rider's own position.
//!
//! Three levels. An R-tree (`cells`) holds the squares of 1,024 m that have riders; in each square a k-d tree (`ground`)
//! has leaves of at most 32 riders, fewer metres wide where it is crowded; a leaf holds its riders' true positions. A
//! ping moves a rider by one write as long as the rider stays within the leaf: **the leaf is the bound** of the laziness.
//! Beyond it the rider changes leaves, and only the first rider of a square and the last one touch the R-tree. A search
//! goes by lower bounds of squares and leaves and ranks by true positions (`nearest`), so it is exact.
//!
//! What riders come with (vehicle, room, tags) is kept once per combination (`kits`), and a search passes over riders who
//! lack what is needed before it ranks them.
//!
//! Costs, with n riders: `put` and `shift` O(1) within the leaf, else O(log n); `remove` O(log n); the nearest k
//! O(k + log n). None of them depends on how many riders stand on one spot; only a search for means that most of a crowd lack
//! goes through it. Memory: about 100 bytes per rider in a city of 100,000, as the benchmark `rider_index` measures: 24 for
//! the seat, 32 for each place in leaves that are three fifths full, 10 for finding the id, the rest for nodes.

mod cells;
mod ground;
mod kits;
mod means;
mod nearest;
mod plane;
#[cfg(test)]
mod tests;

use std::fmt;

use hashbrown::HashTable;

use crate::domain::{ids::RiderId, position::Position};

use self::{ground::Ground, kits::Kits, nearest::Nearest, plane::Frame};

pub use self::means::{Means, Need};

/// Where a rider sits in an index: finds the rider again without a search by id.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct Ticket(u32);

impl Ticket {
    /// Nobody's.
    pub const NONE: Self = Self(u32::MAX);
}

impl fmt::Debug for Ticket {
    /// The number says who came and went before, and nothing of the rider.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Ticket(..)")
    }
}

/// The index of one city.
#[derive(Clone, Debug)]
pub struct RiderIndex {
    frame: Frame,
    ground: Ground,
    kits: Kits,
    /// The slots of the riders, found by id. A hash with no random part, and never gone through in its order.
    slots: HashTable<u32>,
}

impl RiderIndex {
    /// An empty index for riders around a place in degrees. Answers are exact wherever riders and searches are; near the
    /// place, as far as a city reaches, they are fast.
    #[must_use]
    pub fn around(lat: f64, lon: f64) -> Self {
        let (frame, ground, kits) = (Frame::at(lat, lon), Ground::default(), Kits::default());
        Self { frame, ground, kits, slots: HashTable::new() }
    }

    /// Puts a rider at a position with these means, whether the rider was in before or not. The ticket is good until
    /// [`Self::remove`].
    pub fn put(&mut self, rider: RiderId, position: Position, means: Means) -> Ticket {
        let at = self.frame.point(position);
        let Self { ground, slots, kits, .. } = self;
        let known = slots.find(hash(rider), |slot| ground.rider(*slot) == rider).copied();
        if let Some(slot) = known {
            if let Some(before) = ground.member(slot).map(|member| member.kit)
                && *kits.means(before) != means
            {
                ground.equip(slot, kits.take(means));
                kits.give_back(before);
            }
            ground.shift(slot, at);
            return Ticket(slot);
        }
        let slot = ground.add(rider, at, kits.take(means));
        slots.insert_unique(hash(rider), slot, |slot| hash(ground.rider(*slot)));
        Ticket(slot)
    }

    /// Moves the rider of a ticket, who comes with the same means as before.
    pub fn shift(&mut self, ticket: Ticket, position: Position) {
        self.ground.shift(ticket.0, self.frame.point(position));
    }

    /// Reads what [`Self::shift`] will for these tickets, and does nothing: for many at once the reading is much faster.
    pub fn look_at(&self, tickets: impl Iterator<Item = Ticket>) {
        self.ground.look_at(tickets.map(|ticket| ticket.0));
    }

    /// Takes a rider out; nothing happens when the rider is not in.
    pub fn remove(&mut self, rider: RiderId) {
        let Self { ground, slots, kits, .. } = self;
        if let Ok(entry) = slots.find_entry(hash(rider), |slot| ground.rider(*slot) == rider) {
            let (slot, _) = entry.remove();
            ground.member(slot).into_iter().for_each(|member| kits.give_back(member.kit));
            ground.remove(slot);
        }
    }

    /// How many metres from a position a rider stands, with what, and on which ticket; `None` when the rider is not in.
    #[must_use]
    pub fn find(&self, rider: RiderId, position: Position) -> Option<(f64, &Means, Ticket)> {
        let slot = *self.slots.find(hash(rider), |slot| self.ground.rider(*slot) == rider)?;
        let member = self.ground.member(slot)?;
        let metres = plane::arc_from_chord_2(plane::chord_2(&member.at, &self.frame.point(position)));
        Some((metres, self.kits.means(member.kit), Ticket(slot)))
    }

    /// Whether a rider is in.
    #[must_use]
    pub fn contains(&self, rider: RiderId) -> bool {
        self.slots.find(hash(rider), |slot| self.ground.rider(*slot) == rider).is_some()
    }

    /// How many riders are in.
    #[must_use]
    pub fn len(&self) -> usize {
        self.slots.len()
    }

    /// Whether nobody is in.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    /// The riders within `radius_m` great-circle metres of a position, nearest first, with their distance in metres.
    /// Work is done as riders are taken.
    pub fn nearest(&self, position: Position, radius_m: f64) -> impl Iterator<Item = (RiderId, f64)> + '_ {
        self.nearest_with(position, radius_m, Need::NOTHING)
    }

    /// As [`Self::nearest`], but only riders who come with what is needed.
    pub fn nearest_with<'a>(
        &'a self,
        position: Position,
        radius_m: f64,
        need: Need<'a>,
    ) -> impl Iterator<Item = (RiderId, f64)> + 'a {
        let from = self.frame.point(position);
        let (limit_2, test) = (plane::chord_2_within(radius_m), self.kits.test(need));
        Nearest::new(&self.ground, self.ground.roots(from), from, limit_2, test)
            .take_while(move |(_, metres)| *metres <= radius_m)
    }
}

/// Mixes an id, whose leading bits are a time and alike among riders who signed up together.
pub(super) fn hash(rider: RiderId) -> u64 {
    let (high, low) = rider.0.as_u64_pair();
    let mixed = (high.rotate_left(32) ^ low).wrapping_mul(0x9E37_79B9_7F4A_7C15);
    (mixed ^ (mixed >> 32)).wrapping_mul(0xD6E8_FEB8_6659_FD93)
}

//! What a rider can carry and what an order needs: looked at while searching, before a rider is even ranked.

use crate::domain::rider::Vehicle;

/// What a rider comes with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Means {
    /// How the rider moves.
    pub vehicle: Vehicle,
    /// Size units free.
    pub free_units: u32,
}

/// What riders must come with to be found.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Need {
    /// The smallest vehicle that will do; any when `None`.
    pub vehicle: Option<Vehicle>,
    /// Size units that must be free.
    pub units: u32,
}

impl Need {
    /// Everybody will do.
    pub const NOTHING: Self = Self { vehicle: None, units: 0 };
}

/// The largest number of units that is told apart from larger ones.
const MOST_UNITS: u32 = (1 << 24) - 1;

/// Means in four bytes: the vehicle's rank above 24 bits of units. A bag of more than 16 million units counts as one of
/// 16 million, so a search may find too many riders, never too few.
#[derive(Clone, Copy, Debug)]
pub(super) struct Packed(u32);

impl From<Means> for Packed {
    fn from(means: Means) -> Self {
        Self(((means.vehicle as u32) << 24) | means.free_units.min(MOST_UNITS))
    }
}

/// A need, ready to be compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Test {
    least_vehicle: u32,
    least_units: u32,
}

impl From<Need> for Test {
    fn from(need: Need) -> Self {
        // Vehicles are declared from the smallest to the largest.
        let least_vehicle = need.vehicle.map_or(0, |vehicle| (vehicle as u32) << 24);
        Self { least_vehicle, least_units: need.units.min(MOST_UNITS) }
    }
}

impl Test {
    /// Whether means are enough.
    pub const fn passes(self, means: Packed) -> bool {
        means.0 >= self.least_vehicle && means.0 & MOST_UNITS >= self.least_units
    }
}

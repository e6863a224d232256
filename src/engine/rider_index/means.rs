//! What a rider can carry and what an order needs: looked at while searching, before a rider is even ranked.

use crate::domain::{rider::Vehicle, tags::Tags};

/// What a rider comes with.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Means {
    /// How the rider moves.
    pub vehicle: Vehicle,
    /// Size units free.
    pub free_units: u32,
    /// What the rider brings along or may carry.
    pub tags: Tags,
}

/// What riders must come with to be found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Need<'a> {
    /// The smallest vehicle that will do; any when `None`.
    pub vehicle: Option<Vehicle>,
    /// Size units that must be free.
    pub units: u32,
    /// Tags that a rider must have, all of them.
    pub tags: &'a Tags,
}

impl Need<'_> {
    /// Everybody will do.
    pub const NOTHING: Need<'static> = Need { vehicle: None, units: 0, tags: &NO_TAGS };
}

static NO_TAGS: Tags = Tags::NONE;

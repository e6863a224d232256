//! A rider as the dispatcher needs to know one: who may work, with what, where.

use super::{
    ids::{CityCode, RiderId},
    tags::Tags,
    text::named_enum,
};

named_enum! {
    /// How a rider moves.
    pub enum Vehicle as "vehicle" {
        /// On foot.
        Walking = "walking",
        /// On a bicycle.
        Bicycle = "bicycle",
        /// On a motorcycle or a scooter.
        Motorcycle = "motorcycle",
        /// In a car or a van.
        Car = "car",
    }
}

named_enum! {
    /// Whether the rider belongs to the fleet.
    pub enum RiderStatus as "rider status" {
        /// May work.
        Active = "ACTIVE",
        /// Barred for a time.
        Suspended = "SUSPENDED",
        /// No longer with the fleet.
        Left = "LEFT",
    }
}

named_enum! {
    /// Where the rider's documents stand.
    pub enum KycStatus as "KYC status" {
        /// Not yet checked.
        Pending = "PENDING",
        /// Checked and in order.
        Approved = "APPROVED",
        /// Checked and refused.
        Rejected = "REJECTED",
        /// A document ran out.
        Expired = "EXPIRED",
    }
}

/// What a city needs to know of a rider, read from the store when the rider connects.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RiderProfile {
    /// Who.
    pub id: RiderId,
    /// The city the rider works in.
    pub city: CityCode,
    /// Whether the rider belongs to the fleet.
    pub status: RiderStatus,
    /// Where the documents stand.
    pub kyc: KycStatus,
    /// How the rider moves.
    pub vehicle: Vehicle,
    /// Size units that the rider's bag or vehicle holds.
    pub capacity_units: u32,
    /// What the rider brings along or may carry.
    pub tags: Tags,
}

impl RiderProfile {
    /// Whether the rider may be on duty at all: an active member of the fleet with approved documents.
    #[must_use]
    pub fn may_work(&self) -> bool {
        self.status == RiderStatus::Active && self.kyc == KycStatus::Approved
    }
}

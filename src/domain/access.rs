//! Who calls, and what each role may do.

use super::{
    ids::{CityCode, MerchantId, RiderId},
    text::named_enum,
};

named_enum! {
    /// The role inside a token.
    pub enum Role as "role" {
        /// A rider's device.
        Rider = "rider",
        /// A merchant or 3PL partner.
        Merchant = "merchant",
        /// A dispatch operator of some cities.
        Operator = "operator",
        /// Everything.
        Admin = "admin",
    }
}

/// A caller whose token was checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Principal {
    /// A rider's device.
    Rider(RiderId),
    /// A merchant or 3PL partner.
    Merchant(MerchantId),
    /// A dispatch operator; an empty list of cities means all of them.
    Operator {
        /// The operator's name, as in events and the audit log.
        name: String,
        /// The cities in which the operator may act.
        cities: Vec<CityCode>,
    },
    /// Everything.
    Admin {
        /// The administrator's name.
        name: String,
    },
}

impl Principal {
    /// The role of the caller.
    #[must_use]
    pub const fn role(&self) -> Role {
        match self {
            Self::Rider(_) => Role::Rider,
            Self::Merchant(_) => Role::Merchant,
            Self::Operator { .. } => Role::Operator,
            Self::Admin { .. } => Role::Admin,
        }
    }

    /// Whether the caller may watch and steer a city.
    #[must_use]
    pub fn may_operate(&self, city: &CityCode) -> bool {
        match self {
            Self::Admin { .. } => true,
            Self::Operator { cities, .. } => cities.is_empty() || cities.contains(city),
            Self::Rider(_) | Self::Merchant(_) => false,
        }
    }

    /// The caller as the actor of an event.
    #[must_use]
    pub fn actor(&self) -> super::order::Actor {
        use super::order::{Actor, ActorKind};
        match self {
            Self::Rider(id) => Actor::rider(*id),
            Self::Merchant(id) => Actor { kind: ActorKind::Merchant, id: Some(id.to_string()) },
            Self::Operator { name, .. } => Actor { kind: ActorKind::Operator, id: Some(name.clone()) },
            Self::Admin { name } => Actor { kind: ActorKind::Admin, id: Some(name.clone()) },
        }
    }
}

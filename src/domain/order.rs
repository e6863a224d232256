//! The life of an order and who holds its goods.
//!
//! ```text
//! placed -> queued -> offered -> assigned -> at_pickup -> picked_up -> at_dropoff -> delivered
//!                        before pickup: cancelled, expired
//!                        after pickup:  attempt_failed -> at_dropoff (retry) | returning -> returned
//! ```
//! After pickup the goods are with the rider (custody), so a cancellation means return, and a breakdown means that
//! another rider takes over at a position.

use serde_json::{Map, Value};

use super::{
    ids::{MerchantId, OrderId, RiderId},
    money::Currency,
    otp::OtpDigest,
    position::Position,
    rider::Vehicle,
    tags::Tags,
    text::named_enum,
    time::Timestamp,
};

named_enum! {
    /// Where an order stands, as in `orders.status`.
    pub enum OrderStatus as "order status" {
        /// Accepted; its dispatch time has not come.
        Placed = "placed",
        /// Waits for a rider.
        Queued = "queued",
        /// A rider has been asked.
        Offered = "offered",
        /// A rider is on the way to the pickup.
        Assigned = "assigned",
        /// The rider is at the pickup.
        AtPickup = "at_pickup",
        /// The rider holds the goods.
        PickedUp = "picked_up",
        /// The rider is at the drop.
        AtDropoff = "at_dropoff",
        /// The recipient could not be served; the rider holds the goods.
        AttemptFailed = "attempt_failed",
        /// The rider brings the goods back.
        Returning = "returning",
        /// The recipient has the goods.
        Delivered = "delivered",
        /// The merchant has the goods back.
        Returned = "returned",
        /// Called off before pickup.
        Cancelled = "cancelled",
        /// No rider was found in time.
        Expired = "expired",
    }
}

impl OrderStatus {
    /// Whether nothing can happen to the order any more.
    #[must_use]
    pub const fn is_end(self) -> bool {
        matches!(self, Self::Delivered | Self::Returned | Self::Cancelled | Self::Expired)
    }

    /// Whether a rider has the order in hand, before or after pickup.
    #[must_use]
    pub const fn has_rider(self) -> bool {
        matches!(
            self,
            Self::Assigned | Self::AtPickup | Self::PickedUp | Self::AtDropoff | Self::AttemptFailed | Self::Returning
        )
    }

    /// Whether the rider of the order holds its goods.
    #[must_use]
    pub const fn is_carried(self) -> bool {
        matches!(self, Self::PickedUp | Self::AtDropoff | Self::AttemptFailed | Self::Returning)
    }

    /// Whether the order waits for a rider (an offer may be open).
    #[must_use]
    pub const fn is_waiting(self) -> bool {
        matches!(self, Self::Placed | Self::Queued | Self::Offered)
    }
}

named_enum! {
    /// What a rider reports of an order.
    pub enum Step as "progress step" {
        /// Arrived at the pickup.
        AtPickup = "at_pickup",
        /// Took the goods over.
        PickedUp = "picked_up",
        /// Arrived at the drop; also the retry after a failed attempt.
        AtDropoff = "at_dropoff",
        /// Handed the goods to the recipient.
        Delivered = "delivered",
        /// Could not hand them over, with a reason.
        AttemptFailed = "attempt_failed",
        /// Brings the goods back.
        Returning = "returning",
        /// Gave them back to the merchant.
        Returned = "returned",
        /// Cannot go on (breakdown): another rider must take the goods over here.
        Handover = "handover",
    }
}

/// A step that does not follow from where the order stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{step}` does not follow `{from}`")]
pub struct IllegalStep {
    /// Where the order stands.
    pub from: OrderStatus,
    /// What was reported.
    pub step: Step,
}

/// Where a reported step leads; `None` when it was already taken (a device may repeat itself).
///
/// An arrival may be skipped: a device that had no network at the door reports `picked_up` or `delivered` alone.
///
/// # Errors
/// [`IllegalStep`] when the step does not follow from `from`.
pub fn next_status(from: OrderStatus, step: Step) -> Result<Option<OrderStatus>, IllegalStep> {
    use OrderStatus as S;
    let to = match (from, step) {
        (S::Assigned, Step::AtPickup) => S::AtPickup,
        (S::Assigned | S::AtPickup, Step::PickedUp) => S::PickedUp,
        (S::PickedUp | S::AttemptFailed, Step::AtDropoff) => S::AtDropoff,
        // A delivery may have crossed a cancellation on its way here.
        (S::PickedUp | S::AtDropoff | S::Returning, Step::Delivered) => S::Delivered,
        (S::PickedUp | S::AtDropoff, Step::AttemptFailed) => S::AttemptFailed,
        (S::AttemptFailed | S::PickedUp | S::AtDropoff, Step::Returning) => S::Returning,
        (S::Returning, Step::Returned) => S::Returned,
        (S::PickedUp | S::AtDropoff | S::AttemptFailed, Step::Handover) => S::Queued,
        (S::AtPickup, Step::AtPickup)
        | (S::PickedUp, Step::PickedUp)
        | (S::AtDropoff, Step::AtDropoff)
        | (S::Delivered, Step::Delivered)
        | (S::AttemptFailed, Step::AttemptFailed)
        | (S::Returning, Step::Returning)
        | (S::Returned, Step::Returned) => return Ok(None),
        _ => return Err(IllegalStep { from, step }),
    };
    Ok(Some(to))
}

/// Who holds the goods.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Custody {
    /// Still at the pickup.
    Store,
    /// A rider.
    Rider(RiderId),
    /// A rider who broke down and waits at a position for another one to take over.
    Handover {
        /// Who holds the goods meanwhile.
        holder: RiderId,
        /// Where.
        at: Position,
    },
    /// The recipient: the order is delivered.
    Recipient,
    /// The merchant has them back.
    Merchant,
}

impl Custody {
    /// The stable name, as in `orders.custody`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Store => "store",
            Self::Rider(_) => "rider",
            Self::Handover { .. } => "handover",
            Self::Recipient => "recipient",
            Self::Merchant => "merchant",
        }
    }

    /// The rider who answers for the goods, when one does.
    #[must_use]
    pub const fn custodian(self) -> Option<RiderId> {
        match self {
            Self::Rider(rider) | Self::Handover { holder: rider, .. } => Some(rider),
            Self::Store | Self::Recipient | Self::Merchant => None,
        }
    }
}

/// Where goods change hands.
#[derive(Clone, Debug, PartialEq)]
pub struct Place {
    /// Where.
    pub position: Position,
    /// What helps the rider to find it; never a customer's name or number.
    pub hint: Option<String>,
}

/// What an order is from its placement on; nothing here changes later but `ready_at`, which the live order holds.
#[derive(Clone, Debug, PartialEq)]
pub struct OrderSpec {
    /// Its id.
    pub id: OrderId,
    /// Who placed it.
    pub merchant: MerchantId,
    /// The merchant's own name for it, unique per merchant.
    pub external_ref: Option<String>,
    /// The merchant's own name for the store.
    pub store: Option<String>,
    /// Where the goods are.
    pub pickup: Place,
    /// Where they go.
    pub drop: Place,
    /// When the goods are ready to be picked up, as known at placement.
    pub ready_at: Timestamp,
    /// When the recipient was told to expect them.
    pub promise_at: Timestamp,
    /// Not to be dispatched before this time.
    pub dispatch_at: Option<Timestamp>,
    /// How much room the goods take.
    pub size_units: u32,
    /// The vehicle it takes, when not any.
    pub vehicle_need: Option<Vehicle>,
    /// Cash to collect at the drop, minor units.
    pub cash_to_collect_minor: i64,
    /// What the rider earns, minor units; fixed at placement under the pay policy.
    pub payout_minor: i64,
    /// The version of the pay policy that fixed it.
    pub pay_policy_version: u32,
    /// Currency of both amounts.
    pub currency: Currency,
    /// The merchant's free data, at most 16 KiB as JSON.
    pub metadata: Map<String, Value>,
    /// When it was placed.
    pub placed_at: Timestamp,
    /// The digest of the code that the recipient gives to the rider; without it nobody asks for one.
    pub otp_digest: Option<OtpDigest>,
    /// What its rider must bring along or may carry.
    pub needs_tags: Tags,
}

impl OrderSpec {
    /// Where the order stands once its placement is stored: it waits for its dispatch time, or for a rider.
    #[must_use]
    pub fn first_status(&self) -> OrderStatus {
        let later = self.dispatch_at.is_some_and(|at| at > self.placed_at);
        if later { OrderStatus::Placed } else { OrderStatus::Queued }
    }
}

named_enum! {
    /// Who caused an event, as in `order_events.actor_kind`.
    pub enum ActorKind as "actor" {
        /// The engine itself.
        Engine = "engine",
        /// A rider.
        Rider = "rider",
        /// The merchant.
        Merchant = "merchant",
        /// A dispatch operator.
        Operator = "operator",
        /// An administrator.
        Admin = "admin",
    }
}

/// Who caused something.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Actor {
    /// What kind of actor.
    pub kind: ActorKind,
    /// Which one; the engine has no id.
    pub id: Option<String>,
}

impl Actor {
    /// The engine itself.
    pub const ENGINE: Self = Self { kind: ActorKind::Engine, id: None };

    /// A rider.
    #[must_use]
    pub fn rider(id: RiderId) -> Self {
        Self { kind: ActorKind::Rider, id: Some(id.to_string()) }
    }
}

named_enum! {
    /// The state of an offer, as in `offers.state`.
    pub enum OfferState as "offer state" {
        /// On its way to the device.
        Sent = "sent",
        /// Shown to the rider.
        Seen = "seen",
        /// Taken.
        Accepted = "accepted",
        /// Refused by the rider, with a reason.
        Declined = "declined",
        /// Its time ran out.
        Expired = "expired",
        /// Taken back by the engine.
        Withdrawn = "withdrawn",
    }
}

impl OfferState {
    /// Whether the offer can still be answered.
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Sent | Self::Seen)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn goods_never_change_hands_out_of_order() {
        for &from in OrderStatus::ALL {
            for &step in Step::ALL {
                match next_status(from, step) {
                    Ok(Some(to)) => {
                        assert!(from.has_rider(), "{step} moved an order without a rider ({from})");
                        assert!(!from.is_end());
                        if matches!(to, OrderStatus::Delivered | OrderStatus::Returned) {
                            assert!(from.is_carried(), "{from} -> {to} without pickup");
                        }
                    }
                    Ok(None) => assert_eq!(from.as_str(), step.as_str()),
                    Err(refused) => assert_eq!((refused.from, refused.step), (from, step)),
                }
            }
        }
    }

    #[test]
    fn names_read_back() {
        for &status in OrderStatus::ALL {
            assert_eq!(OrderStatus::parse(status.as_str()), Ok(status));
        }
        assert!(OrderStatus::parse("Delivered").is_err());
    }
}

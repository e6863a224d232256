//! Who may be offered an order, beyond being on duty, connected and free or soon free (which is what stands in the index).

use crate::{domain::text::named_enum, engine::rider_index::Need};

use super::{Eligibility, OrderFacts, RiderFacts, View};

named_enum! {
    /// Why a rider is not asked, for explanations.
    pub enum Ineligible as "exclusion" {
        /// The last fix is too old.
        Stale = "stale",
        /// The rider refused the order, or let it pass, too recently.
        Refused = "refused",
        /// The vehicle is too small.
        Vehicle = "wrong_vehicle",
        /// Not enough room.
        Capacity = "no_room",
        /// The rider holds the goods and asked to be relieved.
        Holder = "holds_the_goods",
        /// Can be asked for the order once its radius has widened.
        OutOfRadius = "out_of_radius",
        /// Could not be at the pickup soon enough.
        PickupTooLong = "pickup_too_long",
        /// Has as many orders in hand as the policy allows, or will not be done with them soon.
        Busy = "busy",
        /// Is not active, or has documents that are not approved.
        NotApproved = "not_approved",
        /// Is off duty, on a break, or about to be.
        OffDuty = "off_duty",
        /// Is being asked for another order.
        Asked = "has_open_offer",
        /// Was asked for a more urgent order in the same tick.
        Taken = "taken_by_more_urgent",
        /// Lacks a tag that the order needs.
        MissingTag = "missing_tag",
    }
}

/// The rules of every city in this version.
#[derive(Clone, Copy, Debug)]
pub struct StandardEligibility;

impl Eligibility for StandardEligibility {
    fn check(&self, view: &View<'_>, rider: &RiderFacts, order: &OrderFacts<'_>) -> Result<(), Ineligible> {
        if view.now.since(rider.heard_at) > view.policy.fix_freshness() {
            return Err(Ineligible::Stale);
        }
        if order.holder == Some(rider.id) {
            return Err(Ineligible::Holder);
        }
        if order.refusals.get(&rider.id).is_some_and(|until| *until > view.now) {
            return Err(Ineligible::Refused);
        }
        // Vehicles are declared from the smallest to the largest: a car will do where a bicycle is asked for.
        if order.vehicle_need.is_some_and(|need| rider.vehicle < need) {
            return Err(Ineligible::Vehicle);
        }
        if rider.free_units < order.size_units {
            return Err(Ineligible::Capacity);
        }
        if !rider.tags.cover(order.needs_tags) {
            return Err(Ineligible::MissingTag);
        }
        Ok(())
    }

    fn need<'a>(&self, order: &OrderFacts<'a>) -> Need<'a> {
        Need { vehicle: order.vehicle_need, units: order.size_units, tags: order.needs_tags }
    }
}

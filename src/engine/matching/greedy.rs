//! The first matcher: the most urgent order takes the rider who can be there first.

use std::{collections::BTreeSet, time::Duration};

use crate::domain::ids::RiderId;
use crate::engine::view::WaitReason;

use super::{Decision, Ineligible, Matcher, OrderFacts, View};

/// Goes through the orders by urgency; among the nearest eligible riders (the policy's `candidates`) it takes the one
/// with the shortest estimated time to the pickup. A rider must leave `eta + arrival_buffer` before the goods are ready,
/// never earlier than `max_lead`; until then the order waits and takes nobody.
#[derive(Clone, Copy, Debug)]
pub struct Greedy;

/// What a search around a pickup found.
struct Search {
    /// Who can be there first within the city's limit: says when a rider has to leave.
    best: Option<Best>,
    /// Who can be there first within the radius of the moment: may be asked.
    in_radius: Option<Best>,
    somebody_refused: bool,
}

/// A rider who could go.
#[derive(Clone)]
struct Best {
    rider: RiderId,
    distance_m: f64,
    eta: Duration,
}

impl Matcher for Greedy {
    fn decide(&self, view: &View<'_>) -> Vec<Decision> {
        let mut taken = BTreeSet::new();
        view.orders.iter().map(|order| decide_one(view, order, &mut taken)).collect()
    }
}

fn decide_one(view: &View<'_>, order: &OrderFacts<'_>, taken: &mut BTreeSet<RiderId>) -> Decision {
    let waited = order.due_at.map_or(Duration::ZERO, |due| view.now.since(due));
    let Search { best, in_radius, somebody_refused } = search(view, order, taken, view.policy.radius_after(waited));
    let lead = best
        .as_ref()
        .map_or(Duration::from_secs(view.policy.default_lead_s.into()), |best| {
            best.eta.saturating_add(Duration::from_secs(view.policy.arrival_buffer_s.into()))
        })
        .min(Duration::from_secs(view.policy.max_lead_s.into()));
    let leave_by = order.due_at.map_or(order.ready_at - lead, |due| due.min(order.ready_at - lead));
    if leave_by > view.now {
        return Decision::Wait { order: order.id, reason: WaitReason::NotDue, leave_by };
    }
    match (in_radius, best) {
        (Some(best), _) => {
            taken.insert(best.rider);
            Decision::Propose {
                order: order.id,
                rider: best.rider,
                distance_m: best.distance_m,
                eta: best.eta,
                leave_by,
            }
        }
        (None, None) if somebody_refused => {
            Decision::Wait { order: order.id, reason: WaitReason::AllRefused, leave_by }
        }
        _ => Decision::Wait { order: order.id, reason: WaitReason::NoRiderInReach, leave_by },
    }
}

fn search(view: &View<'_>, order: &OrderFacts<'_>, taken: &BTreeSet<RiderId>, radius_m: f64) -> Search {
    let limit_m = view.policy.radius_steps_m.last().copied().unwrap_or(0.0);
    let mut found = Search { best: None, in_radius: None, somebody_refused: false };
    let mut eligible = 0;
    let need = view.eligibility.need(order);
    for (rider, distance_m) in view.index.nearest_with(order.pickup, limit_m, need) {
        if taken.contains(&rider) {
            continue;
        }
        let Some(facts) = view.riders.facts(rider) else { continue };
        match view.eligibility.check(view, &facts, order) {
            Ok(()) => {}
            Err(reason) => {
                found.somebody_refused |= reason == Ineligible::Refused;
                continue;
            }
        }
        let eta = view.eta.travel_time(view.policy, facts.vehicle, distance_m);
        let candidate = Best { rider, distance_m, eta };
        if distance_m <= radius_m && found.in_radius.as_ref().is_none_or(|best| eta < best.eta) {
            found.in_radius = Some(candidate.clone());
        }
        if found.best.as_ref().is_none_or(|best| eta < best.eta) {
            found.best = Some(candidate);
        }
        eligible += 1;
        if eligible >= view.policy.candidates {
            break;
        }
    }
    found
}

//! The first matcher: the most urgent order takes the rider who can be there first.

use std::{collections::BTreeSet, time::Duration};

use crate::domain::ids::RiderId;
use crate::engine::view::WaitReason;

use super::{Candidate, Decision, Ineligible, LOOKED_AT, Matcher, OrderFacts, View};

/// Goes through the orders by urgency; among the nearest eligible riders (the policy's `candidates`) it takes the one
/// with the shortest estimated time to the pickup. A rider must leave `eta + arrival_buffer` before the goods are ready,
/// never earlier than `max_lead`; until then the order waits and takes nobody.
#[derive(Clone, Copy, Debug)]
pub struct Greedy;

/// What a search around a pickup found.
struct Search {
    /// Who can be there first within the city's limit: says when a rider has to leave.
    best: Option<Candidate>,
    /// Who can be there first within the radius of the moment: may be asked.
    in_radius: Option<Candidate>,
    somebody_refused: bool,
    /// Somebody within the city's limit could not be there soon enough.
    somebody_too_far: bool,
}

impl Matcher for Greedy {
    fn decide(&self, view: &View<'_>) -> Vec<Decision> {
        let mut taken = BTreeSet::new();
        let mut decisions: Vec<Decision> =
            view.orders.iter().map(|order| decide_one(view, order, &mut taken)).collect();
        let batch = usize::try_from(view.policy.offer_batch).unwrap_or(usize::MAX);
        for turn in 1..batch {
            add_riders(view, turn, &mut decisions, &mut taken);
        }
        decisions
    }
}

/// Gives every order its next rider that has `turn` of them, those who are asked already included.
fn add_riders(view: &View<'_>, turn: usize, decisions: &mut [Decision], taken: &mut BTreeSet<RiderId>) {
    for (order, decision) in view.orders.iter().zip(decisions) {
        match decision {
            Decision::Propose { riders, .. } if order.asked + riders.len() == turn => {
                let found = search(view, order, taken, view.radius_m(order));
                taken.extend(found.in_radius.as_ref().map(|next| next.rider));
                riders.extend(found.in_radius);
            }
            Decision::Wait { .. } if order.asked == turn => *decision = decide_now(view, order, taken),
            _ => {}
        }
    }
}

/// The first decision on an order; one for which somebody is asked already has to wait for its turn.
fn decide_one(view: &View<'_>, order: &OrderFacts<'_>, taken: &mut BTreeSet<RiderId>) -> Decision {
    if order.asked == 0 {
        return decide_now(view, order, taken);
    }
    let leave_by = order.due_at.unwrap_or(order.ready_at);
    Decision::Wait { order: order.id, reason: WaitReason::Offered, leave_by }
}

fn decide_now(view: &View<'_>, order: &OrderFacts<'_>, taken: &mut BTreeSet<RiderId>) -> Decision {
    let Search { best, in_radius, somebody_refused, somebody_too_far } =
        search(view, order, taken, view.radius_m(order));
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
            Decision::Propose { order: order.id, riders: vec![best], leave_by }
        }
        (None, None) if somebody_refused => {
            Decision::Wait { order: order.id, reason: WaitReason::AllRefused, leave_by }
        }
        (None, None) if somebody_too_far => {
            Decision::Wait { order: order.id, reason: WaitReason::PickupTooLong, leave_by }
        }
        _ => Decision::Wait { order: order.id, reason: WaitReason::NoRiderInReach, leave_by },
    }
}

impl Search {
    /// Whether nobody as far away as this, or farther, can be at the pickup sooner than who was found, by any vehicle. So
    /// most searches end with the second rider instead of the last candidate, and with the same answer: if the best one
    /// lies beyond the radius, so does everybody who is farther away, and otherwise the best one is the best within it.
    ///
    /// It holds for riders who are not free yet as well: they are there no sooner than if they left at once.
    fn is_final_beyond(&self, soonest: Duration) -> bool {
        self.best.as_ref().is_some_and(|best| best.eta <= soonest)
    }
}

fn search(view: &View<'_>, order: &OrderFacts<'_>, taken: &BTreeSet<RiderId>, radius_m: f64) -> Search {
    let longest = view.longest_eta(order);
    let mut found = Search { best: None, in_radius: None, somebody_refused: false, somebody_too_far: false };
    let mut eligible = 0;
    let need = view.eligibility.need(order);
    for (rider, distance_m) in view.index.nearest_with(order.pickup, view.limit_m(), need).take(LOOKED_AT) {
        if taken.contains(&rider) {
            continue;
        }
        let soonest = view.soonest(distance_m);
        if found.is_final_beyond(soonest) {
            break;
        }
        if soonest > longest {
            found.somebody_too_far = true;
            break;
        }
        let Some(facts) = view.riders.facts(rider) else { continue };
        match view.eligibility.check(view, &facts, order) {
            Ok(()) => {}
            Err(reason) => {
                found.somebody_refused |= reason == Ineligible::Refused;
                continue;
            }
        }
        let eta = view.pickup_eta(&facts, distance_m);
        if eta > longest {
            found.somebody_too_far = true;
            continue;
        }
        let candidate = Candidate { rider, distance_m, eta };
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

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use proptest::prelude::*;
    use uuid::Uuid;

    use super::*;
    use crate::{
        domain::{
            ids::OrderId, policy::DispatchPolicy, position::Position, rider::Vehicle, tags::Tags, time::Timestamp,
        },
        engine::{
            matching::{EtaModel, RiderFacts, RiderLookup, StandardEligibility, StraightLineEta},
            rider_index::{Means, RiderIndex},
        },
    };

    #[derive(Debug)]
    struct Riders(BTreeMap<RiderId, RiderFacts>);

    impl RiderLookup for Riders {
        fn facts(&self, rider: RiderId) -> Option<RiderFacts> {
            self.0.get(&rider).cloned()
        }
    }

    /// Seconds until a rider is free: every other one is.
    fn free_in() -> impl Strategy<Value = u64> {
        prop_oneof![Just(0), 0_u64..900]
    }

    fn place(north: f64, east: f64) -> Position {
        Position::new(7.1 + north / 111_195.0, -73.1 + east / 110_000.0).unwrap()
    }

    const NOW: Timestamp = Timestamp::from_millis(1_790_000_000_000);

    fn id(n: usize) -> RiderId {
        RiderId(Uuid::from_u128(n as u128 + 1))
    }

    /// Riders by metres north and east, the number of their vehicle, and the seconds until they are free.
    fn standing(fleet: &[(f64, f64, usize, u64)]) -> (RiderIndex, Riders) {
        let mut index = RiderIndex::around(7.1, -73.1);
        let mut riders = Riders(BTreeMap::new());
        for (n, (north, east, vehicle, free_in_s)) in fleet.iter().enumerate() {
            let (vehicle, from) = (Vehicle::ALL[*vehicle], place(*north, *east));
            index.put(id(n), from, Means { vehicle, free_units: 10, tags: Tags::NONE });
            let free_at = NOW + Duration::from_secs(*free_in_s);
            let facts =
                RiderFacts { id: id(n), vehicle, free_units: 10, heard_at: NOW, free_at, from, tags: Tags::NONE };
            riders.0.insert(id(n), facts);
        }
        (index, riders)
    }

    fn order(n: usize, refusals: &BTreeMap<RiderId, Timestamp>) -> OrderFacts<'_> {
        OrderFacts {
            id: OrderId(Uuid::from_u128(n as u128)),
            pickup: place(0.0, 0.0),
            ready_at: NOW,
            due_at: None,
            size_units: 1,
            vehicle_need: None,
            needs_tags: &Tags::NONE,
            refusals,
            holder: None,
            asked: 0,
        }
    }

    fn view<'a>(
        policy: &'a DispatchPolicy,
        index: &'a RiderIndex,
        riders: &'a Riders,
        orders: Vec<OrderFacts<'a>>,
    ) -> View<'a> {
        View { now: NOW, policy, eta: &StraightLineEta, eligibility: &StandardEligibility, index, riders, orders }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(256))]

        /// Orders at one place share their riders out in turns, the most urgent first, and nobody is asked twice.
        #[test]
        fn batches_are_filled_in_turns(
            fleet in prop::collection::vec((-900.0_f64..900.0, -900.0_f64..900.0, 0_usize..4), 0..30),
            waiting in 1_usize..6,
            offer_batch in 1_u32..=16,
        ) {
            let fleet: Vec<_> = fleet.iter().map(|(north, east, vehicle)| (*north, *east, *vehicle, 0)).collect();
            let (index, riders) = standing(&fleet);
            let policy = DispatchPolicy { offer_batch, candidates: 64, ..DispatchPolicy::default() };
            let refusals = BTreeMap::new();
            let orders = (0..waiting).map(|n| order(n, &refusals)).collect();
            let view = view(&policy, &index, &riders, orders);
            let decisions = Greedy.decide(&view);
            let asked: Vec<Vec<RiderId>> = decisions
                .iter()
                .map(|decision| match decision {
                    Decision::Propose { riders, .. } => riders.iter().map(|candidate| candidate.rider).collect(),
                    Decision::Wait { .. } => vec![],
                })
                .collect();
            let all: BTreeSet<RiderId> = asked.iter().flatten().copied().collect();
            let sizes: Vec<usize> = asked.iter().map(Vec::len).collect();
            prop_assert_eq!(all.len(), sizes.iter().sum::<usize>());
            prop_assert_eq!(all.len(), fleet.len().min(waiting * offer_batch as usize));
            prop_assert!(sizes.is_sorted_by(|a, b| a >= b) && sizes[0] - sizes[waiting - 1] <= 1, "{sizes:?}");
        }

        /// A search that stops early finds who a look at all candidates finds, whatever they drive and whenever they are
        /// free.
        #[test]
        fn stopping_early_changes_nothing(
            fleet in prop::collection::vec((-4_000.0_f64..4_000.0, -4_000.0_f64..4_000.0, 0_usize..4, free_in()), 1..40),
            refusing in prop::collection::btree_set(0_usize..40, 0..6),
            taken in prop::collection::btree_set(0_usize..40, 0..4),
            radius_m in prop::sample::select(vec![300.0, 1_500.0, 3_000.0, 12_000.0]),
            candidates in 1_u32..20,
            max_pickup_eta_s in prop::sample::select(vec![0_u32, 240, 600, 1_800]),
        ) {
            let (index, riders) = standing(&fleet);
            let policy = DispatchPolicy { candidates, max_pickup_eta_s, ..DispatchPolicy::default() };
            let refusals = refusing.iter().map(|n| (id(*n), Timestamp::FAR_FUTURE)).collect();
            let order = order(0, &refusals);
            let view = view(&policy, &index, &riders, vec![]);
            let taken = taken.iter().map(|n| id(*n)).collect();
            let found = search(&view, &order, &taken, radius_m);
            let all: Vec<_> = index
                .nearest(order.pickup, 12_000.0)
                .filter(|(rider, _)| !taken.contains(rider) && !refusals.contains_key(rider))
                .map(|(rider, metres)| {
                    let facts = &riders.0[&rider];
                    let way = StraightLineEta.travel_time(&policy, facts.vehicle, metres);
                    (way + facts.free_at.since(NOW), metres)
                })
                .filter(|(eta, _)| max_pickup_eta_s == 0 || *eta <= Duration::from_secs(max_pickup_eta_s.into()))
                .take(candidates as usize)
                .collect();
            let best = all.iter().map(|(eta, _)| *eta).min();
            let asked = all.iter().filter(|(_, metres)| *metres <= radius_m).map(|(eta, _)| *eta).min();
            prop_assert_eq!(found.best.map(|best| best.eta), best);
            prop_assert_eq!(found.in_radius.map(|best| best.eta), asked);
        }
    }
}

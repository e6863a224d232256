//! Why this rider, or why none: what stands in an order's events, and what an operator hears who asks now.
//!
//! The matcher's answer is one rider; who else was considered is looked up again when an event is written, within bounds
//! that hold whatever stands around a pickup, and never for every tick. The excluded are found in two places: in the index,
//! where the rules of eligibility say why, and aside, where the rider's own state does.

use std::{collections::BTreeMap, time::Duration};

use serde_json::{Value, json};

use crate::domain::{
    duty::Duty,
    ids::{OrderId, ReplyTo, RiderId, TransitionId},
    order::Actor,
    rider::RiderProfile,
    time::Timestamp,
};

use super::{
    city::City,
    command::Outcome,
    effect::{Effect, NoteWrite, Write},
    forward::Lookup,
    matching::{Ineligible, OrderFacts, View},
    orders::{EventDraft, data, number_events},
    rider_index::Need,
    state::{LiveRider, Pending, Then},
    view::{OrderExplained, WaitReason},
};

/// Candidates that are named; of the others there is a count.
const NAMED: usize = 8;

/// Riders who refused and are named with the end of their cool-down.
const COOLING: usize = 4;

/// Riders of the index who are looked at: of those who come with what is needed, and of all.
const LOOKED_AT: usize = 256;

/// Reasons to wait that one tick explains: when a whole city changes its mind (after a restart, above all), the events come
/// little by little.
const PER_TICK: usize = 32;

/// A rider who could go.
struct Candidate {
    rider: RiderId,
    eta: Duration,
    distance_m: f64,
    free_in: Duration,
}

/// What a look around a pickup finds.
#[derive(Default)]
struct Look {
    candidates: Vec<Candidate>,
    excluded: BTreeMap<Ineligible, u32>,
    /// Riders who are not asked before a time.
    cooling: Vec<(RiderId, Timestamp)>,
    /// How long after now the first rider who could go would be at the pickup, beyond what the policy allows.
    too_long: Option<Duration>,
}

impl Look {
    fn exclude(&mut self, why: Ineligible) {
        *self.excluded.entry(why).or_default() += 1;
    }
}

impl City {
    /// Why an order goes to these riders, and to no others: for the event of the offer.
    pub(super) fn explain_choice(&self, now: Timestamp, order: OrderId, chosen: &[RiderId]) -> Value {
        let mut why = self.why(now, order);
        if let Value::Object(why) = &mut why {
            why.insert("chosen".to_owned(), chosen.iter().map(ToString::to_string).collect());
        }
        why
    }

    /// Writes down why a due order is not assigned, when the reason is another one than before; never often.
    pub(super) fn explain_wait(&mut self, now: Timestamp, order: OrderId, reason: WaitReason) {
        let every = Duration::from_secs(self.settings.policy.explain_every_s.into());
        let Some(live) = self.orders.get(&order) else { return };
        let is_news = live.state.due_at.is_some()
            && live.explained != Some(reason)
            && live.explained_at.is_none_or(|at| now.since(at) >= every);
        if !is_news || every.is_zero() || live.pending || self.explained >= PER_TICK {
            return;
        }
        self.explained += 1;
        let waited = live.state.due_at.map_or(Duration::ZERO, |due| now.since(due));
        let event = EventDraft {
            reason: Some(reason.to_string()),
            data: data([("why", self.why(now, order)), ("waited_s", waited.as_secs().into())]),
            ..EventDraft::new("not_assigned", Actor::ENGINE)
        };
        self.write_note(now, order, event);
        if let Some(live) = self.orders.get_mut(&order) {
            (live.explained, live.explained_at) = (Some(reason), Some(now));
        }
    }

    /// Sends an event to the journal that leaves its order as it is. Like every write of an order it goes alone.
    fn write_note(&mut self, now: Timestamp, order: OrderId, event: EventDraft) {
        let transition = TransitionId(self.ids.next(now));
        let Some(live) = self.orders.get_mut(&order) else { return };
        let (mut next, version) = (live.state.clone(), live.state.version);
        live.pending = true;
        let change = |next| Some((order, Box::new(next)));
        for event in number_events(&mut next, now, vec![event]) {
            self.out.push(Effect::Persist(Box::new(Write::Note(NoteWrite { transition, order, version, event }))));
        }
        self.pending.insert(transition, Pending { change: change(next), then: Then::Explained });
        self.touch_order(order);
    }

    /// Answers why an order stands where it stands.
    pub(super) fn explain(&mut self, now: Timestamp, order: OrderId, reply: ReplyTo) {
        let Some(view) = self.order_view(order) else { return self.refuse_gone(order, reply) };
        let why = self.queue.contains(order).then(|| self.why(now, order));
        self.reply(reply, Ok(Outcome::Explained(Box::new(OrderExplained { at: now, order: view, why }))));
    }

    /// Who could be asked for an order now, and who could not.
    fn why(&self, now: Timestamp, order: OrderId) -> Value {
        let Some(live) = self.orders.get(&order) else { return Value::Null };
        let facts = live.facts();
        let lookup = Lookup(self);
        let view = self.view(now, &lookup, vec![]);
        let mut look = self.look_around(&view, &facts);
        self.look_aside(&view, &facts, &mut look);
        look.candidates.sort_by_key(|candidate| (candidate.eta, candidate.rider));
        let named: Vec<Value> = look.candidates.iter().take(NAMED).map(Candidate::named).collect();
        let excluded = look.excluded.iter().map(|(why, count)| (why.to_string(), (*count).into()));
        let cooling = look.cooling.iter().map(|(rider, until)| {
            // Who declined is not asked again before the next round, whenever that is.
            let until = (*until < Timestamp::FAR_FUTURE).then(|| until.to_string());
            json!({ "rider": rider.to_string(), "until": until })
        });
        let mut why = data([
            ("radius_m", view.radius_m(&facts).into()),
            ("more", look.candidates.len().saturating_sub(named.len()).into()),
            ("candidates", named.into()),
            ("excluded", Value::Object(excluded.collect())),
        ]);
        if !look.cooling.is_empty() {
            why.insert("cooling".to_owned(), cooling.collect());
        }
        if let Some(eta) = look.too_long {
            why.insert("soonest_s".to_owned(), eta.as_secs().into());
        }
        Value::Object(why)
    }

    /// Looks at the nearest riders who may be offered work: for candidates where the matcher looks, among those who come with
    /// what is needed, and for whom it passed over among all.
    fn look_around(&self, view: &View<'_>, order: &OrderFacts<'_>) -> Look {
        let most = usize::try_from(view.policy.candidates).unwrap_or(usize::MAX);
        let need = view.eligibility.need(order);
        let mut look = Look::default();
        let mut could_go = 0;
        for (rider, distance_m) in self.index.nearest_with(order.pickup, view.limit_m(), need).take(LOOKED_AT) {
            match consider(view, order, rider, distance_m) {
                Some((candidate, Ok(()))) => look.candidates.push(candidate),
                Some((_, Err(Ineligible::OutOfRadius))) => {}
                Some((Candidate { eta, .. }, Err(Ineligible::PickupTooLong))) => {
                    look.too_long = Some(look.too_long.map_or(eta, |soonest| soonest.min(eta)));
                    continue;
                }
                _ => continue,
            }
            could_go += 1;
            if could_go >= most {
                break;
            }
        }
        could_go = 0;
        for (rider, distance_m) in self.index.nearest(order.pickup, view.limit_m()).take(LOOKED_AT) {
            let Some((_, verdict)) = consider(view, order, rider, distance_m) else { continue };
            if let Err(why) = verdict {
                look.exclude(why);
                if let Some(until) = order.refusals.get(&rider).filter(|_| why == Ineligible::Refused)
                    && look.cooling.len() < COOLING
                {
                    look.cooling.push((rider, *until));
                }
            }
            could_go += usize::from(matches!(verdict, Ok(()) | Err(Ineligible::OutOfRadius)));
            if could_go >= most {
                break;
            }
        }
        look
    }

    /// Looks at the nearest riders within the radius who may not be offered work.
    fn look_aside(&self, view: &View<'_>, order: &OrderFacts<'_>, look: &mut Look) {
        let need = view.eligibility.need(order);
        for live in self.aside_around(order, view.radius_m(order)) {
            // Who will never do is not said to be worth waiting for.
            look.exclude(lacks(&live.profile, &need).unwrap_or_else(|| self.why_aside(view.now, live)));
        }
    }

    /// Why a rider may not be offered work: the first of what would have to change.
    fn why_aside(&self, now: Timestamp, live: &LiveRider) -> Ineligible {
        let asked_at = live.offer.map(|offer| self.offers.get(&offer).map(|record| record.sent_at));
        if !live.profile.may_work() {
            Ineligible::NotApproved
        } else if live.duty != Duty::On || live.stored_duty != Duty::On || live.next_duty.is_some() {
            Ineligible::OffDuty
        } else if live.session.is_none() || !self.is_fresh(now, live) {
            Ineligible::Stale
        } else {
            match asked_at {
                Some(Some(at)) if at == now => Ineligible::Taken,
                Some(_) => Ineligible::Asked,
                None => Ineligible::Busy,
            }
        }
    }
}

/// A rider of the index, and whether this one could be asked now; `None` for one who is gone.
fn consider(
    view: &View<'_>,
    order: &OrderFacts<'_>,
    rider: RiderId,
    distance_m: f64,
) -> Option<(Candidate, Result<(), Ineligible>)> {
    let facts = view.riders.facts(rider)?;
    let eta = view.pickup_eta(&facts, distance_m);
    let verdict = view.eligibility.check(view, &facts, order).and_then(|()| {
        if eta > view.longest_eta(order) {
            Err(Ineligible::PickupTooLong)
        } else if distance_m > view.radius_m(order) {
            Err(Ineligible::OutOfRadius)
        } else {
            Ok(())
        }
    });
    Some((Candidate { rider, eta, distance_m, free_in: facts.free_at.since(view.now) }, verdict))
}

/// What a rider will not have, whatever becomes of the work in hand.
fn lacks(profile: &RiderProfile, need: &Need<'_>) -> Option<Ineligible> {
    if need.vehicle.is_some_and(|vehicle| profile.vehicle < vehicle) {
        Some(Ineligible::Vehicle)
    } else if profile.capacity_units < need.units {
        Some(Ineligible::Capacity)
    } else if !profile.tags.cover(need.tags) {
        Some(Ineligible::MissingTag)
    } else {
        None
    }
}

impl Candidate {
    fn named(&self) -> Value {
        let mut named = data([
            ("rider", self.rider.to_string().into()),
            ("eta_s", self.eta.as_secs().into()),
            ("distance_m", self.distance_m.round().into()),
        ]);
        if !self.free_in.is_zero() {
            named.insert("free_in_s".to_owned(), self.free_in.as_secs().into());
        }
        Value::Object(named)
    }
}

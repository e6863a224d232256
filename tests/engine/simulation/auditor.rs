//! An observer who stands outside: it hears what the city is told and what devices and merchants hear, compares that
//! with the store, and never looks into the engine.

use std::{
    collections::{BTreeMap, BTreeSet},
    time::Duration,
};

use dispatch_engine::{
    domain::{
        duty::Duty,
        ids::{OfferId, OrderId, RiderId, SessionId, TransitionId},
        order::{Custody, OrderStatus},
        policy::DispatchPolicy,
        rider::RiderProfile,
        time::Timestamp,
    },
    engine::{
        command::{Command, Outcome, Refusal},
        effect::{Notice, Write},
        view::{CitySnapshot, JobView, OfferView, RiderState, WaitReason},
        wake::{Wake, WakeWhy},
    },
};

use super::{Checked, ensure, repeats::Repeats, store::Store};

/// A due order waits no longer than this while somebody who was never asked for it stands idle and suits it: the radius
/// has widened to its limit by then, twice over.
const UNASKED_BOUND: Duration = Duration::from_secs(4 * 60);

/// ... and no longer than this while anybody suitable stands idle, refusals or not: cool-downs and rounds are over by
/// then.
const REFUSED_BOUND: Duration = Duration::from_secs(12 * 60);

/// A scheduled order is in the queue at most this long after its time.
const SCHEDULE_BOUND: Duration = Duration::from_secs(4 * 60);

#[derive(Clone, Default)]
pub struct Auditor {
    /// What the city was told of each rider.
    session: BTreeMap<RiderId, SessionId>,
    newest: BTreeMap<RiderId, SessionId>,
    /// When the last fix was recorded, and when the city had it.
    fix: BTreeMap<RiderId, (Timestamp, Timestamp)>,
    profile: BTreeMap<RiderId, RiderProfile>,
    /// When a rider's frame last stood at the city's door, be the city awake or not.
    at_door: BTreeMap<RiderId, Timestamp>,
    /// Stored, and the city does not know it yet.
    unconfirmed: BTreeMap<TransitionId, Fact>,
    duty: BTreeMap<RiderId, Duty>,
    version: BTreeMap<OrderId, i32>,
    asked: BTreeMap<OrderId, BTreeSet<RiderId>>,
    /// Since when each order could have been offered to somebody: who was never asked; who was.
    neglected: BTreeMap<OrderId, [Option<Timestamp>; 2]>,
    /// When the city, or its journal, last stood still.
    awake_since: Timestamp,
    pub repeats: Repeats,
    /// Offers for which this incarnation has woken the device.
    woken: BTreeSet<OfferId>,
}

#[derive(Clone, Copy)]
enum Fact {
    Order(OrderId, i32),
    Duty(RiderId, Duty),
}

impl Auditor {
    /// A new incarnation has read the store.
    pub fn restored(&mut self, now: Timestamp, store: &Store) {
        self.session.clear();
        self.fix.clear();
        self.unconfirmed.clear();
        self.neglected.clear();
        self.woken.clear();
        self.repeats.new_incarnation(now);
        self.version = store.orders.iter().map(|(id, row)| (*id, row.state.version)).collect();
        self.duty = store.riders.iter().map(|(id, (_, duty))| (*id, *duty)).collect();
        self.profile = store.riders.iter().map(|(id, (profile, _))| (*id, profile.clone())).collect();
    }

    /// The city, or its journal, stood still for a while: waiting counts anew.
    pub fn stood_still(&mut self, now: Timestamp) {
        self.awake_since = now;
        self.neglected.clear();
    }

    pub fn stored(&mut self, write: &Write) {
        let (id, fact) = match write {
            Write::Place(place) => (place.transition, Fact::Order(place.spec.id, 1)),
            Write::Order(order) => {
                for offer in &order.offers {
                    self.asked.entry(order.order).or_default().insert(offer.rider);
                }
                if let Some(rider) = order.state.rider {
                    // Given without being asked: who lets it go again is not asked before the next round either.
                    self.asked.entry(order.order).or_default().insert(rider);
                }
                if order.state.status.is_end() {
                    self.asked.remove(&order.order);
                }
                (order.transition, Fact::Order(order.order, order.state.version))
            }
            // What follows later changes nothing now.
            Write::Duty(duty) if duty.next.is_some() => return,
            Write::Duty(duty) => (duty.transition, Fact::Duty(duty.rider, duty.duty)),
            Write::Offer { .. } | Write::Note(_) | Write::Dispute(_) => return,
        };
        self.unconfirmed.insert(id, fact);
    }

    /// The city is about to be told that a write is stored.
    pub fn confirmed(&mut self, transition: TransitionId) {
        match self.unconfirmed.remove(&transition) {
            Some(Fact::Order(order, version)) => drop(self.version.insert(order, version)),
            Some(Fact::Duty(rider, duty)) => drop(self.duty.insert(rider, duty)),
            None => {}
        }
    }

    /// A frame stands at the city's door, and counts when it comes from the rider's session or from a newer one.
    pub fn at_door(&mut self, now: Timestamp, rider: RiderId, session: SessionId) {
        let newer = self.newest.get(&rider).is_none_or(|newest| session > *newest);
        if newer || self.session.get(&rider) == Some(&session) {
            self.at_door.insert(rider, now);
        }
    }

    /// The city is about to be told something.
    pub fn before(&mut self, now: Timestamp, command: &Command) {
        match command {
            Command::Connect { rider, session, .. } if self.session.get(&rider.id).is_none_or(|s| s <= session) => {
                self.session.insert(rider.id, *session);
                self.newest.insert(rider.id, *session);
                self.profile.insert(rider.id, rider.clone());
            }
            Command::Disconnect { rider, session } if self.session.get(rider) == Some(session) => {
                self.session.remove(rider);
            }
            Command::UpdateProfile(profile) => drop(self.profile.insert(profile.id, profile.clone())),
            Command::Fixes(fixes) => {
                for fix in fixes.iter().filter(|fix| self.session.get(&fix.rider) == Some(&fix.session)) {
                    let known = self.fix.entry(fix.rider).or_insert((fix.recorded_at, now));
                    if fix.recorded_at >= known.0 {
                        *known = (fix.recorded_at, now);
                    }
                }
            }
            _ => {}
        }
    }

    /// The city takes a rider off duty for silence.
    pub fn taken_off(&self, now: Timestamp, rider: RiderId, policy: &DispatchPolicy) -> Checked {
        let silent = self.at_door.get(&rider).map_or(Duration::MAX, |heard| now.since(*heard));
        let limit = Duration::from_secs(policy.auto_off_after_s.into());
        ensure(silent > limit, || format!("{rider} was taken off duty for silence and spoke {silent:?} ago"))
    }

    /// A device is woken: for an open offer that it does not show, once; or for a silence that is about to end the duty.
    pub fn woken(&mut self, now: Timestamp, store: &Store, policy: &DispatchPolicy, wake: Wake) -> Checked {
        let no = |holds: bool, what: &str| ensure(holds, || format!("{wake:?}: {what}"));
        no(wake.until > now, "it is too late")?;
        match (wake.why, wake.offer) {
            (WakeWhy::Offer, Some(id)) => {
                let row = store.offers.get(&id).filter(|row| row.rider == wake.rider);
                let row = row.ok_or_else(|| format!("{wake:?}: the offer is not stored"))?;
                no(row.state.is_open() && row.seen_at.is_none(), "the offer is closed or was seen")?;
                let waited = now.since(row.sent_at) >= policy.wake_after();
                no(waited || !self.session.contains_key(&wake.rider), "the device is there and has had no time")?;
                no(self.woken.insert(id), "for the second time")
            }
            (WakeWhy::AutoOffWarning, None) => {
                let silent = self.at_door.get(&wake.rider).map_or(Duration::MAX, |heard| now.since(*heard));
                no(Some(silent) > policy.silence_before_warning(), &format!("was heard {silent:?} ago"))
            }
            _ => no(false, "without an offer, or with one that is not asked for"),
        }
    }

    /// Somebody is answered: what is told is stored.
    pub fn told(&self, store: &Store, to: Option<RiderId>, result: &Result<Outcome, Refusal>) -> Checked {
        match (result, to) {
            (Ok(Outcome::Connected(sync)), Some(rider)) => {
                self.duty_told(store, rider, sync.duty)?;
                sync.jobs.iter().try_for_each(|job| job_told(store, rider, job))?;
                sync.open_offer.iter().try_for_each(|offer| offer_told(store, rider, offer))
            }
            (Ok(Outcome::Duty { duty, .. }), Some(rider)) => self.duty_told(store, rider, *duty),
            (Ok(Outcome::Accepted(job)), Some(rider)) => job_told(store, rider, job),
            (Ok(Outcome::Order { order, status, version }), _) => order_told(store, *order, *status, *version),
            (Ok(Outcome::Stepped { order, status, version, job }), Some(rider)) => {
                order_told(store, *order, *status, *version)?;
                job.iter().try_for_each(|job| job_told(store, rider, job))
            }
            (Ok(Outcome::Replayed(first)), _) => {
                if let Some(order) = first["id"].as_str().and_then(|id| id.parse().ok()) {
                    let status = first["status"].as_str().and_then(|status| OrderStatus::parse(status).ok());
                    let version = first["version"].as_i64().and_then(|version| i32::try_from(version).ok());
                    let whole = status.zip(version).ok_or_else(|| format!("a change was answered with {first}"));
                    return whole.and_then(|(status, version)| order_told(store, order, status, version));
                }
                let known =
                    first.as_str().and_then(|id| id.parse().ok()).is_some_and(|id| store.orders.contains_key(&id));
                ensure(known, || format!("a placement was answered with {first}, which is not stored"))
            }
            _ => Ok(()),
        }
    }

    /// A device is told something.
    pub fn noticed(
        &self,
        now: Timestamp,
        store: &Store,
        policy: &DispatchPolicy,
        (rider, session): (RiderId, SessionId),
        notice: &Notice,
    ) -> Checked {
        match notice {
            Notice::Offer(offer) => {
                offer_told(store, rider, offer)?;
                let no = |holds: bool, what: &str| ensure(holds, || format!("{rider} is offered work and {what}"));
                no(self.session.get(&rider) == Some(&session), "the session is not the rider's")?;
                no(self.profile.get(&rider).is_some_and(RiderProfile::may_work), "may not work")?;
                no(self.duty.get(&rider) == Some(&Duty::On), "is not on duty")?;
                let held = store.held.get(&rider).map_or(0, BTreeSet::len);
                no(held < store.capacity, &format!("has {held} orders in hand"))?;
                let on_hold = offer.job.orders.iter().find(|told| store.orders[&told.order].state.hold.is_some());
                no(on_hold.is_none(), &format!("{on_hold:?} is held"))?;
                let mut needed = offer.job.orders.iter().map(|told| &store.orders[&told.order].spec.needs_tags);
                let covers = |needed| self.profile.get(&rider).is_some_and(|profile| profile.tags.cover(needed));
                no(needed.all(covers), "lacks a tag that it needs")?;
                let age = self.fix.get(&rider).map(|(_, received)| now.since(*received));
                no(age.is_some_and(|age| age <= policy.fix_freshness()), &format!("the last fix is {age:?} old"))
            }
            Notice::OrderChanged { job: Some(job), .. } => job_told(store, rider, job),
            Notice::OrderChanged { job: None, order, status, .. } => {
                let row = &store.orders[order];
                let was = row.history.iter().any(|(stored, _)| stored == status);
                ensure(was, || format!("{rider} is told that {order} is {status}, which is not stored"))?;
                let known = usize::try_from(self.version[order]).unwrap_or(1);
                let his = row.history[known - 1].1 == Some(rider) && !row.history[known - 1].0.is_end();
                ensure(!his, || format!("{rider} is told to let {order} go and it is his"))
            }
            Notice::DutyChanged { duty, .. } => self.duty_told(store, rider, *duty),
            Notice::OfferClosed { offer, state, .. } => {
                let stored = store.offers.get(offer).map(|row| row.state);
                ensure(stored == Some(*state), || format!("{offer} is told as {state} and stored as {stored:?}"))
            }
            Notice::TakenOver => Ok(()),
        }
    }

    fn duty_told(&self, store: &Store, rider: RiderId, duty: Duty) -> Checked {
        let known = self.duty.get(&rider).copied().unwrap_or(Duty::Off);
        let stored = store.riders[&rider].1;
        // A city forgets who is away and off duty, and why: to it both words mean "not at work".
        let word = |duty| if duty == Duty::AutoOff { Duty::Off } else { duty };
        ensure(word(duty) == word(known) || word(duty) == word(stored), || {
            format!("{rider} is told to be {duty}, stored is {stored}")
        })
    }

    /// The version that the city knows of an order.
    pub fn version_known(&self, order: OrderId) -> Option<i32> {
        self.version.get(&order).copied()
    }

    /// Looks at the whole city from outside: waiting orders have a reason, and nobody waits while somebody is willing.
    pub fn watch(&mut self, store: &Store, city: &CitySnapshot) -> Checked {
        let now = city.at;
        let idle: Vec<&RiderProfile> = city
            .riders
            .iter()
            .filter(|rider| rider.state == RiderState::Idle)
            .map(|rider| &store.riders[&rider.rider].0)
            .collect();
        let mut neglected = BTreeMap::new();
        for view in &city.orders {
            let Some(row) = store.orders.get(&view.order) else { continue };
            let reason = view.waiting_for;
            ensure(reason.is_some() == view.status.is_waiting(), || format!("{} waits for {reason:?}", view.order))?;
            if let Some(at) = row.spec.dispatch_at.filter(|_| view.status == OrderStatus::Placed) {
                let late = now.since(at.max(self.awake_since));
                ensure(late <= SCHEDULE_BOUND, || format!("{} should be in the queue since {late:?}", view.order))?;
            }
            if let Some(hold) = &view.hold {
                let late = now.since(hold.until.max(self.awake_since));
                ensure(late <= SCHEDULE_BOUND, || format!("{} should be free since {late:?}: {hold:?}", view.order))?;
            }
            let looking = matches!(reason, Some(WaitReason::NoRiderInReach | WaitReason::AllRefused));
            if !looking || view.due_at.is_none() {
                continue;
            }
            let holder = match row.state.custody {
                Custody::Handover { holder, .. } => Some(holder),
                _ => None,
            };
            let suits = |rider: &&&RiderProfile| {
                row.spec.vehicle_need.is_none_or(|need| rider.vehicle >= need)
                    && rider.capacity_units >= row.spec.size_units
                    && rider.tags.cover(&row.spec.needs_tags)
                    && Some(rider.id) != holder
            };
            let unasked = |rider: &&RiderProfile| !self.asked.get(&view.order).is_some_and(|a| a.contains(&rider.id));
            let [unasked, anybody] = [idle.iter().filter(suits).any(unasked), idle.iter().any(|rider| suits(&rider))];
            let before = self.neglected.get(&view.order).copied().unwrap_or_default();
            let since = [unasked.then(|| before[0].unwrap_or(now)), anybody.then(|| before[1].unwrap_or(now))];
            for (since, bound) in since.iter().zip([UNASKED_BOUND, REFUSED_BOUND]) {
                let waits = since.map_or(Duration::ZERO, |since| now.since(since));
                ensure(waits <= bound, || {
                    let idle: Vec<_> = idle.iter().filter(suits).map(|rider| rider.id).collect();
                    let asked = self.asked.get(&view.order);
                    format!("{} waits ({reason:?}) although {idle:?} suit it; asked were {asked:?}", view.order)
                })?;
            }
            neglected.insert(view.order, since);
        }
        self.neglected = neglected;
        Ok(())
    }
}

fn order_told(store: &Store, order: OrderId, status: OrderStatus, version: i32) -> Checked {
    let stored = usize::try_from(version - 1).ok().and_then(|at| store.orders.get(&order)?.history.get(at));
    ensure(stored.is_some_and(|(stored, _)| *stored == status), || {
        format!("{order} is told as {status} in version {version}, stored is {stored:?}")
    })
}

fn job_told(store: &Store, rider: RiderId, job: &JobView) -> Checked {
    job.orders.iter().try_for_each(|told| {
        order_told(store, told.order, told.status, told.version)?;
        let at = usize::try_from(told.version - 1).unwrap_or_default();
        let holder = store.orders[&told.order].history[at].1;
        ensure(holder == Some(rider), || format!("{} is told to {rider} and is {holder:?}'s", told.order))
    })
}

fn offer_told(store: &Store, rider: RiderId, offer: &OfferView) -> Checked {
    let stored = store.offers.get(&offer.offer);
    ensure(stored.is_some_and(|row| row.rider == rider && row.payout_minor == offer.payout.minor), || {
        format!("{} is shown to {rider}, stored is {stored:?}", offer.offer)
    })
}

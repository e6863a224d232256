//! The state of one city and the only way to change it: `apply`.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::domain::{
    self,
    duty::Duty,
    ids::{OfferId, OrderId, ReplyTo, RiderId, TransitionId},
    order::OrderStatus,
    rider::RiderProfile,
    tags::Tags,
    time::Timestamp,
};

use super::{
    alarms::Alarms,
    answered::Answered,
    command::{Command, Outcome, Refusal},
    defects::{Defect, Defects},
    disputes::Contested,
    effect::{Alert, Effect, Measure, Notice, OfferRecord},
    id_source::IdSource,
    matching::Brain,
    operators::Ask,
    order_queue::OrderQueue,
    rider_index::RiderIndex,
    roster::{Roster, Slot},
    state::{ClosedOffer, Deferred, EndedOrder, LiveOrder, LiveRider, Pending},
    unsaved::Unsaved,
    view::Counts,
};

pub use super::restore::{CityImage, MEMORY, StoredEnd, StoredRider};

/// Commands of one order that may wait for the journal's answer; more are refused with `order_busy`.
const DEFERRED_PER_ORDER: usize = 8;

/// One city. All of its state; nothing outside changes it. A copy lives on by itself.
#[derive(Clone, Debug)]
pub struct City {
    pub(super) settings: domain::city::City,
    pub(super) brain: Brain,
    pub(super) ids: IdSource,
    pub(super) defects: Defects,
    pub(super) riders: Roster,
    pub(super) orders: BTreeMap<OrderId, LiveOrder>,
    /// Open offers, those on their way to the journal included.
    pub(super) offers: BTreeMap<OfferId, OfferRecord>,
    /// Orders whose dispatch time has not come.
    pub(super) scheduled: BTreeSet<(Timestamp, OrderId)>,
    pub(super) queue: OrderQueue,
    pub(super) index: RiderIndex,
    /// Where the riders are, or were a moment ago, who may not be offered work now: looked at only to explain why they were
    /// not asked.
    pub(super) aside: RiderIndex,
    /// Riders in the index who have work in hand.
    pub(super) ahead: usize,
    /// The most orders that a rider may hold, by any policy under which one of them may have been taken.
    pub(super) most_active: u32,
    /// Reasons to wait that this tick has explained.
    pub(super) explained: usize,
    /// One per rider at most; the rider's `look_at`.
    pub(super) rider_alarms: Alarms<RiderId>,
    pub(super) offer_alarms: Alarms<OfferId>,
    pub(super) round_alarms: Alarms<OrderId>,
    pub(super) wake_alarms: Alarms<OfferId>,
    pub(super) pending: BTreeMap<TransitionId, Pending>,
    /// Placements among the pending writes.
    pub(super) placing: usize,
    pub(super) deferred: BTreeMap<OrderId, Deferred>,
    pub(super) closed_offers: BTreeMap<OfferId, ClosedOffer>,
    pub(super) ended_orders: BTreeMap<OrderId, EndedOrder>,
    /// When closed offers and ended orders may be forgotten, oldest first.
    pub(super) memory: VecDeque<(Timestamp, Remembered)>,
    /// Riders whose duty the journal could not take; tried again at the next tick.
    pub(super) duty_unsaved: BTreeMap<RiderId, domain::duty::DutyReason>,
    pub(super) last_tick: Option<Timestamp>,
    /// Until then nobody is taken off duty: the engine itself had paused.
    pub(super) grace_until: Timestamp,
    pub(super) delivered: u64,
    pub(super) ended_otherwise: u64,
    pub(super) touched: Touched,
    /// The figures as of the last `take_changes`.
    pub(super) tally: Counts,
    pub(super) out: Vec<Effect>,
    /// The duties among the pending writes.
    pub(super) duty_writes: BTreeSet<(RiderId, TransitionId)>,
    /// What the journal could not take and nobody waits for; tried again at the next tick.
    pub(super) unsaved: Unsaved,
    pub(super) hold_alarms: Alarms<OrderId>,
    /// Operators' commands that took another offer out of a rider's hands first; each does so once.
    pub(super) displacing: BTreeSet<ReplyTo>,
    pub(super) answered: Answered,
    /// What riders may contradict, and what they have contradicted.
    pub(super) contested: Contested,
}

/// What is forgotten after a while.
#[derive(Clone, Copy, Debug)]
pub(super) enum Remembered {
    Offer(OfferId),
    Order(OrderId),
}

/// What changed since the last `take_changes`.
#[derive(Clone, Debug, Default)]
pub(super) struct Touched {
    pub orders: BTreeSet<OrderId>,
    /// Each of them once, as its mark says.
    pub riders: Vec<RiderId>,
    pub ended: Vec<(OrderId, OrderStatus)>,
    pub gone: BTreeSet<RiderId>,
    pub queue: bool,
}

impl City {
    /// An empty city that decides with `brain`. `seed` feeds the ids it makes and nothing else.
    #[must_use]
    pub fn new(settings: domain::city::City, seed: u64, brain: Brain) -> Self {
        let (lon, lat) = settings.boundary.middle();
        let most_active = settings.policy.max_active_orders;
        Self {
            settings,
            brain,
            ids: IdSource::new(seed),
            defects: Defects::default(),
            riders: Roster::default(),
            orders: BTreeMap::new(),
            offers: BTreeMap::new(),
            scheduled: BTreeSet::new(),
            queue: OrderQueue::default(),
            index: RiderIndex::around(lat, lon),
            aside: RiderIndex::around(lat, lon),
            ahead: 0,
            most_active,
            explained: 0,
            rider_alarms: Alarms::default(),
            offer_alarms: Alarms::default(),
            round_alarms: Alarms::default(),
            wake_alarms: Alarms::default(),
            pending: BTreeMap::new(),
            placing: 0,
            deferred: BTreeMap::new(),
            closed_offers: BTreeMap::new(),
            ended_orders: BTreeMap::new(),
            memory: VecDeque::new(),
            duty_unsaved: BTreeMap::new(),
            last_tick: None,
            grace_until: Timestamp::default(),
            delivered: 0,
            ended_otherwise: 0,
            touched: Touched::default(),
            tally: Counts::default(),
            out: Vec::new(),
            duty_writes: BTreeSet::new(),
            unsaved: Unsaved::default(),
            hold_alarms: Alarms::default(),
            displacing: BTreeSet::new(),
            answered: Answered::default(),
            contested: Contested::default(),
        }
    }

    /// Does one thing at one time. Does no IO and cannot fail: a refusal is an effect. The effects are to be carried
    /// out in their order.
    pub fn apply(&mut self, now: Timestamp, command: Command) -> Vec<Effect> {
        self.answered.clock(now);
        self.dispatch(now, command);
        std::mem::take(&mut self.out)
    }

    pub(super) fn dispatch(&mut self, now: Timestamp, command: Command) {
        match command {
            Command::Tick => self.tick(now),
            Command::Connect { rider, session, reply } => self.connect(now, rider, session, reply),
            Command::Disconnect { rider, session } => self.disconnect(rider, session),
            Command::SetDuty { rider, session, duty, reply } => self.ask_duty(now, rider, session, duty, reply),
            Command::Fixes(fixes) => self.fixes(now, fixes),
            Command::OfferSeen { rider, session, offer, reply } => self.offer_seen(now, rider, session, offer, reply),
            Command::AnswerOffer { rider, session, offer, answer, reply } => {
                self.answer_offer(now, rider, session, offer, answer, reply);
            }
            Command::Progress { rider, session, report, reply } => self.progress(now, rider, session, report, reply),
            Command::UpdateProfile(profile) => self.update_profile(now, profile),
            Command::Place { spec, extras, actor, reply } => self.place(now, *spec, *extras, actor, reply),
            Command::Cancel { order, actor, reason, reply, given } => {
                self.cancel(now, order, actor, reason, given, reply);
            }
            Command::ChangeReady { order, ready_at, actor, reply, given } => {
                self.change_ready(now, order, ready_at, actor, given, reply);
            }
            Command::Committed { transition } => self.committed(now, transition),
            Command::Rejected { transition, why } => self.rejected(now, transition, &why),
            Command::Explain { order, reply } => self.explain(now, order, reply),
            Command::Framed { key, command } => self.framed(now, key, *command),
            Command::CloseDispute { order, verdict, actor, reply } => {
                self.close_dispute(now, order, verdict, actor, reply);
            }
            Command::DisputeClosed { order, rider, dispute } => self.contested.closed(order, rider, dispute),
            Command::SetCity(settings) => {
                self.most_active = self.most_active.max(settings.policy.max_active_orders);
                self.settings = *settings;
                self.watch_everything(now);
                self.forgive_for_higher_payouts();
            }
            Command::Operate { order, action, by, reason, given, reply } => {
                self.operate(now, Ask { order, action, by, reason, given, reply });
            }
        }
    }

    /// The settings in force.
    #[must_use]
    pub fn settings(&self) -> &domain::city::City {
        &self.settings
    }

    pub(super) fn reply(&mut self, to: ReplyTo, result: Result<Outcome, Refusal>) {
        for also in self.also_hear(to, &result) {
            self.out.push(Effect::Reply { to: also, result: result.clone() });
        }
        self.out.push(Effect::Reply { to, result });
    }

    pub(super) fn refuse(&mut self, to: ReplyTo, refusal: Refusal) {
        self.reply(to, Err(refusal));
    }

    pub(super) fn alert(&mut self, alert: Alert) {
        self.out.push(Effect::Alert(alert));
    }

    pub(super) fn measure(&mut self, measure: Measure) {
        self.out.push(Effect::Measure(measure));
    }

    /// Tells a rider's device, when one is connected: a reconnect brings the whole state anyway.
    pub(super) fn notify(&mut self, rider: RiderId, notice: Notice) {
        if let Some(session) = self.riders.get(&rider).and_then(|live| live.session) {
            self.out.push(Effect::Notify { rider, session, notice });
        }
    }

    pub(super) fn touch_order(&mut self, order: OrderId) {
        self.touched.orders.insert(order);
    }

    pub(super) fn touch_rider(&mut self, rider: RiderId) {
        if self.riders.get_mut(&rider).is_some_and(|live| live.touched.set()) {
            self.touched.riders.push(rider);
        }
    }

    /// Lets a command wait while the journal has a write of its order; `None` when it may go on now.
    pub(super) fn defer(&mut self, order: OrderId, reply: ReplyTo, command: Command) -> Option<Command> {
        if !self.orders.get(&order).is_some_and(|live| live.pending) {
            return Some(command);
        }
        let waiting = self.deferred.entry(order).or_default();
        if waiting.len() < DEFERRED_PER_ORDER {
            waiting.push_back(command);
        } else {
            self.refuse(reply, Refusal::OrderBusy);
        }
        None
    }

    /// Brings the index in line with a rider: in it stand the riders who may be offered work, the others stand aside.
    pub(super) fn reindex(&mut self, now: Timestamp, rider: RiderId) {
        if let Some(slot) = self.riders.slot(rider) {
            self.reindex_at(now, slot);
        }
    }

    /// As [`Self::reindex`], of the rider in a slot.
    pub(super) fn reindex_at(&mut self, now: Timestamp, slot: Slot) {
        let Some(live) = self.riders.at(slot) else { return };
        let (rider, from) = (live.profile.id, self.forward_from(live));
        let standing = self.standing(live, self.is_offerable_from(now, live, from));
        let due = self.rider_due(live, standing.0.in_index(), from);
        self.stand(slot, standing);
        self.watch_rider(now, rider, due);
        self.touch_rider(rider);
    }

    /// Whether a rider may be asked at all: wants work and may, is connected, fresh, and free or soon free.
    pub(super) fn is_offerable(&self, now: Timestamp, live: &LiveRider) -> bool {
        self.is_offerable_from(now, live, self.forward_from(live))
    }

    /// As [`Self::is_offerable`], of a rider who is soon free from `from` on.
    pub(super) fn is_offerable_from(&self, now: Timestamp, live: &LiveRider, from: Option<Timestamp>) -> bool {
        live.duty == Duty::On
            && live.stored_duty == Duty::On
            && live.next_duty.is_none()
            && live.session.is_some()
            && live.offer.is_none()
            && (live.orders.is_empty()
                || from.is_some_and(|from| from <= now)
                || self.defects.has(Defect::OffersToTheBusy))
            && live.reserved.is_none()
            && live.profile.may_work()
            && self.is_fresh(now, live)
    }

    /// Whether the last fix is young enough.
    pub(super) fn is_fresh(&self, now: Timestamp, live: &LiveRider) -> bool {
        live.fix.is_some_and(|fix| now.since(fix.received_at) <= self.settings.policy.fix_freshness())
    }

    /// A rider known by id alone may not work.
    pub(super) fn unknown_profile(&self, id: RiderId) -> RiderProfile {
        RiderProfile {
            id,
            city: self.settings.code.clone(),
            status: domain::rider::RiderStatus::Suspended,
            kyc: domain::rider::KycStatus::Pending,
            vehicle: domain::rider::Vehicle::Walking,
            capacity_units: 1,
            tags: Tags::NONE,
        }
    }
}

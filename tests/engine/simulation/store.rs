//! A model of Postgres: what the real journal stores and what `store/recovery.rs` reads, in memory. It judges every
//! write as the constraints of the tables and the books would, without trusting the engine.

use std::{
    collections::{BTreeMap, BTreeSet},
    fmt,
};

use dispatch_engine::{
    domain::{
        duty::Duty,
        ids::{OfferId, OrderId, RiderId, TransitionId},
        order::{ActorKind, OfferState, OrderSpec, OrderStatus},
        policy::DispatchPolicy,
        rider::RiderProfile,
        time::Timestamp,
    },
    engine::{
        CityImage, MEMORY, StoredClaim, StoredEnd, StoredRider,
        command::RejectReason,
        effect::{DisputeChange, NoteWrite, OfferRecord, OrderState, OrderWrite, PlaceWrite, Write},
    },
};
use serde_json::Value;

use super::{
    Checked, ensure,
    rules::{bonus_minor, books_balance, custody_follows, follows, numbers_follow, steered_well},
    told::{Disputes, Frames},
};

/// An order with its history.
#[derive(Clone)]
pub struct Row {
    pub spec: OrderSpec,
    pub state: OrderState,
    /// Status and rider after each version; the first one is version 1.
    pub history: Vec<(OrderStatus, Option<RiderId>)>,
    /// Somebody else wrote it since the city was loaded.
    pub meddled: bool,
    /// What the offer that was accepted last promised.
    pub accepted_minor: Option<i64>,
    pub paid: bool,
    /// Who had it in hand and lost it.
    lost: Vec<RiderId>,
    /// Its offers, in the order in which they were made.
    offers: Vec<OfferId>,
}

#[derive(Clone, Default)]
pub struct Store {
    /// The most orders that a rider may hold.
    pub capacity: usize,
    pub orders: BTreeMap<OrderId, Row>,
    pub open: BTreeSet<OrderId>,
    pub offers: BTreeMap<OfferId, OfferRecord>,
    open_offers: BTreeSet<OfferId>,
    /// Orders that ended and offers that closed, in the order in which that was stored.
    ended: Vec<OrderId>,
    closed: Vec<OfferId>,
    pub riders: BTreeMap<RiderId, (RiderProfile, Duty)>,
    /// What riders get once the work in hand is finished.
    pub next_duties: BTreeMap<RiderId, Duty>,
    pub frames: Frames,
    pub disputes: Disputes,
    /// Orders in the hands of each rider.
    pub held: BTreeMap<RiderId, BTreeSet<OrderId>>,
    stored: BTreeSet<TransitionId>,
    /// The answer under each key.
    keys: BTreeMap<String, Value>,
    refs: BTreeMap<String, OrderId>,
    /// The policy of this life: how many may be asked at once, and what an offer pays.
    pub terms: DispatchPolicy,
}

impl Store {
    /// An empty store of a city that keeps to these terms.
    pub fn under(terms: DispatchPolicy) -> Self {
        let capacity = usize::try_from(terms.max_active_orders).unwrap();
        Self { terms, capacity, ..Self::default() }
    }

    /// Stores a write whole, or says why not. An error of the outer result is a broken rule.
    pub fn commit(&mut self, write: &Write) -> Result<Result<(), RejectReason>, String> {
        ensure(self.stored.insert(write.transition()), || format!("{:?} was made twice", write.transition()))?;
        if let Some(refusal) = self.frames.take(write) {
            self.stored.remove(&write.transition());
            return Ok(Err(refusal));
        }
        let result = self.commit_new(write)?;
        if result.is_err() {
            self.frames.give_back(write);
        }
        Ok(result)
    }

    fn commit_new(&mut self, write: &Write) -> Result<Result<(), RejectReason>, String> {
        let result = match write {
            Write::Place(place) => self.place(place)?,
            Write::Order(order) => self.change(order)?,
            Write::Note(note) => self.note(note)?,
            Write::Dispute(dispute) => {
                let id = dispute.record.order;
                let ended = self.orders.get(&id).is_some_and(|row| row.state.status.is_end());
                ensure(ended, || format!("{id} is disputed as ended and is not"))?;
                self.disputes.open(&dispute.record)?;
                Ok(())
            }
            Write::Offer { offer, .. } => {
                self.upsert(offer);
                Ok(())
            }
            Write::Duty(duty) => {
                match (duty.next, self.riders.get_mut(&duty.rider)) {
                    (Some(next), _) => drop(self.next_duties.insert(duty.rider, next)),
                    (None, Some(row)) => {
                        row.1 = duty.duty;
                        self.next_duties.remove(&duty.rider);
                    }
                    (None, None) => {}
                }
                Ok(())
            }
        };
        if result.is_err() {
            self.stored.remove(&write.transition());
        }
        Ok(result)
    }

    /// Whether a write was stored: one that is given again is recognised by its id.
    pub fn holds(&self, transition: TransitionId) -> bool {
        self.stored.contains(&transition)
    }

    /// Writes down what later writes and a new incarnation depend on.
    pub fn describe(&self, out: &mut impl fmt::Write) -> fmt::Result {
        // What is left out follows from the rest, or never changes.
        let Self {
            orders,
            open: _,
            offers,
            open_offers: _,
            ended,
            closed,
            riders,
            held: _,
            stored: _,
            keys,
            refs,
            terms: _,
            next_duties,
            frames,
            disputes,
            capacity: _,
        } = self;
        for (id, Row { spec: _, state, history, meddled, accepted_minor, paid, lost, offers: _ }) in orders {
            write!(out, "{id}{state:?}{history:?}{meddled}{accepted_minor:?}{paid}{lost:?}")?;
        }
        write!(out, "{offers:?}{ended:?}{closed:?}{keys:?}{refs:?}{next_duties:?}{disputes:?}")?;
        frames.describe(out)?;
        riders.iter().try_for_each(|(id, (profile, duty))| write!(out, "{id}{}{duty}", profile.status))
    }

    fn place(&mut self, write: &PlaceWrite) -> Result<Result<(), RejectReason>, String> {
        let spec = &write.spec;
        if let Some(first) = write.extras.idempotency.as_ref().and_then(|record| self.keys.get(&record.key)) {
            return Ok(Err(RejectReason::Replay(first.clone())));
        }
        if let Some(name) = &spec.external_ref {
            if let Some(first) = self.refs.get(name) {
                return Ok(Err(RejectReason::DuplicateRef(*first)));
            }
            self.refs.insert(name.clone(), spec.id);
        }
        if let Some(record) = &write.extras.idempotency {
            self.keys.insert(record.key.clone(), record.answer.clone());
        }
        ensure(write.state.version == 1, || format!("{} begins with version {}", spec.id, write.state.version))?;
        let row = Row {
            spec: spec.clone(),
            state: write.state.clone(),
            history: vec![(write.state.status, None)],
            meddled: false,
            accepted_minor: None,
            paid: false,
            lost: Vec::new(),
            offers: Vec::new(),
        };
        self.open.insert(spec.id);
        let before = self.orders.insert(spec.id, row);
        ensure(before.is_none(), || format!("{} was placed twice", spec.id))?;
        Ok(Ok(()))
    }

    fn note(&mut self, write: &NoteWrite) -> Result<Result<(), RejectReason>, String> {
        let id = write.order;
        let Some(row) = self.orders.get_mut(&id) else { return Err(format!("{id} is noted and was never placed")) };
        if row.state.version != write.version {
            ensure(row.meddled, || format!("{id} is at version {}, not {}", row.state.version, write.version))?;
            return Ok(Err(RejectReason::Conflict));
        }
        ensure(!row.state.status.is_end(), || format!("{id} is noted after its end"))?;
        numbers_follow(id, &row.state, std::slice::from_ref(&write.event), write.version)?;
        row.state.next_seq += 1;
        Ok(Ok(()))
    }

    fn change(&mut self, write: &OrderWrite) -> Result<Result<(), RejectReason>, String> {
        let id = write.order;
        let Some(row) = self.orders.get_mut(&id) else { return Err(format!("{id} changed and was never placed")) };
        if let Some(first) = write.idempotency.as_ref().and_then(|record| self.keys.get(&record.key)) {
            return Ok(Err(RejectReason::Replay(first.clone())));
        }
        if row.state.version != write.expected_version {
            let expected = write.expected_version;
            ensure(row.meddled, || format!("{id} is at version {}, not {expected}", row.state.version))?;
            return Ok(Err(RejectReason::Conflict));
        }
        let (from, to) = (&row.state, &write.state);
        ensure(to.version == from.version + 1, || format!("{id} skips from {} to {}", from.version, to.version))?;
        ensure(!from.status.is_end(), || format!("{id} changed after its end, from {} to {}", from.status, to.status))?;
        let disputed = write.dispute.is_some() && from.status == to.status;
        ensure(disputed || follows(from.status, to.status), || {
            format!("{id} went from {} to {}", from.status, to.status)
        })?;
        if let (Some(before), Some(after)) = (from.rider, to.rider) {
            let released = write.events.iter().any(|event| event.kind == "unassigned");
            ensure(before == after || released, || {
                format!("{id} went from {before} to {after} and nobody released it")
            })?;
        }
        steered_well(write, from)?;
        custody_follows(id, from, to)?;
        numbers_follow(id, from, &write.events, to.version)?;
        let next = from.next_seq + i32::try_from(write.events.len()).unwrap();
        ensure(to.next_seq == next, || format!("the next number of {id} is {}, not {next}", to.next_seq))?;
        if let Some(lost) = from.rider.filter(|_| to.rider.is_none())
            && !row.lost.contains(&lost)
        {
            row.lost.push(lost);
        }
        if let Some(DisputeChange::Open(record)) = write.dispute.as_deref() {
            ensure(from.status == to.status, || format!("{id} moved with a dispute"))?;
            self.disputes.open(record)?;
        }
        for offer in write.offers.iter().filter(|offer| offer.state == OfferState::Accepted) {
            ensure(to.rider == Some(offer.rider), || {
                format!("{id} was accepted by {} for {:?}", offer.rider, to.rider)
            })?;
            row.accepted_minor = Some(offer.payout_minor);
        }
        for offer in write.offers.iter().filter(|offer| !self.offers.contains_key(&offer.id)) {
            let promised = row.spec.payout_minor + bonus_minor(&self.terms, offer.round);
            ensure(offer.payout_minor == promised, || {
                format!("{id} is offered for {} and pays {promised} in round {}", offer.payout_minor, offer.round)
            })?;
            let rider = offer.rider;
            let other = self.open_offers.iter().find(|open| self.offers[*open].rider == rider);
            ensure(other.is_none(), || format!("{rider} is asked for {id} and has {other:?} open"))?;
            // Refusals are forgotten with an acceptance, and with a new round.
            let earlier: Vec<_> = row.offers.iter().filter_map(|id| self.offers.get(id)).collect();
            let of = |state: OfferState| earlier.iter().filter(move |earlier| earlier.state == state);
            let taken = of(OfferState::Accepted).filter_map(|earlier| earlier.closed_at).max();
            let mut declined = of(OfferState::Declined).filter(|earlier| earlier.closed_at > taken);
            let again = declined.any(|earlier| (earlier.rider, earlier.round) == (offer.rider, offer.round));
            ensure(!again, || format!("{id} is offered to {} again, who declined it in this round", offer.rider))?;
            row.offers.push(offer.id);
        }
        if write.events.iter().any(|event| event.kind == "assigned" && event.actor.kind == ActorKind::Operator) {
            row.accepted_minor = Some(row.spec.payout_minor + bonus_minor(&self.terms, to.round));
            // Refusals are forgotten with it, as with an acceptance.
            row.offers.clear();
        }
        let promised = row.accepted_minor.filter(|_| to.rider.is_some());
        ensure(to.payout_minor == promised, || format!("{id} pays {:?}, promised is {promised:?}", to.payout_minor))?;
        ensure(!to.parked || to.status == OrderStatus::Queued, || format!("{id} is parked and {}", to.status))?;
        ensure(!(from.parked && to.status == OrderStatus::Offered), || format!("{id} is parked and offered"))?;
        books_balance(row, write)?;
        if let Some(rider) = from.rider {
            self.held.entry(rider).or_default().remove(&id);
        }
        row.paid |= !write.postings.is_empty();
        row.state = to.clone();
        row.history.push((to.status, to.rider));
        if to.status.is_end() {
            self.open.remove(&id);
            self.ended.push(id);
        } else if let Some(rider) = to.rider {
            let held = self.held.entry(rider).or_default();
            held.insert(id);
            ensure(held.len() <= self.capacity, || format!("{rider} holds {held:?}"))?;
        }
        if let Some(record) = &write.idempotency {
            self.keys.insert(record.key.clone(), record.answer.clone());
        }
        write.offers.iter().for_each(|offer| self.upsert(offer));
        let open = self.open_offers.iter().filter(|offer| self.offers[*offer].orders.contains(&id)).count();
        if write.state.status == OrderStatus::Offered {
            let batch = usize::try_from(self.terms.offer_batch).unwrap();
            ensure((1..=batch).contains(&open), || format!("{id} is offered to {open} riders, {batch} are allowed"))?;
        } else {
            ensure(open == 0, || format!("{id} is {} and {open} offers are still open", write.state.status))?;
        }
        Ok(Ok(()))
    }

    /// Whether a rider has nothing in hand.
    pub fn is_free(&self, rider: RiderId) -> bool {
        self.held.get(&rider).is_none_or(BTreeSet::is_empty)
    }

    /// A closed offer stays closed, a seen one stays seen: the guard of the real statement.
    fn upsert(&mut self, offer: &OfferRecord) {
        let stands = self.offers.get(&offer.id).map(|row| row.state);
        if stands
            .is_some_and(|state| !state.is_open() || (state == OfferState::Seen && offer.state == OfferState::Sent))
        {
            return;
        }
        if offer.state.is_open() {
            self.open_offers.insert(offer.id);
        } else {
            self.open_offers.remove(&offer.id);
            self.closed.push(offer.id);
        }
        self.offers.insert(offer.id, offer.clone());
    }

    /// Somebody else writes an order, past its city: nothing but a note.
    pub fn meddle(&mut self, order: OrderId) {
        let Some(row) = self.orders.get_mut(&order).filter(|row| !row.state.status.is_end()) else { return };
        row.meddled = true;
        row.state.version += 1;
        row.state.next_seq += 1;
        row.history.push((row.state.status, row.state.rider));
    }

    /// What a new incarnation reads.
    pub fn image(&mut self, now: Timestamp) -> CityImage {
        let mut involved = BTreeSet::new();
        let mut orders = Vec::new();
        for id in &self.open {
            let Some(row) = self.orders.get_mut(id) else { continue };
            row.meddled = false;
            involved.extend(row.state.rider.into_iter().chain(row.state.custody.custodian()));
            orders.push((OrderSpec { ready_at: row.state.ready_at, ..row.spec.clone() }, row.state.clone()));
        }
        let offers: Vec<OfferRecord> = self.open_offers.iter().map(|id| self.offers[id].clone()).collect();
        involved.extend(offers.iter().map(|offer| offer.rider));
        let live = |id: &RiderId, duty: Duty| matches!(duty, Duty::On | Duty::Break) || involved.contains(id);
        let riders = self.riders.iter().filter(|(id, (_, duty))| live(id, *duty));
        let riders: Vec<StoredRider> = riders
            .map(|(id, (profile, duty))| StoredRider {
                profile: profile.clone(),
                duty: *duty,
                next_duty: self.next_duties.get(id).copied(),
                duty_why: None,
            })
            .collect();
        // What was stored long before cannot have ended lately: a write waits for minutes at most.
        let lately = |at: Timestamp| at >= now - MEMORY;
        let ended = self.ended.iter().rev().map(|id| (id, &self.orders[id])).map_while(|(id, row)| {
            let at = row.state.ended_at.filter(|at| lately(*at))?;
            let (status, version, rider) = (row.state.status, row.state.version, row.state.rider);
            Some(StoredEnd { order: *id, status, version, rider, at })
        });
        let known: BTreeSet<RiderId> = riders.iter().map(|rider| rider.profile.id).collect();
        let closed = self.closed.iter().rev().map(|id| &self.offers[id]);
        let closed = closed.take_while(|offer| offer.closed_at.is_some_and(lately));
        let closed = closed.filter(|offer| known.contains(&offer.rider)).cloned().collect();
        let refused = self.closed.iter().map(|id| &self.offers[id]).filter(|offer| {
            let refusal = matches!(offer.state, OfferState::Accepted | OfferState::Declined | OfferState::Expired);
            let asks = |id: &OrderId| self.open.contains(id) && self.orders[id].state.round == offer.round;
            refusal && offer.orders.iter().any(asks)
        });
        CityImage {
            ended: ended.collect(),
            refused: refused.cloned().collect(),
            orders,
            offers,
            riders,
            closed,
            frames: self.frames.image(now - MEMORY),
            claims: self.claims(now),
            disputes: self.disputes.image(),
            wrong_codes: Vec::new(),
        }
    }

    fn claims(&self, now: Timestamp) -> Vec<StoredClaim> {
        let since = now - DispatchPolicy::default().max_report_age();
        let claim = |(id, row): (&OrderId, &Row)| {
            let end = row.state.ended_at.map(|at| (row.state.status, at));
            let mut riders = row.lost.clone();
            match row.state.status {
                OrderStatus::Cancelled => riders.extend(row.state.rider),
                _ => riders.retain(|rider| Some(*rider) != row.state.rider),
            }
            let counts = !riders.is_empty() && end.is_none_or(|(_, at)| at >= since);
            counts.then_some(StoredClaim { order: *id, end, riders })
        };
        self.orders.iter().filter_map(claim).collect()
    }

    /// Every order that ended well was paid, once, and no other.
    pub fn check_books(&self) -> Checked {
        for (id, row) in &self.orders {
            let due = matches!(row.state.status, OrderStatus::Delivered | OrderStatus::Returned);
            ensure(row.paid == due, || format!("{id} is {} and paid: {}", row.state.status, row.paid))?;
        }
        Ok(())
    }
}

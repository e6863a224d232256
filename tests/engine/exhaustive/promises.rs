//! What is promised: to devices and merchants with every word, and of the whole world in every state.

use dispatch_engine::{
    domain::{
        ids::{OrderId, RiderId, SessionId},
        order::{OrderStatus, Step},
    },
    engine::{
        command::{Outcome, Refusal, RiderSync},
        effect::Notice,
        view::JobView,
    },
};

use super::model::{Asker, Model, Rider};
use crate::simulation::{Checked, ensure, fleet::frame_id, repeats::recall};

impl Model {
    /// Somebody is answered.
    pub fn hear_answer(&mut self, asker: Asker, result: &Result<Outcome, Refusal>) -> Checked {
        match result {
            Ok(Outcome::Replayed(_)) => self.seen.push("replayed"),
            Ok(_) => {}
            Err(refusal) => self.seen.push(refusal.code()),
        }
        match asker {
            Asker::Rider { rider: n, session, intent } => {
                let rider = self.riders[n].id;
                let result = &recall(result.clone(), self.store.frames.answer(rider, &frame_id(intent)));
                self.auditor.told(&self.store, Some(rider), result)?;
                self.judge_repeat(rider, intent, result)?;
                if session == self.session(n).1 {
                    self.device_hears(n, result)?;
                }
                Ok(())
            }
            Asker::Merchant(n) => {
                self.auditor.told(&self.store, None, result)?;
                match result {
                    Ok(Outcome::Order { order, .. }) => self.merchants[n].order = Some(*order),
                    Ok(Outcome::Replayed(first)) => {
                        self.merchants[n].order = first.as_str().and_then(|id| id.parse().ok());
                    }
                    _ => {}
                }
                Ok(())
            }
        }
    }

    /// A good answer is given again for the same request, and not another one.
    fn judge_repeat(&mut self, rider: RiderId, intent: u64, result: &Result<Outcome, Refusal>) -> Checked {
        let good = matches!(result, Ok(Outcome::Accepted(_) | Outcome::Declined | Outcome::Stepped { .. }));
        if intent == 0 || !(good || self.auditor.repeats.knows(rider, intent)) {
            return Ok(());
        }
        let stored = self.store.frames.answer(rider, &frame_id(intent));
        if self.auditor.repeats.judge(self.now, (rider, intent), result, stored)? {
            self.seen.push("answered again");
        }
        Ok(())
    }

    fn device_hears(&mut self, n: usize, result: &Result<Outcome, Refusal>) -> Checked {
        match result {
            Ok(Outcome::Connected(sync)) => {
                self.sync_is_whole(n, sync)?;
                let rider = &mut self.riders[n];
                rider.up = true;
                rider.open_offer = sync.open_offer.as_ref().map(|offer| offer.offer);
                rider.offers_told(rider.open_offer);
                rider.job = None;
                sync.jobs.iter().for_each(|job| rider.job_told(job));
            }
            Ok(Outcome::Accepted(job)) => {
                self.riders[n].open_offer = None;
                self.riders[n].job_told(job);
            }
            Ok(Outcome::Stepped { job, .. }) => match job {
                Some(job) => self.riders[n].job_told(job),
                None => self.riders[n].job = None,
            },
            _ => {}
        }
        Ok(())
    }

    /// A device is told something by itself.
    pub fn hear_notice(&mut self, rider: RiderId, session: SessionId, notice: &Notice) -> Checked {
        self.auditor.noticed(self.now, &self.store, &self.settings.policy, (rider, session), notice)?;
        let Some(n) = self.riders.iter().position(|known| known.id == rider) else { return Ok(()) };
        let rider = &mut self.riders[n];
        match notice {
            Notice::Offer(offer) => {
                rider.open_offer = Some(offer.offer);
                rider.offers_told(rider.open_offer);
            }
            Notice::OfferClosed { offer, .. } => rider.open_offer = rider.open_offer.filter(|open| open != offer),
            Notice::OrderChanged { job: Some(job), .. } => {
                rider.open_offer = None;
                rider.job_told(job);
            }
            Notice::OrderChanged { job: None, order, .. } => rider.job = rider.job.filter(|(held, _)| held != order),
            Notice::DutyChanged { .. } | Notice::TakenOver => {}
        }
        Ok(())
    }

    /// A `welcome` leaves nothing out: neither work in hand nor a question, and no more work than a rider may have.
    fn sync_is_whole(&self, n: usize, sync: &RiderSync) -> Checked {
        let rider = self.riders[n].id;
        let told: Vec<OrderId> = sync.jobs.iter().flat_map(|job| &job.orders).map(|told| told.order).collect();
        let most = usize::try_from(self.settings.policy.max_active_orders).unwrap_or(usize::MAX);
        ensure(told.len() <= most, || format!("{rider} is told of {told:?} at once"))?;
        for (order, row) in &self.store.orders {
            // As of the version that the city knows; a later one may be on its way to it.
            let Some(known) = self.known_version(*order).and_then(|version| usize::try_from(version - 1).ok()) else {
                continue;
            };
            let (status, holder) = row.history[known];
            let his = holder == Some(rider) && !status.is_end();
            ensure(his == told.contains(order), || {
                format!("{rider} comes back and is told of {told:?}; {order} is {status} and {holder:?}'s")
            })?;
            let current = known + 1 == row.history.len();
            let asked = self
                .store
                .offers
                .values()
                .find(|offer| offer.rider == rider && offer.state.is_open() && offer.orders.contains(order));
            if let Some(offer) = asked.filter(|_| current && status == OrderStatus::Offered) {
                let shown = sync.open_offer.as_ref().map(|offer| offer.offer);
                ensure(shown == Some(offer.id), || format!("{rider} comes back, {} is open and not shown", offer.id))?;
            }
        }
        Ok(())
    }

    /// What must hold in every state: orders are where operators see them, and as they are stored.
    pub fn check(&self) -> Checked {
        let Some(city) = &self.city else { return Ok(()) };
        let seen = city.snapshot(self.now);
        for view in &seen.orders {
            let row = self.store.orders.get(&view.order);
            let at = usize::try_from(view.version - 1).ok();
            let stored = row.zip(at).and_then(|(row, at)| row.history.get(at)).map(|(status, _)| *status);
            ensure(stored == Some(view.status), || {
                format!(
                    "operators see {} {} in version {}, stored is {stored:?}",
                    view.order, view.status, view.version
                )
            })?;
        }
        for order in &self.store.open {
            let visible = self.known_version(*order).is_none() || seen.orders.iter().any(|view| view.order == *order);
            ensure(visible, || format!("{order} is open and nobody sees it"))?;
        }
        Ok(())
    }
}

impl Rider {
    fn offers_told(&mut self, offer: Option<dispatch_engine::domain::ids::OfferId>) {
        let new = offer.filter(|offer| !self.offers.contains(offer));
        self.offers.extend(new);
    }

    fn job_told(&mut self, job: &JobView) {
        for told in &job.orders {
            if !self.orders.contains(&told.order) {
                self.orders.push(told.order);
            }
            self.job = next_step(told.status).map(|step| (told.order, step));
        }
    }
}

/// What a willing rider does next with an order.
fn next_step(status: OrderStatus) -> Option<Step> {
    match status {
        OrderStatus::Assigned | OrderStatus::AtPickup => Some(Step::PickedUp),
        OrderStatus::PickedUp | OrderStatus::AtDropoff => Some(Step::Delivered),
        OrderStatus::AttemptFailed => Some(Step::Returning),
        OrderStatus::Returning => Some(Step::Returned),
        _ => None,
    }
}

//! What a device believes, from the frames that it was given, and what it writes down of them.

use std::collections::BTreeMap;

use dispatch_engine::wire::rider::{Down, Job, Offer, Welcome};
use uuid::Uuid;

use crate::ledger::{Ledger, Told};

/// An order in hand, as the device knows it.
#[derive(Clone, Debug, PartialEq)]
pub struct Held {
    /// Where it stands.
    pub status: String,
    /// Where its next stop is, degrees north and east.
    pub stop: Option<(f64, f64)>,
}

/// What a device believes.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Belief {
    /// The duty in force.
    pub duty: String,
    /// What it waits to become.
    pub next_duty: Option<String>,
    /// The orders in hand.
    pub orders: BTreeMap<Uuid, Held>,
    /// The offer that waits for an answer, with its order.
    pub offer: Option<(Uuid, Uuid)>,
}

impl Belief {
    /// What a `welcome` says: the whole state.
    pub fn of(welcome: &Welcome) -> Self {
        let mut belief = Self { duty: welcome.duty.clone(), next_duty: welcome.next_duty.clone(), ..Self::default() };
        welcome.plan.iter().for_each(|job| belief.take(job));
        belief.offer = welcome.open_offer.as_ref().and_then(named);
        belief
    }

    /// The same without what only the device's screen needs.
    pub fn bare(&self) -> (String, Vec<(Uuid, String)>, Option<Uuid>) {
        let orders = self.orders.iter().map(|(order, held)| (*order, held.status.clone())).collect();
        (self.duty.clone(), orders, self.offer.map(|(offer, _)| offer))
    }

    /// A frame changes it.
    pub fn hear(&mut self, down: &Down) {
        match down {
            Down::Welcome(welcome) => *self = Self::of(welcome),
            // An answer to `offer_seen` tells nothing new.
            Down::Offer(offer) if offer.re.is_none() => self.offer = named(offer),
            Down::OfferClosed { offer, .. } => self.offer = self.offer.filter(|(open, _)| open != offer),
            Down::Assigned { job, .. } => {
                self.take(job);
                self.offer = self.offer.filter(|(_, order)| !self.orders.contains_key(order));
            }
            Down::OrderChanged { job: Some(job), .. } => self.take(job),
            Down::OrderChanged { order, job: None, .. } => drop(self.orders.remove(order)),
            Down::DutyChanged { duty, next, .. } => (self.duty, self.next_duty) = (duty.clone(), next.clone()),
            _ => {}
        }
    }

    fn take(&mut self, job: &Job) {
        for order in &job.orders {
            let stop = job.stops.iter().find(|stop| stop.order == order.order);
            let stop = stop.map(|stop| (stop.place.lat, stop.place.lon));
            self.orders.insert(order.order, Held { status: order.status.clone(), stop });
        }
    }
}

fn named(offer: &Offer) -> Option<(Uuid, Uuid)> {
    Some((offer.offer, offer.job.orders.first()?.order))
}

/// Writes down which states of orders a frame told a rider of.
pub fn note(ledger: &Ledger, rider: Uuid, down: &Down) {
    let told = |job: &Job, by| {
        for order in &job.orders {
            let (order, status, version) = (order.order, order.status.clone(), Some(order.version));
            ledger.told(Told { order, status, version, holder: Some(rider), by });
        }
    };
    match down {
        Down::Welcome(welcome) => welcome.plan.iter().for_each(|job| told(job, "welcome")),
        Down::Assigned { job, .. } => told(job, "assigned"),
        Down::OrderChanged { order, status, version, job, .. } => {
            ledger.told(Told {
                order: *order,
                status: status.clone(),
                version: *version,
                holder: None,
                by: "order_changed",
            });
            job.iter().for_each(|job| told(job, "order_changed"));
        }
        _ => {}
    }
}

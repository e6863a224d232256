//! Places the planned orders on time, cancels and delays some of them, and writes down what the merchants are told.

use std::{
    sync::{Arc, atomic::Ordering::Relaxed},
    time::Duration,
};

use chrono::{DateTime, Utc};
use dispatch_engine::{
    replay::{orders::PlannedOrder, outcome::OrderOutcome},
    wire::{
        PlaceBody,
        rest::{Contact, NewOrder, OrderReceipt},
    },
};
use serde_json::{Map, json};
use tokio::{
    sync::{Semaphore, watch},
    task::JoinSet,
    time::Instant,
};
use uuid::Uuid;

use crate::{
    api::{Answer, Api, ApiError},
    device::Shared,
};

/// Placements at the same time; beyond it the next one waits, which shows in the placing lag.
const PARALLEL: usize = 256;

/// Real time for which a merchant tries to get a request through.
const PATIENCE: Duration = Duration::from_secs(60);

/// The longest real time between two attempts.
const LONGEST_WAIT: Duration = Duration::from_secs(5);

pub use dispatch_engine::replay::orders::CANCEL_REASON;

/// The merchants of a run.
#[derive(Debug)]
pub struct Merchants {
    /// The engine.
    pub api: Api,
    /// Codes of the cities.
    pub cities: Vec<String>,
    /// Ids of the merchants.
    pub ids: Vec<Uuid>,
    /// Starts every external reference of the run.
    pub prefix: String,
    /// What the run shares.
    pub shared: Arc<Shared>,
}

/// Places a plan from `t0` of the engine's clock on, until it ends, `until` is reached, or `stop` turns true. What the
/// merchants do later is left running in the answer: dropping that ends it.
pub async fn place_all(
    merchants: Arc<Merchants>,
    plan: impl Iterator<Item = PlannedOrder>,
    t0: i64,
    until: Option<i64>,
    mut stop: watch::Receiver<bool>,
) -> JoinSet<()> {
    let slots = Arc::new(Semaphore::new(PARALLEL));
    let mut later = JoinSet::new();
    let mut placements = JoinSet::new();
    for order in plan {
        let due = t0 + order.at;
        if until.is_some_and(|until| due >= until) || *stop.borrow() {
            break;
        }
        tokio::select! {
            () = merchants.shared.clock.sleep_until(due) => {}
            _ = stop.wait_for(|stop| *stop) => break,
        }
        let Ok(slot) = Arc::clone(&slots).acquire_owned().await else { break };
        let merchants = Arc::clone(&merchants);
        placements.spawn(async move {
            let placed = merchants.place(&order, t0).await;
            drop(slot);
            placed.map(|id| (merchants, order, id))
        });
        while let Some(done) = placements.try_join_next() {
            follow(&mut later, done, t0);
        }
    }
    while let Some(done) = placements.join_next().await {
        follow(&mut later, done, t0);
    }
    later
}

type Placed = Option<(Arc<Merchants>, PlannedOrder, Uuid)>;

fn follow(later: &mut JoinSet<()>, done: Result<Placed, tokio::task::JoinError>, t0: i64) {
    if let Ok(Some((merchants, order, id))) = done
        && (order.whims.cancel_after.is_some() || order.whims.delay.is_some())
    {
        later.spawn(async move { merchants.change(&order, id, t0).await });
    }
    while later.try_join_next().is_some() {}
}

fn date(at: i64) -> DateTime<Utc> {
    DateTime::from_timestamp_millis(at).unwrap_or_default()
}

impl Merchants {
    fn merchant(&self, order: &PlannedOrder) -> Uuid {
        let count = self.ids.len().max(1) as u64;
        self.ids.get((order.store_number % count) as usize).copied().unwrap_or_default()
    }

    fn body(&self, order: &PlannedOrder, reference: &str, t0: i64) -> NewOrder {
        let place = |at: dispatch_engine::wire::LatLon, hint: &str| PlaceBody {
            lat: at.lat,
            lon: at.lon,
            hint: Some(hint.to_owned()),
        };
        let mut metadata = Map::new();
        metadata.insert("loadtest".to_owned(), json!({ "run": self.prefix, "number": order.number }));
        NewOrder {
            city: self.cities.get(order.city).cloned().unwrap_or_default(),
            merchant_id: None,
            external_ref: Some(reference.to_owned()),
            store: Some(order.store.clone()),
            pickup: place(order.pickup, "counter"),
            drop: place(order.drop, "front door"),
            ready_at: Some(date(t0 + order.ready)),
            promise_at: Some(date(t0 + order.promise)),
            dispatch_at: None,
            size_units: Some(1),
            vehicle_need: None,
            needs_tags: vec![],
            cash_to_collect_minor: order.whims.cash_minor,
            contact: Some(Contact {
                name: format!("Recipient {}", order.number),
                phone: format!("+990{:09}", order.number % 1_000_000_000),
                address: Some(format!("{} Test Street", order.number % 500 + 1)),
            }),
            metadata,
            drop_otp: None,
        }
    }

    /// Places one order; its id when it is confirmed.
    async fn place(&self, order: &PlannedOrder, t0: i64) -> Option<Uuid> {
        let clock = &self.shared.clock;
        let lag = clock.real_micros(clock.now() - (t0 + order.at));
        {
            let mut sums = self.shared.stats.sums();
            sums.planned += 1;
            sums.placing_lag.record(lag);
        }
        let reference = format!("{}{}", self.prefix, order.number);
        let body = self.body(order, &reference, t0);
        let merchant = self.merchant(order);
        let again = async {
            let after = order.whims.again_after?;
            clock.sleep_until(t0 + order.at + after).await;
            self.shared.stats.event("placement_sent_twice");
            Some(self.persist("place", || self.api.place(merchant, &reference, &body)).await)
        };
        let began = Instant::now();
        let first = async {
            let answer = self.persist("place", || self.api.place(merchant, &reference, &body)).await;
            self.shared.stats.sums().placing.record(u64::try_from(began.elapsed().as_micros()).unwrap_or(u64::MAX));
            answer
        };
        let (first, again) = tokio::join!(first, again);
        let answers: Vec<Answer<OrderReceipt>> = [Some(first), again]
            .into_iter()
            .flatten()
            .filter_map(|answer| {
                answer
                    .map_err(|doubtful| {
                        if doubtful {
                            self.shared.ledger.books().doubt(&reference);
                        }
                    })
                    .ok()
            })
            .collect();
        let mut books = self.shared.ledger.books();
        if let [first, second] = answers.as_slice()
            && first.body != second.body
        {
            books.answered_differently(&first.body, &second.body);
        }
        for answer in &answers {
            books.placed(&reference, &answer.body);
        }
        drop(books);
        if answers.iter().any(|answer| answer.replayed) {
            self.shared.stats.event("placement_replayed");
        }
        let Some(id) = answers.first().map(|answer| answer.body.id) else {
            self.shared.stats.sums().refused.push((order.city, OrderOutcome::refused(order)));
            return None;
        };
        self.shared.stats.placed.fetch_add(1, Relaxed);
        Some(id)
    }

    /// What the merchant does later: a delay, a cancellation.
    async fn change(&self, order: &PlannedOrder, id: Uuid, t0: i64) {
        let merchant = self.merchant(order);
        let clock = &self.shared.clock;
        let cancel_at = order.whims.cancel_after.map(|after| t0 + order.at + after);
        if let Some((after, by)) = order.whims.delay {
            let at = t0 + order.at + after;
            if cancel_at.is_none_or(|cancel| at < cancel) {
                clock.sleep_until(at).await;
                let ready = date(t0 + order.ready + by);
                self.told(
                    "change_ready",
                    self.persist("change_ready", || self.api.change_ready(merchant, id, ready)).await,
                );
            }
        }
        if let Some(at) = cancel_at {
            clock.sleep_until(at).await;
            self.told("cancel", self.persist("cancel", || self.api.cancel(merchant, id, CANCEL_REASON)).await);
        }
    }

    fn told(&self, call: &str, answer: Result<OrderReceipt, bool>) {
        match answer {
            Ok(receipt) => {
                self.shared.stats.event(&format!("{call}_{}", receipt.status));
                self.shared.ledger.books().merchant_told(&receipt);
            }
            Err(_) => self.shared.stats.event(&format!("{call}_refused")),
        }
    }

    /// Sends a request until it is answered for good. `Err(true)` when it may have been carried out nevertheless.
    async fn persist<T, F: Future<Output = Result<T, ApiError>>>(
        &self,
        call: &str,
        request: impl Fn() -> F,
    ) -> Result<T, bool> {
        let give_up = Instant::now() + PATIENCE;
        let mut doubtful = false;
        let mut wait = Duration::from_millis(100);
        loop {
            let error = match request().await {
                Ok(answer) => return Ok(answer),
                Err(error) => error,
            };
            self.shared.stats.rest_error(call, &error);
            doubtful |= error.leaves_doubt();
            let Some(asked) = error.retry_after() else { return Err(doubtful) };
            wait = (wait * 2).max(asked).min(LONGEST_WAIT.max(asked));
            if Instant::now() + wait >= give_up {
                return Err(doubtful);
            }
            tokio::time::sleep(wait).await;
        }
    }
}

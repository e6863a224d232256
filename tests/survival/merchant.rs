//! A merchant's system: it places orders and cancels some, repeats every request until it has an answer, now and then
//! after it too, and writes down what it was told.

use std::{sync::Arc, time::Duration};

use dispatch_engine::wire::{
    PlaceBody,
    rest::{CancelOrder, NewOrder},
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use reqwest::StatusCode;
use serde_json::Value;
use tokio::{
    sync::watch,
    task::JoinSet,
    time::{Instant, sleep},
};
use uuid::Uuid;

use crate::{
    ledger::{Ledger, Receipt, Told},
    rest::Rest,
    storm::{CITY, Phase},
    support::{token, world},
};

/// The mean time between two orders of a merchant.
const EVERY_MS: u64 = 1_100;

/// A merchant.
#[derive(Clone)]
pub struct Merchant {
    /// Who.
    pub id: Uuid,
    /// Its number.
    pub number: usize,
    /// How it reaches the engine.
    pub rest: Rest,
    /// Where it writes down.
    pub ledger: Arc<Ledger>,
}

impl Merchant {
    /// Places orders until the load stops, and returns when everything that it asked is answered.
    pub async fn live(self, seed: u64, mut phase: watch::Receiver<Phase>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut orders = JoinSet::new();
        for number in 0.. {
            let wait = Duration::from_millis(rng.random_range(EVERY_MS / 2..EVERY_MS * 3 / 2));
            tokio::select! {
                () = sleep(wait) => {}
                _ = phase.wait_for(|phase| *phase != Phase::Storm) => break,
            }
            let reference = format!("m{}-{number}", self.number);
            let order = new_order(&reference, &mut rng);
            orders.spawn(self.clone().one(reference, order, ChaCha8Rng::seed_from_u64(rng.random())));
        }
        while let Some(done) = orders.join_next().await {
            done.unwrap();
        }
    }

    /// An order from its placement to the last thing that its merchant does about it.
    async fn one(self, reference: String, order: NewOrder, mut rng: ChaCha8Rng) {
        let Some(id) = self.place(&reference, &order, &mut rng).await else { return };
        if rng.random_bool(0.1) {
            // A client that lost its notes.
            sleep(Duration::from_millis(rng.random_range(0..6_000))).await;
            self.place(&reference, &order, &mut rng).await;
        }
        if rng.random_bool(0.12) {
            sleep(Duration::from_millis(rng.random_range(0..5_000))).await;
            self.cancel(id, &mut rng).await;
        }
    }

    /// Places an order under the key of its reference, and returns its id.
    async fn place(&self, reference: &str, order: &NewOrder, rng: &mut ChaCha8Rng) -> Option<Uuid> {
        let (status, body) = self.until_answered("/v1/orders", Some(reference), order, rng).await;
        if status != StatusCode::CREATED {
            self.ledger.complain(format!("the placement of {reference} was answered {status}: {body}"));
            return None;
        }
        let id: Uuid = body["id"].as_str().unwrap().parse().unwrap();
        self.ledger.receipt(reference, id, Receipt { merchant: self.id, reference: reference.to_owned() });
        self.told(id, &body, "receipt");
        Some(id)
    }

    async fn cancel(&self, id: Uuid, rng: &mut ChaCha8Rng) {
        let body = CancelOrder { reason: "the guest left".into(), expected_version: None };
        let (status, body) = self.until_answered(&format!("/v1/orders/{id}/cancel"), None, &body, rng).await;
        match (status, body["code"].as_str()) {
            (StatusCode::OK, _) => {
                self.ledger.count("cancelled");
                self.told(id, &body, "cancel");
            }
            (StatusCode::CONFLICT, Some("order_ended" | "picked_up")) => self.ledger.count("cancelled too late"),
            // The city forgets ended orders after a while.
            _ => self.ledger.complain(format!("the cancellation of {id} was answered {status}: {body}")),
        }
    }

    fn told(&self, order: Uuid, body: &Value, by: &'static str) {
        let status = body["status"].as_str().unwrap_or_default().to_owned();
        let version = body["version"].as_i64().and_then(|version| i32::try_from(version).ok());
        self.ledger.told(Told { order, status, version, holder: None, by });
    }

    /// Repeats a request until it has an answer that will not change.
    async fn until_answered(
        &self,
        path: &str,
        key: Option<&str>,
        body: &impl serde::Serialize,
        rng: &mut ChaCha8Rng,
    ) -> (StatusCode, Value) {
        let (first, token) = (Instant::now(), token("merchant", &self.id.to_string()));
        for tries in 1.. {
            if let Some((status, answer)) = self.rest.post(path, &token, key, body).await {
                let again = matches!(answer["code"].as_str(), Some("order_busy" | "version_conflict"));
                if !status.is_server_error() && !again {
                    if tries > 1 {
                        self.ledger.waited(first);
                        self.ledger.count("requests repeated by merchants");
                    }
                    return (status, answer);
                }
                let code = answer["code"].as_str().unwrap_or("no code").to_owned();
                self.ledger.count(&format!("{} to merchants", code));
                if code == "internal_error" || code == "no code" {
                    self.ledger.complain(format!("{path} was answered {status}: {answer}"));
                }
            }
            sleep(Duration::from_millis(rng.random_range(100..400))).await;
        }
        unreachable!("it tries for ever")
    }
}

fn new_order(reference: &str, rng: &mut ChaCha8Rng) -> NewOrder {
    let mut near = |place: &PlaceBody| PlaceBody {
        lat: place.lat + rng.random_range(-0.005..0.005),
        lon: place.lon + rng.random_range(-0.005..0.005),
        hint: None,
    };
    let order = world::order(CITY);
    let (pickup, drop) = (near(&order.pickup), near(&order.drop));
    let cash = rng.random_bool(0.3).then(|| rng.random_range(1_000..90_000));
    NewOrder { external_ref: Some(reference.to_owned()), pickup, drop, cash_to_collect_minor: cash, ..order }
}

//! A small world to dispatch in: a city, a merchant, riders and orders, made over REST as their owners would.

use dispatch_engine::wire::{
    LatLon, PlaceBody,
    rest::{NewCity, NewMerchant, NewOrder, NewRider},
};
use reqwest::{Method, StatusCode};
use serde_json::{Value, json};
use uuid::Uuid;

use super::{
    TestApp,
    client::{Answer, answer},
    token,
};

/// Where goods are fetched.
pub const KITCHEN: LatLon = LatLon { lat: 12.9716, lon: 77.5946 };
/// Where they go: about 1.4 km away.
pub const DOOR: LatLon = LatLon { lat: 12.9816, lon: 77.6026 };
/// Outside the city.
pub const ELSEWHERE: LatLon = LatLon { lat: 18.52, lon: 73.85 };

/// Changes to a policy with which every point is taken and stored: some clients of the tests jump between places, and ping
/// many times a second.
pub fn every_point() -> Value {
    json!({ "pings": { "jump_slack_m": 100_000, "max_per_s": 100, "idle_store_every_s": 0 } })
}

impl TestApp {
    /// A city around the kitchen and the door, with changes to its policy.
    pub async fn city(&self, code: &str, policy: Value) -> Answer {
        let corners = [(12.90, 77.52), (12.90, 77.68), (13.05, 77.68), (13.05, 77.52)];
        let body = NewCity {
            code: code.into(),
            name: "Bengaluru".into(),
            status: None,
            boundary: corners.map(|(lat, lon)| LatLon { lat, lon }).to_vec(),
            time_zone: "Asia/Kolkata".into(),
            day_cutover_min: 240,
            currency: "INR".into(),
            policy,
            pay_base_minor: None,
            pay_per_km_minor: None,
        };
        let made = self.post("/v1/cities", &body).await;
        assert!(made.status.is_success(), "{made:?}");
        made
    }

    /// A merchant's id.
    pub async fn merchant(&self) -> Uuid {
        let made = self.post("/v1/merchants", &NewMerchant { name: "Dosa Corner".into() }).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        made.body["id"].as_str().unwrap().parse().unwrap()
    }

    /// The id of a rider who may work.
    pub async fn rider(&self, city: &str) -> Uuid {
        let digits = Uuid::new_v4().as_u128() % 1_000_000_000;
        let body = NewRider {
            name: "Ravi".into(),
            mobile: format!("+919{digits:09}"),
            city: city.into(),
            vehicle: "motorcycle".into(),
            capacity_units: None,
            tags: vec![],
            kyc_status: Some("APPROVED".into()),
        };
        let made = self.post("/v1/riders", &body).await;
        assert_eq!(made.status, StatusCode::CREATED, "{made:?}");
        made.body["id"].as_str().unwrap().parse().unwrap()
    }

    /// Places an order under a key of its own.
    pub async fn place(&self, merchant: Uuid, order: &NewOrder) -> Answer {
        self.place_under(merchant, order, &Uuid::new_v4().to_string()).await
    }

    /// Places an order under a given idempotency key.
    pub async fn place_under(&self, merchant: Uuid, order: &NewOrder, key: &str) -> Answer {
        let token = token("merchant", &merchant.to_string());
        answer(self.request(Method::POST, "/v1/orders", &token).header("Idempotency-Key", key).json(order)).await
    }

    /// The stored order with its events.
    pub async fn order(&self, id: Uuid) -> Value {
        let found = self.get(&format!("/v1/orders/{id}")).await;
        assert_eq!(found.status, StatusCode::OK, "{found:?}");
        found.body
    }

    /// Fails unless the stored rows keep every promise.
    pub async fn assert_consistent(&self) {
        let checks = dispatch_engine::store::checks::run(self.db()).await.unwrap();
        let broken: Vec<_> = checks.iter().filter(|check| check.broken != 0).collect();
        assert!(broken.is_empty(), "{broken:?}");
    }
}

/// An order from the kitchen to the door, ready now.
pub fn order(city: &str) -> NewOrder {
    let place = |at: LatLon| PlaceBody { lat: at.lat, lon: at.lon, hint: None };
    NewOrder {
        city: city.into(),
        merchant_id: None,
        external_ref: Some(Uuid::new_v4().to_string()),
        store: Some("main street".into()),
        pickup: place(KITCHEN),
        drop: place(DOOR),
        ready_at: None,
        promise_at: None,
        dispatch_at: None,
        size_units: None,
        vehicle_need: None,
        needs_tags: vec![],
        cash_to_collect_minor: None,
        contact: None,
        metadata: json!({ "basket": 2 }).as_object().unwrap().clone(),
        drop_otp: None,
    }
}

/// The id in a receipt.
pub fn id_of(receipt: &Answer) -> Uuid {
    receipt.body["id"].as_str().unwrap_or_else(|| panic!("no receipt: {receipt:?}")).parse().unwrap()
}

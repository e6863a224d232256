//! What must be there before anything can go wrong: a city, merchants, riders; made over REST.

use dispatch_engine::wire::{
    LatLon,
    rest::{NewCity, NewMerchant, NewRider},
};
use serde_json::Value;
use uuid::Uuid;

use crate::{rest::Rest, support::token};

fn admin() -> String {
    token("admin", "tests")
}

fn id(made: &Value) -> Uuid {
    made["id"].as_str().unwrap().parse().unwrap()
}

/// A city with changes to the usual policy.
pub async fn city(rest: &Rest, code: &str, policy: Value) {
    let corners = [(12.90, 77.52), (12.90, 77.68), (13.05, 77.68), (13.05, 77.52)];
    let city = NewCity {
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
    rest.make("/v1/cities", &admin(), &city).await;
}

/// So many merchants.
pub async fn merchants(rest: &Rest, count: usize) -> Vec<Uuid> {
    let mut merchants = Vec::new();
    for number in 0..count {
        let merchant = NewMerchant { name: format!("Kitchen {number}") };
        merchants.push(id(&rest.make("/v1/merchants", &admin(), &merchant).await));
    }
    merchants
}

/// So many riders of a city, who may work.
pub async fn riders(rest: &Rest, city: &str, count: usize) -> Vec<Uuid> {
    let mut riders = Vec::new();
    for number in 0..count {
        let rider = NewRider {
            name: format!("Rider {number}"),
            mobile: format!("+91900000{number:04}"),
            city: city.into(),
            vehicle: "motorcycle".into(),
            capacity_units: None,
            tags: vec![],
            kyc_status: Some("APPROVED".into()),
        };
        riders.push(id(&rest.make("/v1/riders", &admin(), &rider).await));
    }
    riders
}

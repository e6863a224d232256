//! What the tests of devices have in common: a place and a job.

use dispatch_engine::{
    replay::geometry::offset,
    wire::{
        LatLon, MoneyBody, PlaceBody,
        rider::{Job, JobOrder, Stop},
    },
};
use uuid::Uuid;

/// Where the tests take place.
pub const HERE: LatLon = LatLon { lat: 12.97, lon: 77.59 };

/// A job of one order, 600 m to the pickup and 1,200 m on to the drop.
pub fn job(status: &str, version: i32) -> Job {
    let order = Uuid::from_u128(1);
    let stop = |kind: &str, east: f64| Stop {
        kind: kind.into(),
        order,
        place: PlaceBody { lat: HERE.lat, lon: offset(HERE, 0.0, east).lon, hint: None },
        at: 0,
    };
    let stops = match status {
        "assigned" | "at_pickup" => vec![stop("pickup", 600.0), stop("drop", 1_800.0)],
        "returning" => vec![stop("return", 600.0)],
        _ => vec![stop("drop", 1_800.0)],
    };
    let order = JobOrder {
        order,
        status: status.into(),
        version,
        merchant: Uuid::nil(),
        external_ref: None,
        store: None,
        ready_at: 900_000,
        promise_at: 3_000_000,
        cash_to_collect: MoneyBody { minor: 0, currency: "INR".into() },
        needs_otp: false,
    };
    Job { job: Uuid::from_u128(5), orders: vec![order], stops }
}

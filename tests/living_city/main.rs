//! The whole engine over real sockets and a real PostgreSQL, built as production builds it.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod cities_apart;
mod explain;
mod fleet;
mod frames;
mod life;
mod moved;
mod operations;
mod operators;
mod pings;
mod positions;
mod restart;
mod stop;
mod storage;
mod storm;

use serde_json::json;
use support::{
    TestApp,
    device::Device,
    spawn_app,
    world::{KITCHEN, id_of, order},
};
use uuid::Uuid;

/// A running city, a merchant, a rider on duty, and the merchant's order that the rider has just taken.
async fn order_in_hand() -> (TestApp, Uuid, Device, Uuid) {
    let app = spawn_app().await;
    app.city("blr", json!({})).await;
    let merchant = app.merchant().await;
    let mut device = Device::on_duty(&app, "blr", KITCHEN).await;
    let order = id_of(&app.place(merchant, &order("blr")).await);
    device.take_offer().await;
    (app, merchant, device, order)
}

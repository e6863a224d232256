//! Devices are told how often to ping: by what their riders do, and by how pressed the engine is.

use std::time::Duration;

use dispatch_engine::{
    actors::{city::PingRules, rider_session::Options},
    clock::Clock,
    domain::{
        ids::{JobId, OfferId},
        money::{Currency, Money},
        order::OfferState,
        policy::PingPolicy,
    },
    engine::{
        effect::Notice,
        view::{JobView, OfferView},
    },
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::{played_city::Stage, rider_sockets::Device, support::until};

/// Slower is told without waiting, so that no test has to.
fn options() -> Options {
    Options { slower_after_ms: 0, pressure_beat_ms: 5, pressure_calm_ms: 5, ..Options::default() }
}

fn rules(still_after_s: u32) -> PingRules {
    PingRules { pings: PingPolicy { still_after_s, ..PingPolicy::default() }, ..PingRules::default() }
}

fn offer(id: OfferId) -> Notice {
    Notice::Offer(Box::new(OfferView {
        offer: id,
        job: JobView { job: JobId(id.0), orders: vec![], stops: vec![] },
        expires_in_ms: 30_000,
        pickup_eta: Duration::from_secs(60),
        pickup_distance_m: 300.0,
        payout: Money { minor: 3_500, currency: Currency::INR },
    }))
}

async fn ping(device: &mut Device, seq: u64, lat: f64) {
    let point = json!({"seq": seq, "at": Clock::wall().as_millis(), "lat": lat, "lon": 77.5});
    device.send(json!({"type": "pings", "pings": [point]})).await;
}

/// The next interval that the device is told, acks left aside.
async fn told(device: &mut Device) -> Value {
    loop {
        let frame = device.next().await;
        match frame["type"].as_str() {
            Some("ping_interval") => return frame["ms"].clone(),
            Some("pings_ack" | "offer" | "offer_closed" | "duty_changed") => {}
            other => panic!("{other:?}: {frame}"),
        }
    }
}

#[actix_web::test]
async fn an_open_offer_is_followed_closely_and_a_rider_at_rest_is_not() {
    let stage = Stage::with(options()).await;
    stage.rules.show(rules(3_600));
    let rider = stage.rider().await;
    let mut device = Device::connect(&stage, rider).await;
    device.hello().await;
    assert_eq!(device.next().await["ping_interval_ms"], 5_000);
    let outbox = stage.seen().riders[&rider].clone();

    let id = OfferId(Uuid::new_v4());
    outbox.deliver(offer(id));
    assert_eq!(told(&mut device).await, 3_000);
    outbox.deliver(Notice::OfferClosed { offer: id, state: OfferState::Expired, why: "" });
    assert_eq!(told(&mut device).await, 5_000);

    // The city changes its mind about who stands still: sessions follow without a new connection.
    ping(&mut device, 1, 12.9).await;
    stage.rules.show(rules(0));
    ping(&mut device, 2, 12.9).await;
    assert_eq!(told(&mut device).await, 15_000);
    stage.rules.show(PingRules { ping_interval_s: 2, ..rules(3_600) });
    ping(&mut device, 3, 12.9).await;
    assert_eq!(told(&mut device).await, 2_000);
    device.send(json!({"type": "duty", "id": "b", "state": "break"})).await;
    assert_eq!(told(&mut device).await, 15_000);
}

#[actix_web::test]
async fn pressure_slows_everybody_down_and_ends() {
    let stage = Stage::with(options()).await;
    stage.rules.show(rules(3_600));
    let mut devices = Vec::new();
    for _ in 0..3 {
        let rider = stage.rider().await;
        devices.push((rider, Device::live(&stage, rider).await));
    }
    let level = |level: u8| {
        let (metrics, line) = (stage.metrics.clone(), format!("dispatch_ping_pressure {level}"));
        move || metrics.render().unwrap().lines().any(|shown| shown == line).then_some(())
    };
    let queue: Vec<_> = std::iter::from_fn(|| stage.gate.enter()).collect();
    until("the city's queue is full", level(3)).await;
    // Each notices when its own frame comes, and who is asked still reports more often than the others.
    for (_, device) in &mut devices {
        ping(device, 1, 12.0).await;
        assert_eq!(told(device).await, 20_000);
    }
    let asked = devices[1].0;
    let outbox = stage.seen().riders[&asked].clone();
    outbox.deliver(offer(OfferId(Uuid::new_v4())));
    assert_eq!(told(&mut devices[1].1).await, 12_000);

    drop(queue);
    until("it is calm again", level(0)).await;
    for (rider, device) in &mut devices {
        ping(device, 2, 12.5).await;
        assert_eq!(told(device).await, if *rider == asked { 3_000 } else { 5_000 });
    }
    let figures = stage.metrics.render().unwrap();
    for changes in [r#"{to="slower"} 3"#, r#"{to="faster"} 4"#] {
        assert!(figures.contains(&format!("dispatch_ping_interval_changes_total{changes}")), "{figures}");
    }
}

//! The way of the points from sockets to a city that does not keep up, and to the log.

use dispatch_engine::{
    actors::{gate::Permit, order_journal, rider_session::Options},
    clock::Clock,
    domain::{city::CityStatus, ids::RiderId},
};
use serde_json::json;

use crate::{
    bed::{Bed, at},
    played_city::{Seen, Stage},
    rider_sockets::Device,
    support::until,
};

/// A device that sends one point per frame.
struct Sender {
    device: Device,
    rider: RiderId,
    seq: u64,
}

impl Sender {
    async fn live(stage: &Stage) -> Self {
        let rider = stage.rider().await;
        Self { device: Device::live(stage, rider).await, rider, seq: 0 }
    }

    /// Sends a point at a latitude and waits until it is stored.
    async fn stored(&mut self, lat: f64) {
        self.seq += 1;
        let point = json!({"seq": self.seq, "at": Clock::wall().as_millis(), "lat": lat, "lon": 77.5});
        self.device.send(json!({"type": "pings", "pings": [point]})).await;
        while self.device.next().await["stored_to"].as_u64() != Some(self.seq) {}
    }

    /// The positions that a city saw of the rider.
    fn in_city(&self, seen: &Seen) -> Vec<f64> {
        seen.fixes.iter().filter(|fix| fix.rider == self.rider).map(|fix| fix.position.lat()).collect()
    }
}

/// All places in the city's queue.
fn fill(stage: &Stage) -> Vec<Permit> {
    std::iter::from_fn(|| stage.gate.enter()).collect()
}

fn options() -> Options {
    // Nobody is slowed down here.
    let steady = [1.0; 3];
    Options { ack_every_ms: 10, lane_flush_ms: 1, pressure_factors: steady, ..Options::default() }
}

fn figure(stage: &Stage, name: &str) -> i64 {
    let figures = stage.metrics.render().unwrap();
    let line = figures.lines().find_map(|line| line.strip_prefix(name)).unwrap_or_else(|| panic!("{name}: {figures}"));
    line.trim().parse().unwrap()
}

fn dropped(stage: &Stage, reason: &str) -> i64 {
    figure(stage, &format!("dispatch_ping_lane_dropped_total{{reason=\"{reason}\"}}"))
}

#[actix_web::test]
async fn a_full_city_gets_the_newest_position_per_rider_and_the_log_gets_everything() {
    let stage = Stage::with(options()).await;
    let (mut one, mut two) = (Sender::live(&stage).await, Sender::live(&stage).await);
    let queue = fill(&stage);
    for lat in [12.1, 12.2, 12.3] {
        one.stored(lat).await;
    }
    two.stored(12.4).await;
    assert!(stage.seen().fixes.is_empty(), "there was no room");
    let waits = || (dropped(&stage, "superseded"), figure(&stage, "dispatch_ping_lane_depth")) == (2, 2);
    until("the newest wait", || waits().then_some(())).await;

    drop(queue);
    stage.until("both positions", |seen| seen.fixes.len() == 2).await;
    assert_eq!(one.in_city(&stage.seen()), [12.3]);
    assert_eq!(two.in_city(&stage.seen()), [12.4]);
    until("nothing waits", || (figure(&stage, "dispatch_ping_lane_depth") == 0).then_some(())).await;
    one.stored(12.5).await;
    stage.until("the next position", |seen| one.in_city(seen) == [12.3, 12.5]).await;
    assert_eq!((dropped(&stage, "superseded"), dropped(&stage, "city_gone")), (2, 0));
    assert_eq!(figure(&stage, "dispatch_location_log_stored_total"), 5);
}

#[actix_web::test]
async fn only_so_many_positions_wait_for_a_full_city() {
    let stage = Stage::with(Options { lane_keep: 1, ..options() }).await;
    let (mut one, mut two) = (Sender::live(&stage).await, Sender::live(&stage).await);
    let queue = fill(&stage);
    one.stored(12.1).await;
    two.stored(12.2).await;
    one.stored(12.3).await;
    let counted = || (dropped(&stage, "overflow"), dropped(&stage, "superseded")) == (1, 1);
    until("both are counted", || counted().then_some(())).await;
    drop(queue);
    stage.until("the position that waited", |seen| !seen.fixes.is_empty()).await;
    assert_eq!(one.in_city(&stage.seen()), [12.3]);
    assert!(two.in_city(&stage.seen()).is_empty());
}

#[actix_web::test]
async fn positions_for_a_city_that_is_gone_are_counted_and_stored() {
    let stage = Stage::with(options()).await;
    let mut sender = Sender::live(&stage).await;
    let queue = fill(&stage);
    sender.stored(12.1).await;
    stage.end_city(None);
    until("the position is given up", || (dropped(&stage, "city_gone") == 1).then_some(())).await;
    assert_eq!(figure(&stage, "dispatch_ping_lane_depth"), 0);
    drop(queue);
}

#[actix_web::test]
async fn the_way_of_a_frame_is_measured() {
    let stage = Stage::with(options()).await;
    let mut sender = Sender::live(&stage).await;
    for lat in [12.1, 12.2] {
        sender.stored(lat).await;
    }
    stage.until("both positions", |seen| seen.fixes.len() == 2).await;
    until("both measured", || (figure(&stage, "dispatch_ping_lane_seconds_count") == 2).then_some(())).await;
    assert_eq!(figure(&stage, "dispatch_ping_lane_points_count"), 2);

    // The other end of the way is the index of a real city; the one above is played.
    let bed = Bed::new(CityStatus::Live, order_journal::Options::default()).await;
    let rider = bed.rider(at(18.52, 73.85)).await;
    bed.ping(&rider);
    let measured = || bed.metrics.render().unwrap().contains("dispatch_ping_to_index_seconds_count 2");
    until("two batches in the index", || measured().then_some(())).await;
    bed.stop().await;
}

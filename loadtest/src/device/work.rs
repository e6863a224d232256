//! What a rider does for the job in hand: which step comes next, where it happens and when. Pure. The job as the engine
//! last told it is all that counts, so that a device resumes from `welcome` as from anywhere else.

use dispatch_engine::wire::{
    LatLon,
    rider::{Job, JobOrder},
};
use rand::{Rng, RngExt};
use uuid::Uuid;

use super::motion::Motion;
use crate::cli::Manners;

/// Share of drops at which the device has no network on arrival and reports the delivery alone.
const NO_NETWORK_AT_DOOR: f64 = 0.02;

/// Share of failed attempts after which the rider tries again; the others go back.
const RETRIES: f64 = 0.6;

/// The step that comes next.
#[derive(Clone, Debug, PartialEq)]
pub struct NextStep {
    /// Of which order.
    pub order: Uuid,
    /// The status from which it was planned; a new status makes a new plan.
    pub from: String,
    /// Its name on the wire.
    pub step: &'static str,
    /// When the rider reports it.
    pub at: i64,
    /// Why, where the wire asks for it.
    pub reason: Option<&'static str>,
    /// At a pickup: when the rider is ready to take the goods, if they are.
    hands_free: i64,
    /// At a pickup: time from the goods being ready to their being in the bag.
    packing: i64,
}

/// The order that the job goes on with.
pub fn current(job: &Job) -> Option<&JobOrder> {
    let order = job.stops.first().map(|stop| stop.order);
    job.orders.iter().find(|o| order.is_none_or(|order| o.order == order))
}

/// Plans the next step of a job and sets the rider moving. `failed` tells whether an attempt has failed before. `None`
/// when the engine has to move first.
pub fn plan<R: Rng>(
    job: &Job,
    failed: bool,
    now: i64,
    manners: &Manners,
    motion: &mut Motion,
    rng: &mut R,
) -> Option<NextStep> {
    let order = current(job)?;
    let mut seconds = |from: i64, to: i64| rng.random_range(from * 1_000..to * 1_000);
    let (service, waiting, packing) = (seconds(30, 120), seconds(120, 300), seconds(10, 40));
    let place = job.stops.first().map(|stop| LatLon { lat: stop.place.lat, lon: stop.place.lon });
    let mut hands_free = now;
    let mut travel = |rng: &mut R| match place {
        Some(to) if motion.heads_for() == to => motion.arrives().max(now),
        Some(to) => motion.go(now, to, 1.0, rng),
        None => now,
    };
    let (step, at, reason) = match order.status.as_str() {
        "assigned" => ("at_pickup", travel(rng), None),
        "at_pickup" => {
            hands_free = now + service;
            ("picked_up", hands_free.max(order.ready_at + packing), None)
        }
        "picked_up" => {
            let arrival = travel(rng);
            if rng.random_bool(manners.breakdown) {
                ("handover", now + (arrival - now) / 2, Some("vehicle broke down"))
            } else if rng.random_bool(NO_NETWORK_AT_DOOR) {
                ("delivered", arrival + service, None)
            } else {
                ("at_dropoff", arrival, None)
            }
        }
        "at_dropoff" if !failed && rng.random_bool(manners.fail) => {
            ("attempt_failed", now + waiting, Some("nobody at the door"))
        }
        "at_dropoff" => ("delivered", now + service, None),
        "attempt_failed" if rng.random_bool(RETRIES) => ("at_dropoff", now + waiting, None),
        "attempt_failed" => ("returning", now + service, Some("recipient cannot be reached")),
        "returning" => ("returned", travel(rng) + service, Some("brought back")),
        _ => return None,
    };
    Some(NextStep { order: order.order, from: order.status.clone(), step, at, reason, hands_free, packing })
}

impl NextStep {
    /// Whether it was planned for this order as it still stands.
    pub fn fits(&self, order: &JobOrder) -> bool {
        self.order == order.order && self.from == order.status
    }

    /// The goods will be ready at another time.
    pub fn ready_changed(&mut self, ready_at: i64) {
        if self.step == "picked_up" {
            self.at = self.hands_free.max(ready_at + self.packing);
        }
    }
}

#[cfg(test)]
pub mod tests {
    use clap::Parser;
    use dispatch_engine::wire::{MoneyBody, PlaceBody, rider::Stop};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::{
        area::offset,
        cli::{Cli, Mode},
        device::motion::Vehicle,
    };

    /// Where the tests take place.
    pub const HERE: LatLon = LatLon { lat: 12.97, lon: 77.59 };

    /// The default manners without anything that goes wrong.
    pub fn good_manners() -> Manners {
        let line = "x synthetic --url u --jwt-secret s --city c --riders 1 --orders-per-second 1 --accept 1 --decline 0 \
                    --ignore 0 --dropout-per-hour 0 --breaks-per-hour 0 --fail 0 --breakdown 0 --twice 0 --liars 0";
        let Mode::Synthetic(run) = Cli::parse_from(line.split_whitespace()).mode else { panic!("wrong mode") };
        run.manners
    }

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
        };
        Job { job: Uuid::from_u128(5), orders: vec![order], stops }
    }

    fn next(status: &str, now: i64, motion: &mut Motion) -> Option<NextStep> {
        plan(&job(status, 1), false, now, &good_manners(), motion, &mut ChaCha8Rng::seed_from_u64(1))
    }

    #[test]
    fn a_delivery_goes_through_its_stops() {
        let mut motion = Motion::standing(HERE, Vehicle::Motorcycle, 1.4);
        let arrive = next("assigned", 0, &mut motion).unwrap();
        assert_eq!((arrive.step, arrive.at), ("at_pickup", motion.arrives()));
        assert!((100_000..170_000).contains(&arrive.at));
        let mut take = next("at_pickup", arrive.at, &mut motion).unwrap();
        assert!(take.step == "picked_up" && take.at >= 900_000, "waits until the goods are ready");
        take.ready_changed(2_000_000);
        assert!(take.at >= 2_000_000);
        take.ready_changed(0);
        assert!(take.at >= arrive.at + 30_000 && take.at < 300_000, "but no longer than that");
        let go = next("picked_up", 1_000_000, &mut motion).unwrap();
        assert!(matches!(go.step, "at_dropoff" | "delivered") && go.at > 1_200_000);
        assert_eq!(next("at_dropoff", go.at, &mut motion).unwrap().step, "delivered");
        assert_eq!(next("delivered", go.at, &mut motion), None);
    }

    #[test]
    fn what_cannot_be_delivered_goes_back() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let mut motion = Motion::standing(offset(HERE, 0.0, 1_800.0), Vehicle::Motorcycle, 1.4);
        let manners = Manners { fail: 1.0, breakdown: 1.0, ..good_manners() };
        let mut next = |status, failed| plan(&job(status, 1), failed, 0, &manners, &mut motion, &mut rng).unwrap();
        let failed = next("at_dropoff", false);
        assert_eq!((failed.step, failed.reason.is_some()), ("attempt_failed", true));
        assert_eq!(next("at_dropoff", true).step, "delivered");
        assert!(matches!(next("attempt_failed", true).step, "at_dropoff" | "returning"));
        assert_eq!(next("returning", true).step, "returned");
        assert_eq!(next("picked_up", false).step, "handover");
    }
}

//! What a rider does for the order in hand: which step comes next, where it happens and when. Pure. The order as the
//! engine last told it is all that counts, so that a device resumes from `welcome` as from anywhere else.

use std::ops::Range;

use rand::{Rng, RngExt};
use uuid::Uuid;

use super::{manners::Manners, motion::Motion};
use crate::{
    domain::order::{OrderStatus, Step},
    wire::LatLon,
};

/// Share of drops at which the device has no network on arrival and reports the delivery alone.
const NO_NETWORK_AT_DOOR: f64 = 0.02;

/// Share of failed attempts after which the rider tries again; the others go back.
const RETRIES: f64 = 0.6;

/// Time that goods or people take at a counter or a door, seconds.
const SERVICE_S: Range<i64> = 30..120;

/// Time for which a rider waits for a recipient who is not met, seconds.
const WAITING_S: Range<i64> = 120..300;

/// Time from the goods being ready to their being in the bag, seconds.
const PACKING_S: Range<i64> = 10..40;

/// The order in hand, as the engine last told it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Task {
    /// Which.
    pub order: Uuid,
    /// Where it stands.
    pub status: OrderStatus,
    /// Where the next stop is; absent when the engine has to say first.
    pub place: Option<LatLon>,
    /// When the goods are ready.
    pub ready_at: i64,
    /// Whether an attempt has failed before.
    pub failed: bool,
}

/// The step that comes next.
#[derive(Clone, Debug, PartialEq)]
pub struct NextStep {
    /// Of which order.
    pub order: Uuid,
    /// The status from which it was planned; a new status makes a new plan.
    pub from: OrderStatus,
    /// What the rider reports.
    pub step: Step,
    /// When the rider reports it.
    pub at: i64,
    /// Why, where the wire asks for it.
    pub reason: Option<&'static str>,
    /// At a pickup: when the rider is ready to take the goods, if they are.
    hands_free: i64,
    /// At a pickup: time from the goods being ready to their being in the bag.
    packing: i64,
}

/// Plans the next step of a task and sets the rider moving. `None` when the engine has to move first.
pub fn plan<R: Rng>(task: &Task, now: i64, manners: &Manners, motion: &mut Motion, rng: &mut R) -> Option<NextStep> {
    use OrderStatus as S;
    let mut millis = |seconds: Range<i64>| rng.random_range(seconds.start * 1_000..seconds.end * 1_000);
    let (service, waiting, packing) = (millis(SERVICE_S), millis(WAITING_S), millis(PACKING_S));
    let mut hands_free = now;
    let mut travel = |rng: &mut R| match task.place {
        Some(to) if motion.heads_for() == to => motion.arrives().max(now),
        Some(to) => motion.go(now, to, 1.0, rng),
        None => now,
    };
    let (step, at, reason) = match task.status {
        S::Assigned => (Step::AtPickup, travel(rng), None),
        S::AtPickup => {
            hands_free = now + service;
            (Step::PickedUp, hands_free.max(task.ready_at + packing), None)
        }
        S::PickedUp => {
            let arrival = travel(rng);
            if rng.random_bool(manners.breakdown) {
                (Step::Handover, now + (arrival - now) / 2, Some("vehicle broke down"))
            } else if rng.random_bool(NO_NETWORK_AT_DOOR) {
                (Step::Delivered, arrival + service, None)
            } else {
                (Step::AtDropoff, arrival, None)
            }
        }
        S::AtDropoff if !task.failed && rng.random_bool(manners.fail) => {
            (Step::AttemptFailed, now + waiting, Some("nobody at the door"))
        }
        S::AtDropoff => (Step::Delivered, now + service, None),
        S::AttemptFailed if rng.random_bool(RETRIES) => (Step::AtDropoff, now + waiting, None),
        S::AttemptFailed => (Step::Returning, now + service, Some("recipient cannot be reached")),
        S::Returning => (Step::Returned, travel(rng) + service, Some("brought back")),
        _ => return None,
    };
    Some(NextStep { order: task.order, from: task.status, step, at, reason, hands_free, packing })
}

impl NextStep {
    /// Whether it was planned for this task as it still stands.
    #[must_use]
    pub fn fits(&self, task: &Task) -> bool {
        self.order == task.order && self.from == task.status
    }

    /// The goods will be ready at another time.
    pub fn ready_changed(&mut self, ready_at: i64) {
        if self.step == Step::PickedUp {
            self.at = self.hands_free.max(ready_at + self.packing);
        }
    }
}

#[cfg(test)]
mod tests {
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;
    use crate::{domain::rider::Vehicle, replay::geometry::offset};

    const HERE: LatLon = LatLon { lat: 12.97, lon: 77.59 };

    /// 600 m to the pickup and 1,200 m on to the drop.
    fn next(status: OrderStatus, failed: bool, manners: &Manners, now: i64, motion: &mut Motion) -> Option<NextStep> {
        let east = if matches!(status, OrderStatus::Assigned | OrderStatus::AtPickup) { 600.0 } else { 1_800.0 };
        let task =
            Task { order: Uuid::from_u128(1), status, place: Some(offset(HERE, 0.0, east)), ready_at: 900_000, failed };
        plan(&task, now, manners, motion, &mut ChaCha8Rng::seed_from_u64(1))
    }

    #[test]
    fn a_delivery_goes_through_its_stops() {
        let manners = Manners::flawless();
        let mut motion = Motion::standing(HERE, Vehicle::Motorcycle, 1.4);
        let arrive = next(OrderStatus::Assigned, false, &manners, 0, &mut motion).unwrap();
        assert_eq!((arrive.step, arrive.at), (Step::AtPickup, motion.arrives()));
        assert!((100_000..170_000).contains(&arrive.at));
        let mut take = next(OrderStatus::AtPickup, false, &manners, arrive.at, &mut motion).unwrap();
        assert!(take.step == Step::PickedUp && take.at >= 900_000, "waits until the goods are ready");
        take.ready_changed(2_000_000);
        assert!(take.at >= 2_000_000);
        take.ready_changed(0);
        assert!(take.at >= arrive.at + 30_000 && take.at < 300_000, "but no longer than that");
        let go = next(OrderStatus::PickedUp, false, &manners, 1_000_000, &mut motion).unwrap();
        assert!(matches!(go.step, Step::AtDropoff | Step::Delivered) && go.at > 1_200_000);
        let hand_over = next(OrderStatus::AtDropoff, false, &manners, go.at, &mut motion).unwrap();
        assert_eq!(hand_over.step, Step::Delivered);
        assert_eq!(next(OrderStatus::Delivered, false, &manners, go.at, &mut motion), None);
    }

    #[test]
    fn what_cannot_be_delivered_goes_back() {
        let mut motion = Motion::standing(offset(HERE, 0.0, 1_800.0), Vehicle::Motorcycle, 1.4);
        let manners = Manners { fail: 1.0, breakdown: 1.0, ..Manners::flawless() };
        let mut next = |status, failed| next(status, failed, &manners, 0, &mut motion).unwrap();
        let failed = next(OrderStatus::AtDropoff, false);
        assert_eq!((failed.step, failed.reason.is_some()), (Step::AttemptFailed, true));
        assert_eq!(next(OrderStatus::AtDropoff, true).step, Step::Delivered);
        let after = next(OrderStatus::AttemptFailed, true).step;
        assert!(matches!(after, Step::AtDropoff | Step::Returning));
        assert_eq!(next(OrderStatus::Returning, true).step, Step::Returned);
        assert_eq!(next(OrderStatus::PickedUp, false).step, Step::Handover);
    }
}

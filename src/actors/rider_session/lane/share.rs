//! What a lane holds for one city: the points since the last flush, and, while the city is full, the newest position of
//! each rider. Pure.

use std::{
    collections::{BTreeMap, btree_map::Entry},
    sync::Arc,
};

use tokio::time::Instant;

use crate::{
    actors::{
        city::live_fixes,
        location_log::{LogPoint, PointBatch},
    },
    domain::ids::RiderId,
    engine::command::Fix,
};

/// The share of one city.
#[derive(Debug, Default)]
pub struct Share {
    points: Vec<LogPoint>,
    /// When the frame of the first of them arrived.
    arrived: Option<Instant>,
    kept: BTreeMap<RiderId, Kept>,
}

#[derive(Clone, Copy, Debug)]
struct Kept {
    fix: Fix,
    arrived: Instant,
}

/// Positions that a city will not see.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Dropped {
    /// A newer one of the same rider came.
    pub superseded: usize,
    /// There was no room for another rider's.
    pub overflow: usize,
}

impl Share {
    /// Takes the points of one frame, in the order of their arrival.
    pub fn add(&mut self, arrived: Instant, points: Vec<LogPoint>) {
        self.points.extend(points);
        self.arrived.get_or_insert(arrived);
    }

    /// Takes out the points since the last time, and when the first of them arrived; `None` when there are none.
    pub fn batch(&mut self) -> Option<(PointBatch, Instant)> {
        let arrived = self.arrived.take()?;
        // The list keeps its memory for the next batch.
        let batch: Arc<[LogPoint]> = self.points.drain(..).collect();
        (!batch.is_empty()).then_some((PointBatch::from(batch), arrived))
    }

    /// How many riders' positions wait for the city.
    #[must_use]
    pub fn kept(&self) -> usize {
        self.kept.len()
    }

    /// When the oldest position that waits arrived.
    #[must_use]
    pub fn kept_since(&self) -> Option<Instant> {
        self.kept.values().map(|kept| kept.arrived).min()
    }

    /// Takes out what waits.
    pub fn take_kept(&mut self) -> Vec<Fix> {
        std::mem::take(&mut self.kept).into_values().map(|kept| kept.fix).collect()
    }

    /// The city could not take a batch: the newest position of each rider waits for the next try, those of `room` further
    /// riders at most.
    pub fn keep(&mut self, batch: &PointBatch, arrived: Instant, mut room: usize) -> Dropped {
        let mut dropped = Dropped::default();
        for fix in live_fixes(batch) {
            match self.kept.entry(fix.rider) {
                Entry::Occupied(mut kept) => {
                    dropped.superseded += 1;
                    // Two sessions of a rider may cross.
                    if fix.recorded_at >= kept.get().fix.recorded_at {
                        kept.insert(Kept { fix, arrived });
                    }
                }
                Entry::Vacant(free) if room > 0 => {
                    free.insert(Kept { fix, arrived });
                    room -= 1;
                }
                Entry::Vacant(_) => dropped.overflow += 1,
            }
        }
        dropped
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        actors::location_log::Track,
        domain::{
            ids::{BootId, CityCode, SessionId},
            position::Position,
            time::Timestamp,
        },
        store::location_logs::flags,
    };

    /// Frames of one live point each, as `(rider, recorded at)`.
    fn frames(frames: &[(u128, i64)]) -> Vec<LogPoint> {
        let point = |(rider, at): &(u128, i64)| {
            let city = CityCode::parse("blr").unwrap();
            let rider = RiderId(Uuid::from_u128(*rider));
            let track = Track::new(rider, city, BootId(Uuid::nil()), "d", 0, Timestamp::default());
            track.take_over(SessionId(1));
            let at = Timestamp::from_millis(*at);
            LogPoint {
                track: Arc::new(track),
                seq: 1,
                created_at: at,
                recorded_at: at,
                device_at: at,
                position: Position::new(1.0, 2.0).unwrap(),
                accuracy_m: None,
                speed_mps: None,
                heading_deg: None,
                flags: 0,
                store: true,
                dot: Some(Position::new(1.0, 2.0).unwrap()),
            }
        };
        frames.iter().map(point).collect()
    }

    fn kept(share: &mut Share) -> Vec<i64> {
        share.take_kept().iter().map(|fix| fix.recorded_at.as_millis()).collect()
    }

    #[test]
    fn a_batch_holds_what_came_since_the_last_one_in_its_order() {
        let (start, mut share) = (Instant::now(), Share::default());
        assert!(share.batch().is_none());
        share.add(start, frames(&[(1, 10), (2, 11)]));
        share.add(start + std::time::Duration::from_millis(3), frames(&[(1, 12)]));
        let (batch, arrived) = share.batch().unwrap();
        let times: Vec<_> = batch.iter().map(|point| point.recorded_at.as_millis()).collect();
        assert_eq!((times, arrived), (vec![10, 11, 12], start));
        assert!(share.batch().is_none() && share.take_kept().is_empty());
        // A frame whose points were all refused.
        share.add(start, vec![]);
        assert!(share.batch().is_none());
    }

    #[test]
    fn a_city_that_was_full_gets_the_newest_position_of_each_rider() {
        let (start, mut share) = (Instant::now(), Share::default());
        let later = start + std::time::Duration::from_millis(5);
        let batch = |frames_: &[(u128, i64)]| PointBatch::from(frames(frames_));
        let dropped = share.keep(&batch(&[(1, 10), (2, 11), (1, 12)]), start, 10);
        assert_eq!(dropped, Dropped { superseded: 1, overflow: 0 });
        assert_eq!((share.kept(), share.kept_since()), (2, Some(start)));
        // A newer batch, in which one position is older than what is kept.
        let dropped = share.keep(&batch(&[(1, 9), (2, 20)]), later, 10);
        assert_eq!((dropped.superseded, share.kept(), share.kept_since()), (2, 2, Some(start)));
        assert_eq!(kept(&mut share), [12, 20]);
        assert_eq!((share.kept(), share.kept_since()), (0, None));
    }

    #[test]
    fn what_waits_is_bounded_and_late_points_never_wait() {
        let (start, mut share) = (Instant::now(), Share::default());
        let mut points = frames(&[(1, 1), (2, 2), (3, 3), (1, 4)]);
        let mut late = frames(&[(4, 5)]);
        late[0].flags = flags::LATE;
        late[0].dot = None;
        points.extend(late);
        let dropped = share.keep(&PointBatch::from(points), start, 2);
        assert_eq!(dropped, Dropped { superseded: 1, overflow: 1 });
        assert_eq!(kept(&mut share), [4, 2]);
    }
}

//! What a lane hands a city: the batch that the location log has too, and what the city could not take before.

use std::sync::Arc;

use tokio::time::Instant;

use crate::{
    actors::location_log::{LogPoint, PointBatch},
    domain::position::Position,
    engine::command::Fix,
};

/// Live positions on their way from a lane to a city.
#[derive(Debug)]
pub struct LivePoints {
    /// From earlier batches, which found the city full: the newest position of each rider.
    pub kept: Vec<Fix>,
    /// The points of this batch.
    pub batch: PointBatch,
    /// When the frame of the oldest position arrived, real time.
    pub arrived: Instant,
}

impl LivePoints {
    /// The positions, oldest first.
    pub fn fixes(&self) -> impl Iterator<Item = Fix> {
        self.kept.iter().copied().chain(live_fixes(&self.batch))
    }
}

/// The live positions of a batch. Of points of one device that follow each other, as those of one frame do, only the last
/// one: the others are over before the city could look at them.
pub fn live_fixes(batch: &PointBatch) -> impl Iterator<Item = Fix> {
    let mut live = batch.iter().filter_map(|point| Some((point, point.dot?))).peekable();
    std::iter::from_fn(move || {
        loop {
            let (point, dot) = live.next()?;
            if live.peek().is_none_or(|(next, _)| !Arc::ptr_eq(&next.track, &point.track)) {
                return Some(fix(point, dot));
            }
        }
    })
}

fn fix(point: &LogPoint, dot: Position) -> Fix {
    Fix { rider: point.track.rider, session: point.track.session(), position: dot, recorded_at: point.recorded_at }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::{
        actors::location_log::Track,
        domain::{
            ids::{BootId, CityCode, RiderId, SessionId},
            time::Timestamp,
        },
        store::location_logs::flags,
    };

    fn here() -> Position {
        Position::new(1.0, 2.0).unwrap()
    }

    fn track(rider: u128) -> Arc<Track> {
        let city = CityCode::parse("blr").unwrap();
        let rider = RiderId(Uuid::from_u128(rider));
        let track = Track::new(rider, city, BootId(Uuid::nil()), "d", 0, Timestamp::default());
        track.take_over(SessionId(7));
        Arc::new(track)
    }

    fn point(track: &Arc<Track>, at: i64, flags: i16) -> LogPoint {
        let at = Timestamp::from_millis(at);
        LogPoint {
            track: track.clone(),
            seq: 1,
            created_at: at,
            recorded_at: at,
            device_at: at,
            position: here(),
            accuracy_m: None,
            speed_mps: None,
            heading_deg: None,
            flags,
            store: true,
            dot: (flags & flags::LATE == 0).then(here),
        }
    }

    #[test]
    fn a_city_sees_the_last_live_point_of_each_frame_after_what_was_kept() {
        let (one, two) = (track(1), track(2));
        let batch = PointBatch::from([
            point(&one, 10, 0),
            point(&one, 11, flags::MOCK),
            point(&one, 5, flags::LATE),
            point(&one, 12, 0),
            point(&two, 13, 0),
            point(&two, 3, flags::LATE),
            point(&one, 14, 0),
        ]);
        let kept = Fix { rider: two.rider, session: SessionId(7), ..fix(&point(&two, 9, 0), here()) };
        let points = LivePoints { kept: vec![kept], batch, arrived: Instant::now() };
        let seen: Vec<_> = points.fixes().map(|fix| (fix.rider, fix.recorded_at.as_millis())).collect();
        assert_eq!(seen, [(two.rider, 9), (one.rider, 12), (two.rider, 13), (one.rider, 14)]);
        assert!(points.fixes().all(|fix| fix.session == SessionId(7)));
        assert_eq!(live_fixes(&PointBatch::from([point(&one, 5, flags::LATE)])).count(), 0);
    }
}

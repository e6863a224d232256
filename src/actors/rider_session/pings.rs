//! Which points are let in: a verdict per point. Pure.

use std::{sync::Arc, time::Duration};

use crate::{
    actors::location_log::{LogPoint, Track},
    domain::{position::Position, time::Timestamp},
    store::location_logs::flags,
    wire::{
        codes,
        rider::{Ping, RefusedPing},
    },
};

/// What a point may be.
#[derive(Clone, Copy, Debug)]
pub struct PointLimits {
    /// How far ahead of the clock.
    pub ahead: Duration,
    /// How old.
    pub age: Duration,
}

/// The points of one frame, judged.
#[derive(Debug, Default)]
pub struct Judged {
    /// The newest live point, for the city.
    pub live: Option<(Position, Timestamp)>,
    /// Every accepted point, for the log.
    pub points: Vec<LogPoint>,
    /// How many of them were late.
    pub late: u64,
    /// Every refused point and why.
    pub refused: Vec<RefusedPing>,
    /// Numbers that were given up because there were too many gaps.
    pub given_up: u64,
}

/// Judges the points of one frame. `skew_ms` is what must be added to device time; `reporting` says whether the rider
/// has any business to report positions (on duty, on a break, or with an order in hand).
#[must_use]
pub fn judge(
    pings: &[Ping],
    now: Timestamp,
    skew_ms: i64,
    reporting: bool,
    limits: PointLimits,
    track: &Arc<Track>,
) -> Judged {
    let mut judged = Judged { points: Vec::with_capacity(pings.len()), ..Judged::default() };
    for ping in pings {
        match verdict(ping, now, skew_ms, reporting, limits, track) {
            Ok((position, recorded_at)) => {
                let late = recorded_at < track.live_at();
                if late {
                    judged.late += 1;
                } else {
                    judged.live = Some((position, recorded_at));
                }
                track.note_accepted(ping.seq, (!late).then_some(recorded_at));
                judged.points.push(LogPoint {
                    track: track.clone(),
                    seq: ping.seq,
                    created_at: now,
                    recorded_at,
                    device_at: Timestamp::from_millis(ping.at),
                    position,
                    accuracy_m: ping.accuracy_m.filter(|metres| metres.is_finite() && *metres >= 0.0),
                    speed_mps: ping.speed_mps.filter(|speed| speed.is_finite() && *speed >= 0.0),
                    heading_deg: ping.heading_deg.filter(|degrees| (0.0..=360.0).contains(degrees)),
                    flags: if late { flags::LATE } else { 0 } | if ping.mock { flags::MOCK } else { 0 },
                    store: true,
                });
            }
            Err(reason) => {
                // A number that was never valid says nothing about the ones before it.
                if reason != codes::ping::BAD_SEQ {
                    track.note_received(ping.seq);
                }
                judged.refused.push(RefusedPing { seq: ping.seq, reason: reason.to_owned() });
            }
        }
    }
    judged
}

fn verdict(
    ping: &Ping,
    now: Timestamp,
    skew_ms: i64,
    reporting: bool,
    limits: PointLimits,
    track: &Track,
) -> Result<(Position, Timestamp), &'static str> {
    if ping.seq == 0 || i64::try_from(ping.seq).is_err() {
        return Err(codes::ping::BAD_SEQ);
    }
    if track.has(ping.seq) {
        return Err(codes::ping::DUPLICATE);
    }
    if !reporting {
        return Err(codes::ping::OFF_DUTY);
    }
    let position = Position::new(ping.lat, ping.lon).map_err(|error| error.code())?;
    let recorded_at = Timestamp::from_millis(ping.at.saturating_add(skew_ms));
    if recorded_at > now + limits.ahead {
        return Err(codes::ping::FUTURE);
    }
    if recorded_at < now - limits.age {
        return Err(codes::ping::TOO_OLD);
    }
    // The allowance is for clocks that are not quite right; the live dot itself is never ahead of the clock, or a
    // device that runs fast would make its own next points late.
    Ok((position, recorded_at.min(now)))
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::ids::{BootId, CityCode, RiderId};

    const NOW: Timestamp = Timestamp::from_millis(1_900_000_000_000);
    const LIMITS: PointLimits = PointLimits { ahead: Duration::from_secs(30), age: Duration::from_secs(3_600) };

    fn track() -> Arc<Track> {
        let city = CityCode::parse("blr").unwrap();
        Arc::new(Track::new(RiderId(Uuid::nil()), city, BootId(Uuid::nil()), "d", 0, Timestamp::default()))
    }

    fn ping(seq: u64, offset_ms: i64) -> Ping {
        Ping {
            seq,
            at: NOW.as_millis() + offset_ms,
            lat: 12.9,
            lon: 77.6,
            accuracy_m: None,
            speed_mps: None,
            heading_deg: None,
            mock: false,
        }
    }

    fn reasons(pings: &[Ping], reporting: bool, track: &Arc<Track>) -> Vec<(u64, String)> {
        let judged = judge(pings, NOW, 0, reporting, LIMITS, track);
        judged.refused.into_iter().map(|refused| (refused.seq, refused.reason)).collect()
    }

    #[test]
    fn every_bad_point_gets_its_reason_and_the_good_ones_pass() {
        let track = track();
        let pings = [
            Ping { lat: 91.0, ..ping(1, 0) },
            Ping { lat: 0.0, lon: 0.0, ..ping(2, 0) },
            Ping { lat: f64::NAN, ..ping(3, 0) },
            ping(4, 31_000),
            ping(5, -3_601_000),
            ping(6, 0),
            ping(6, 0),
            ping(4, 0),
            ping(0, 0),
            ping(u64::MAX, 0),
            ping(7, i64::MAX - NOW.as_millis()),
        ];
        let expected = [
            (1, "out_of_world"),
            (2, "null_island"),
            (3, "out_of_world"),
            (4, "future"),
            (5, "too_old"),
            (6, "duplicate"),
            (4, "duplicate"),
            (0, "bad_seq"),
            (u64::MAX, "bad_seq"),
            (7, "future"),
        ];
        let got = reasons(&pings, true, &track);
        assert_eq!(got, expected.map(|(seq, reason)| (seq, reason.to_owned())));
        assert_eq!(track.received_to(), 7);
    }

    #[test]
    fn a_rider_off_duty_reports_nothing() {
        assert_eq!(reasons(&[ping(1, 0)], false, &track()), [(1, "off_duty".to_owned())]);
    }

    #[test]
    fn a_late_point_is_kept_and_never_moves_the_live_dot() {
        let track = track();
        let judged = judge(&[ping(1, -1_000), ping(2, -5_000), ping(3, -500)], NOW, 0, true, LIMITS, &track);
        assert_eq!((judged.late, judged.points.len()), (1, 3));
        assert_eq!(judged.points[1].flags, flags::LATE);
        assert_eq!(judged.live.unwrap().1, Timestamp::from_millis(NOW.as_millis() - 500));
        let again = judge(&[ping(4, -600)], NOW, 0, true, LIMITS, &track);
        assert!(again.live.is_none());
    }

    #[test]
    fn device_time_is_corrected_and_never_ahead_of_the_clock() {
        let track = track();
        let day = 86_400_000;
        let judged = judge(&[ping(1, day), ping(2, day + 20_000)], NOW, -day, true, LIMITS, &track);
        assert_eq!(judged.points[0].recorded_at, NOW);
        assert_eq!(judged.points[1].recorded_at, NOW);
        assert_eq!(track.live_at(), NOW);
    }

    #[test]
    fn made_up_points_are_flagged_and_nonsense_around_them_is_left_out() {
        let wild = Ping { mock: true, accuracy_m: Some(-1.0), speed_mps: Some(f32::INFINITY), ..ping(1, 0) };
        let judged = judge(&[Ping { heading_deg: Some(400.0), ..wild }], NOW, 0, true, LIMITS, &track());
        let point = &judged.points[0];
        assert_eq!(point.flags, flags::MOCK);
        assert_eq!((point.accuracy_m, point.speed_mps, point.heading_deg), (None, None, None));
    }
}

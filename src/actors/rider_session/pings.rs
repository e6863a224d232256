//! Which points are let in: a verdict per point, by the filters of the domain. Pure.

use std::sync::Arc;

use crate::{
    actors::{
        city::PingRules,
        location_log::{LogPoint, Track},
        refused_points::RefusedPoint,
    },
    domain::{
        ping::{
            point::{Accepted, Facts, RawPoint, Reason, Situation, flags},
            skew::Skew,
        },
        position::Position,
        rider::Vehicle,
        time::Timestamp,
    },
    wire::rider::Ping,
};

/// The points of one frame, judged.
#[derive(Debug, Default)]
pub struct Judged {
    /// Where the newest live point puts the dot, and its time.
    pub live: Option<(Position, Timestamp)>,
    /// Every accepted point, for the city and the log, and before them perhaps one that had been left out of the log.
    pub points: Vec<LogPoint>,
    /// How many points were accepted.
    pub accepted: u64,
    /// How many of them were late.
    pub late: u64,
    /// How many of them are left out of the log.
    pub thinned: u64,
    /// How many bear each of [`flags::ALL`].
    pub flagged: [u64; flags::ALL.len()],
    /// Every refused point and why.
    pub refused: Vec<(u64, Reason)>,
    /// Those of them that the city keeps.
    pub kept: Vec<RefusedPoint>,
    /// Numbers that were given up because there were too many gaps.
    pub given_up: u64,
}

/// What one session judges points by.
#[derive(Debug)]
pub struct PingJudge {
    rules: Arc<PingRules>,
    vehicle: Vehicle,
    skew: Skew,
    /// The track may remember a lookup in another boundary.
    area_is_new: bool,
}

impl PingJudge {
    /// The rules of no city in particular, until [`Self::judge_by`].
    #[must_use]
    pub fn new() -> Self {
        Self { rules: Arc::default(), vehicle: Vehicle::Motorcycle, skew: Skew::default(), area_is_new: true }
    }

    /// The device said what time it is.
    pub fn hello(&mut self, now: Timestamp, at: i64) {
        self.skew.hello(now, at);
    }

    /// What must be added to the device's time, milliseconds.
    #[must_use]
    pub const fn skew_ms(&self) -> i64 {
        self.skew.now_ms()
    }

    /// How the rider moves.
    pub const fn rides(&mut self, vehicle: Vehicle) {
        self.vehicle = vehicle;
    }

    /// The rules in force.
    pub fn judge_by(&mut self, rules: &Arc<PingRules>) {
        if !Arc::ptr_eq(rules, &self.rules) {
            self.area_is_new = true;
            self.rules = rules.clone();
        }
    }

    /// Judges the points of one frame. `sent_at` is the device's clock at sending.
    pub fn judge(
        &mut self,
        pings: &[Ping],
        sent_at: Option<i64>,
        now: Timestamp,
        situation: Situation,
        track: &Arc<Track>,
    ) -> Judged {
        let most_ms = i64::from(self.rules.pings.max_skew_s) * 1_000;
        self.skew.frame(now, sent_at, pings.iter().map(|ping| (ping.seq, ping.at)), most_ms);
        let mut judged = Judged { points: Vec::with_capacity(pings.len()), ..Judged::default() };
        let mut state = track.hygiene();
        if std::mem::take(&mut self.area_is_new) {
            state.forget_area();
        }
        judged.points.extend(state.situation(now, situation).map(|point| log_point(track, &point)));
        let policy = &self.rules.pings;
        let mut facts = Facts {
            now,
            situation,
            policy,
            top_mps: policy.top_speeds.of(self.vehicle),
            area: self.rules.area.as_ref(),
            live_at: track.live_at(),
        };
        for ping in pings {
            let raw = self.raw(ping, track);
            match state.judge(&raw, &facts) {
                Ok(point) => {
                    judged.accept(&point, track);
                    if !point.is_late() {
                        facts.live_at = point.recorded_at;
                    }
                }
                Err(reason) => {
                    match reason {
                        // A number that was never valid says nothing about the ones before it.
                        Reason::BadSeq => {}
                        // The point that came under the same number before may still be on its way.
                        Reason::Duplicate => track.note_again(ping.seq),
                        _ => track.note_received(ping.seq),
                    }
                    judged.refused.push((ping.seq, reason));
                    // Whatever the reason that is found first: nobody may know where a rider off duty is. A duplicate is
                    // stored under its number, or was judged under it.
                    let keep = policy.keep_refused
                        && situation.reporting
                        && !matches!(reason, Reason::OffDuty | Reason::Duplicate);
                    if keep {
                        judged.kept.push(RefusedPoint::new(track, &raw, now, reason, policy.keep_refused_days));
                    }
                }
            }
        }
        judged
    }

    fn raw(&self, ping: &Ping, track: &Track) -> RawPoint {
        RawPoint {
            seq: ping.seq,
            device_at: Timestamp::from_millis(ping.at),
            skew_ms: self.skew.of(ping.seq),
            lat: ping.lat,
            lon: ping.lon,
            accuracy_m: ping.accuracy_m,
            speed_mps: ping.speed_mps,
            heading_deg: ping.heading_deg,
            mock: ping.mock,
            seen: track.has(ping.seq),
        }
    }
}

impl Judged {
    fn accept(&mut self, point: &Accepted, track: &Arc<Track>) {
        if point.store {
            track.note_accepted(point.seq, None);
        } else {
            // The device may forget it at once.
            track.note_thinned(point.seq);
            self.thinned += 1;
        }
        self.accepted += 1;
        if point.is_late() {
            self.late += 1;
        } else {
            track.move_dot(point.recorded_at);
            self.live = point.dot.map(|dot| (dot, point.recorded_at));
        }
        if point.flags != 0 {
            for (count, (flag, _)) in self.flagged.iter_mut().zip(flags::ALL) {
                *count += u64::from(point.flags & flag != 0);
            }
        }
        self.points.push(log_point(track, point));
    }
}

/// A point on its way to the log.
pub fn log_point(track: &Arc<Track>, point: &Accepted) -> LogPoint {
    LogPoint {
        track: track.clone(),
        seq: point.seq,
        created_at: point.created_at,
        recorded_at: point.recorded_at,
        device_at: point.device_at,
        position: point.position,
        accuracy_m: point.accuracy_m,
        speed_mps: point.speed_mps,
        heading_deg: point.heading_deg,
        flags: point.flags,
        store: point.store,
        dot: point.dot,
    }
}

#[cfg(test)]
#[path = "pings_tests.rs"]
mod tests;

#[cfg(test)]
pub use tests::stand;

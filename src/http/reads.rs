//! How often, and how much at once, a caller may read of where riders are and were. Such reads are cheap to ask for and not
//! to answer, and they share the cities and the database with the work itself.

mod callers;

use std::{num::NonZeroU32, sync::Arc};

use governor::{
    Quota, RateLimiter,
    clock::{Clock as _, MonotonicClock},
};
use prometheus::{IntCounter, IntGauge};
use serde::Deserialize;
use tokio::sync::{Semaphore, SemaphorePermit};

use self::callers::Callers;
use super::{
    Deps,
    problem::{Code, Failure},
};
use crate::{
    domain::{access::Principal, city::City, policy::PingPolicy},
    metrics::Metrics,
};

/// Limits, each with its default. Quotas count in real time.
#[derive(Clone, Debug, PartialEq, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// Live positions (one rider's, or those around a place) that a caller may read per minute; 120.
    pub live_per_minute: u32,
    /// Of them, at once after a pause; 60.
    pub live_burst: u32,
    /// Pages of tracks that a caller may read per minute; 30.
    pub track_per_minute: u32,
    /// Of them, at once after a pause; 30.
    pub track_burst: u32,
    /// Callers whose use is remembered, at most, for each of the two; beyond them the ones that have been quiet longest are
    /// forgotten. 50,000.
    pub callers: usize,
    /// Tracks, and last positions of riders who are not live, that are read from the database at once, by all callers
    /// together; 3.
    pub tracks_at_once: usize,
    /// Most stored points of one page of a track; 10,000.
    pub track_points: u32,
    /// Longest range of a track, seconds; 2,678,400 (31 days).
    pub track_span_s: u32,
    /// Seconds after which two points of a track are not connected, when the caller does not say; 300.
    pub track_gap_s: u32,
    /// Seconds after it was recorded within which a point may be received and stored, at least what any city allows devices;
    /// 604,800, which no city may exceed.
    pub late_s: u32,
    /// Seconds for which the last position of a rider who is not live is looked for; 2,678,400 (31 days).
    pub last_seen_s: u32,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            live_per_minute: 120,
            live_burst: 60,
            track_per_minute: 30,
            track_burst: 30,
            callers: 50_000,
            tracks_at_once: 3,
            track_points: 10_000,
            track_span_s: 31 * 86_400,
            track_gap_s: 300,
            late_s: 7 * 86_400,
            last_seen_s: 31 * 86_400,
        }
    }
}

impl Options {
    /// Whether tracks have all points that a city takes, however old they are then.
    #[must_use]
    pub const fn finds_all_of(&self, pings: &PingPolicy) -> bool {
        pings.max_age_s <= self.late_s
    }

    /// The first setting that makes no sense, and why.
    #[must_use]
    pub fn fault(&self) -> Option<(&'static str, &'static str)> {
        let quotas = [
            ("reads.live_per_minute", self.live_per_minute),
            ("reads.live_burst", self.live_burst),
            ("reads.track_per_minute", self.track_per_minute),
            ("reads.track_burst", self.track_burst),
        ];
        if let Some((key, _)) = quotas.into_iter().find(|(_, number)| *number == 0) {
            return Some((key, "must be at least 1"));
        }
        if self.callers < 2 {
            return Some(("reads.callers", "must be at least 2"));
        }
        if self.tracks_at_once == 0 || self.tracks_at_once > Semaphore::MAX_PERMITS {
            return Some(("reads.tracks_at_once", "must be at least 1"));
        }
        if !(1..=100_000).contains(&self.track_points) {
            return Some(("reads.track_points", "must lie in 1..=100,000"));
        }
        if !(1..=366 * 86_400).contains(&self.track_span_s) {
            return Some(("reads.track_span_s", "must lie in 1..=31,622,400"));
        }
        if self.late_s > 30 * 86_400 {
            return Some(("reads.late_s", "must not be above 2,592,000"));
        }
        None
    }
}

/// What is read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Read {
    /// A live position, or several.
    Live,
    /// A page of a track.
    Track,
}

impl Read {
    const fn word(self) -> &'static str {
        match self {
            Self::Live => "live",
            Self::Track => "track",
        }
    }
}

/// The bounds of an app, shared by its workers. Cheap to clone.
#[derive(Clone)]
pub struct Reads(Arc<Inner>);

struct Inner {
    options: Options,
    live: Limit,
    track: Limit,
    turns: Semaphore,
}

/// One quota.
struct Limit {
    limiter: RateLimiter<Box<str>, Callers, MonotonicClock>,
    callers: Callers,
    /// Callers that are remembered.
    known: IntGauge,
    /// Reads that were refused.
    refused: IntCounter,
}

impl Reads {
    /// Registers the figures too; once per process.
    #[must_use]
    pub fn new(options: Options, metrics: &Metrics) -> Self {
        let known = metrics.gauges(
            "dispatch_reads_callers",
            "Callers whose use of a quota is remembered, by what is read",
            &["read"],
        );
        let refused = metrics.counters(
            "dispatch_reads_limited_total",
            "Reads of positions that were refused because the caller reads too often, by what was read",
            &["read"],
        );
        let limit = |read: Read, quota| {
            let (callers, label) = (Callers::new(options.callers), [read.word()]);
            let limiter = RateLimiter::new(quota, callers.clone(), MonotonicClock);
            let (known, refused) = (known.with_label_values(&label), refused.with_label_values(&label));
            Limit { limiter, callers, known, refused }
        };
        Self(Arc::new(Inner {
            live: limit(Read::Live, quota(options.live_per_minute, options.live_burst)),
            track: limit(Read::Track, quota(options.track_per_minute, options.track_burst)),
            turns: Semaphore::new(options.tracks_at_once.clamp(1, Semaphore::MAX_PERMITS)),
            options,
        }))
    }

    /// The limits.
    #[must_use]
    pub fn options(&self) -> &Options {
        &self.0.options
    }

    /// Warns of a city whose devices may send points that are too old for [`Options::late_s`]: they would be stored, and not
    /// be found in any track.
    pub fn warn_of(&self, city: &City) {
        if !self.0.options.finds_all_of(&city.policy.pings) {
            tracing::warn!(
                city = %city.code,
                max_age_s = city.policy.pings.max_age_s,
                late_s = self.0.options.late_s,
                "points older than `reads.late_s` are stored in this city (`pings.max_age_s`) and not found in tracks"
            );
        }
    }

    /// Counts a read of a caller.
    ///
    /// # Errors
    /// `rate_limited` when the caller's quota is used up.
    pub fn count(&self, caller: &Principal, read: Read) -> Result<(), Failure> {
        let limit = match read {
            Read::Live => &self.0.live,
            Read::Track => &self.0.track,
        };
        let counted = limit.limiter.check_key(&name(caller));
        limit.known.set(i64::try_from(limit.callers.len()).unwrap_or(i64::MAX));
        counted.map_err(|not_until| {
            limit.refused.inc();
            let wait = not_until.wait_time_from(limit.limiter.clock().now());
            let seconds = u32::try_from(wait.as_millis().div_ceil(1_000)).unwrap_or(u32::MAX);
            Failure::new(Code::RateLimited).retry_after(seconds.max(1))
        })
    }

    /// Waits for a turn at the database.
    ///
    /// # Errors
    /// `storage_busy` when none comes while a request may wait.
    pub async fn turn(&self, deps: &Deps) -> Result<SemaphorePermit<'_>, Failure> {
        match tokio::time::timeout(deps.options.ask(), self.0.turns.acquire()).await {
            Ok(turn) => turn.map_err(Failure::internal),
            Err(_elapsed) => {
                Err(Failure::new(Code::StorageBusy).because("too much is being read of where riders were"))
            }
        }
    }
}

fn quota(per_minute: u32, burst: u32) -> Quota {
    // The configuration was checked.
    let number = |given: u32| NonZeroU32::new(given).unwrap_or(NonZeroU32::MIN);
    Quota::per_minute(number(per_minute)).allow_burst(number(burst))
}

/// The caller, by role and name. Tokens of one caller share a quota.
fn name(caller: &Principal) -> Box<str> {
    let actor = caller.actor();
    format!("{}:{}", actor.kind, actor.id.as_deref().unwrap_or_default()).into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_city_that_takes_older_points_than_tracks_look_for_is_known() {
        let pings = |max_age_s| PingPolicy { max_age_s, ..PingPolicy::default() };
        let options = Options { late_s: 3_600, ..Options::default() };
        assert!(options.finds_all_of(&pings(3_600)) && !options.finds_all_of(&pings(3_601)));
        // What is configured when nothing is suits the oldest points that a city may take.
        let oldest = pings(7 * 86_400);
        assert!(oldest.validate().is_ok() && Options::default().finds_all_of(&oldest));
        assert!(pings(7 * 86_400 + 1).validate().is_err());
    }
}

//! The filters that look at one point and remember nothing: no fix, no place, a bad number, a bad time.

use super::{
    pipeline::{Hygiene, Trial},
    point::{Facts, RawPoint, Reason, flags},
};
use crate::domain::{policy::MockPoints, position::PositionError};

/// Degrees around 0, 0 that are the null island: some receivers report it with noise. About 100 m, in the Gulf of Guinea.
const ISLAND_DEG: f64 = 0.001;

/// Numbers count from 1, and are stored in 63 bits.
pub(super) const fn bad_seq(raw: &RawPoint, _: &Facts<'_>, _: &Hygiene) -> Result<(), Reason> {
    if raw.seq == 0 || raw.seq > i64::MAX as u64 { Err(Reason::BadSeq) } else { Ok(()) }
}

/// A number that was received before, however its point was judged then.
pub(super) const fn duplicate(raw: &RawPoint, _: &Facts<'_>, _: &Hygiene) -> Result<(), Reason> {
    if raw.seen { Err(Reason::Duplicate) } else { Ok(()) }
}

/// A clock that is off by more than `max_skew_s`: what is said of its times would be guessed.
pub(super) const fn bad_clock(raw: &RawPoint, facts: &Facts<'_>, _: &Hygiene) -> Result<(), Reason> {
    let most = facts.policy.max_skew_s as u64 * 1_000;
    if raw.skew_ms.unsigned_abs() > most { Err(Reason::BadClock) } else { Ok(()) }
}

/// No position, or a negative accuracy: Core Location says with it that latitude and longitude are not valid
/// (`CLLocation.horizontalAccuracy`).
pub(super) fn no_fix(raw: &RawPoint, _: &Facts<'_>, _: &Hygiene) -> Result<(), Reason> {
    let none = raw.lat.is_nan() || raw.lon.is_nan() || raw.accuracy_m.is_some_and(|metres| metres < 0.0);
    if none { Err(Reason::NoFix) } else { Ok(()) }
}

/// Not finite, or no place on earth: the code that [`crate::domain::position::Position::new`] gives.
pub(super) const fn out_of_world(error: PositionError) -> Reason {
    match error {
        PositionError::OutOfWorld => Reason::OutOfWorld,
        PositionError::NullIsland => Reason::NullIsland,
    }
}

/// Around 0, 0.
pub(super) fn null_island(trial: &mut Trial, _: &Facts<'_>, _: &mut Hygiene) -> Result<(), Reason> {
    let (lat, lon) = (trial.here.lat(), trial.here.lon());
    if lat.abs() < ISLAND_DEG && lon.abs() < ISLAND_DEG { Err(Reason::NullIsland) } else { Ok(()) }
}

/// A radius beyond `max_accuracy_m`, also an infinite one: a cell's fix rather than a receiver's. An unknown one is let
/// through.
pub(super) fn inaccurate(trial: &mut Trial, facts: &Facts<'_>, _: &mut Hygiene) -> Result<(), Reason> {
    let most = f64::from(facts.policy.max_accuracy_m);
    let wide = trial.raw.accuracy_m.is_some_and(|metres| f64::from(metres) > most);
    if most > 0.0 && wide { Err(Reason::Inaccurate) } else { Ok(()) }
}

/// What the platform says was made up is flagged or refused.
pub(super) fn mock(trial: &mut Trial, facts: &Facts<'_>, _: &mut Hygiene) -> Result<(), Reason> {
    if !trial.raw.mock {
        return Ok(());
    }
    trial.flags |= flags::MOCK;
    match facts.policy.mock {
        MockPoints::Flag => Ok(()),
        MockPoints::Refuse => Err(Reason::Mock),
    }
}

/// Ahead of the server's time by more than `max_ahead_s`.
pub(super) fn future(trial: &mut Trial, facts: &Facts<'_>, _: &mut Hygiene) -> Result<(), Reason> {
    let ahead = trial.raw.corrected().millis_since(facts.now);
    if ahead > i64::from(facts.policy.max_ahead_s) * 1_000 { Err(Reason::Future) } else { Ok(()) }
}

/// Older than `max_age_s`.
pub(super) fn too_old(trial: &mut Trial, facts: &Facts<'_>, _: &mut Hygiene) -> Result<(), Reason> {
    let age = facts.now.millis_since(trial.at);
    if age > i64::from(facts.policy.max_age_s) * 1_000 { Err(Reason::TooOld) } else { Ok(()) }
}

//! A point before and after it is judged, and the reasons for which it is refused.

use crate::domain::{city::Boundary, policy::PingPolicy, position::Position, text::named_enum, time::Timestamp};

named_enum! {
    /// Why a point is refused; the names are the codes that devices and counters see.
    pub enum Reason as "reason to refuse a point" {
        /// The number is none.
        BadSeq = "bad_seq",
        /// Nobody may know where a rider is who is off duty and carries nothing.
        OffDuty = "off_duty",
        /// It came before.
        Duplicate = "duplicate",
        /// The device's clock is further off than is corrected.
        BadClock = "bad_clock",
        /// There is no position, or the receiver says that it is not valid.
        NoFix = "no_fix",
        /// No place on earth.
        OutOfWorld = "out_of_world",
        /// 0, 0: what a receiver without a fix reports.
        NullIsland = "null_island",
        /// Less accurate than the city takes.
        Inaccurate = "inaccurate",
        /// Made up, where the city refuses such points.
        Mock = "mock",
        /// Ahead of the server's time.
        Future = "future",
        /// Older than the city keeps.
        TooOld = "too_old",
        /// More points than the city takes.
        Rate = "rate",
        /// Farther from the points around it than the vehicle comes.
        Teleport = "teleport",
    }
}

/// What is remarked on a point that is taken: bits of `location_logs.flags`.
pub mod flags {
    /// Older than the live dot when it came: it never moved the dot.
    pub const LATE: i16 = 1;
    /// The platform says that the point was made up.
    pub const MOCK: i16 = 2;
    /// Outside the service area.
    pub const OUTSIDE: i16 = 4;
    /// Within the noise of a rider at rest: the dot stayed.
    pub const AT_REST: i16 = 8;
    /// Far from the point before it, and believed because the ones between agreed with it.
    pub const JUMPED: i16 = 16;

    /// Every one of them with its name in figures.
    pub const ALL: [(i16, &str); 5] =
        [(LATE, "late"), (MOCK, "mock"), (OUTSIDE, "outside"), (AT_REST, "at_rest"), (JUMPED, "jumped")];
}

/// A point as its device sent it; its numbers may be anything.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RawPoint {
    /// The device's number.
    pub seq: u64,
    /// When it was recorded, device time.
    pub device_at: Timestamp,
    /// What must be added to device time, milliseconds.
    pub skew_ms: i64,
    /// Degrees north; no number when there is no position.
    pub lat: f64,
    /// Degrees east; the same.
    pub lon: f64,
    /// Radius of 68 % confidence, metres.
    pub accuracy_m: Option<f32>,
    /// Ground speed, metres per second.
    pub speed_mps: Option<f32>,
    /// Course over ground, degrees clockwise from north.
    pub heading_deg: Option<f32>,
    /// Whether the platform says that it was made up.
    pub mock: bool,
    /// Whether a point of this number was received before.
    pub seen: bool,
}

impl RawPoint {
    /// When it was recorded, device time corrected; may lie anywhere.
    #[must_use]
    pub const fn corrected(&self) -> Timestamp {
        Timestamp::from_millis(self.device_at.as_millis().saturating_add(self.skew_ms))
    }

    /// The radius of 68 % confidence where it says something. Android reports 0 where it knows none.
    #[must_use]
    pub fn radius_m(&self) -> Option<f32> {
        self.accuracy_m.filter(|metres| metres.is_finite() && *metres > 0.0)
    }
}

/// What else a point is judged by; the same for all points of a frame.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The server's time.
    pub now: Timestamp,
    /// What the rider does.
    pub situation: Situation,
    /// The city's settings.
    pub policy: &'a PingPolicy,
    /// Speed beyond which a point is not believed, metres per second.
    pub top_mps: f64,
    /// The service area; `None` flags nothing as outside.
    pub area: Option<&'a Boundary>,
    /// The dot is of this time: older points are late.
    pub live_at: Timestamp,
}

/// What a rider does, as far as points are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Situation {
    /// Whether there is any business to report positions: on duty, on a break, or with an order in hand.
    pub reporting: bool,
    /// Whether an order is in hand, on the way to its pickup or carried.
    pub busy: bool,
}

/// A point that is taken.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Accepted {
    /// The device's number.
    pub seq: u64,
    /// When it was received, server time.
    pub created_at: Timestamp,
    /// When it was recorded, device time corrected.
    pub recorded_at: Timestamp,
    /// When it was recorded, as the device said.
    pub device_at: Timestamp,
    /// Where.
    pub position: Position,
    /// Radius of 68 % confidence, metres.
    pub accuracy_m: Option<f32>,
    /// Ground speed, metres per second.
    pub speed_mps: Option<f32>,
    /// Course, degrees clockwise from north.
    pub heading_deg: Option<f32>,
    /// See [`flags`].
    pub flags: i16,
    /// Where it puts the live dot; `None` for a late point.
    pub dot: Option<Position>,
    /// Whether the city's policy wants it stored.
    pub store: bool,
}

impl Accepted {
    /// Whether it came too late to move the dot.
    #[must_use]
    pub const fn is_late(&self) -> bool {
        self.flags & flags::LATE != 0
    }
}

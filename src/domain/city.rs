//! A city: the area, the calendar and the policy of one market.

use geo::{BoundingRect, Contains, LineString, Polygon};

use super::{ids::CityCode, money::Currency, policy::DispatchPolicy, position::Position, text::named_enum};

named_enum! {
    /// Whether a city works, as in `cities.status`.
    pub enum CityStatus as "city status" {
        /// Being set up; nothing runs.
        Draft = "draft",
        /// Works.
        Live = "live",
        /// Takes no new orders; finishes what it has.
        Paused = "paused",
        /// As paused, for good.
        Closing = "closing",
    }
}

/// The service area: one ring of positions.
#[derive(Clone, Debug, PartialEq)]
pub struct Boundary(Polygon<f64>);

/// Why a ring is no service area.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadBoundary {
    /// Fewer than three different corners, or more than the limit of 10,000.
    #[error("a boundary takes 3 to 10,000 corners")]
    Corners,
    /// A side spans more than 180 degrees: the ring crosses the antimeridian.
    #[error("a boundary must not cross the antimeridian")]
    Antimeridian,
}

impl Boundary {
    /// From the corners in order; the ring is closed when it is not.
    ///
    /// # Errors
    /// [`BadBoundary`] when the corners make no area.
    pub fn new(corners: &[Position]) -> Result<Self, BadBoundary> {
        let mut ring: Vec<(f64, f64)> = corners.iter().map(|p| (p.lon(), p.lat())).collect();
        ring.dedup();
        if ring.len() > 1 && ring.first() == ring.last() {
            ring.pop();
        }
        if !(3..=10_000).contains(&ring.len()) {
            return Err(BadBoundary::Corners);
        }
        if ring.iter().zip(ring.iter().cycle().skip(1)).any(|(a, b)| (a.0 - b.0).abs() > 180.0) {
            return Err(BadBoundary::Antimeridian);
        }
        Ok(Self(Polygon::new(LineString::from(ring), vec![])))
    }

    /// Whether a position lies inside; a point on the border does not.
    #[must_use]
    pub fn contains(&self, position: Position) -> bool {
        self.0.contains(&position.point())
    }

    /// The middle of the box around the corners, as `(lon, lat)`, in GeoJSON's order.
    #[must_use]
    pub fn middle(&self) -> (f64, f64) {
        // A ring has corners, so there is a box around it.
        self.0.bounding_rect().map_or((0.0, 0.0), |around| around.center().x_y())
    }

    /// The corners, closed, as `(lon, lat)`, in GeoJSON's order.
    pub fn corners(&self) -> impl Iterator<Item = (f64, f64)> + '_ {
        self.0.exterior().coords().map(|c| (c.x, c.y))
    }
}

/// A city as its engine runs it.
#[derive(Clone, Debug, PartialEq)]
pub struct City {
    /// Its code.
    pub code: CityCode,
    /// Its name, for people.
    pub name: String,
    /// Whether it works.
    pub status: CityStatus,
    /// The service area.
    pub boundary: Boundary,
    /// IANA time zone.
    pub time_zone: String,
    /// Minutes after local midnight at which a business day begins.
    pub day_cutover_min: u16,
    /// The currency of its orders.
    pub currency: Currency,
    /// The policy in force.
    pub policy: DispatchPolicy,
    /// Its version.
    pub policy_version: u32,
}

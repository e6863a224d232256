//! Positions on the earth, WGS 84.

use geo::{Distance, Haversine, Point};

/// Mean earth radius in metres, as in `geo::Haversine` (IUGG mean radius R1).
pub const EARTH_RADIUS_M: f64 = 6_371_008.8;

/// A checked position: finite degrees inside the world.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Position {
    lat: f64,
    lon: f64,
}

/// Why a pair of numbers is no position.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PositionError {
    /// Not finite, or beyond 90 degrees of latitude or 180 of longitude.
    #[error("latitude must lie in -90..=90 and longitude in -180..=180")]
    OutOfWorld,
    /// Exactly 0, 0: what a receiver without a fix reports.
    #[error("0, 0 is what a receiver without a fix reports")]
    NullIsland,
}

impl PositionError {
    /// The stable code that a client sees.
    #[must_use]
    pub const fn code(self) -> &'static str {
        match self {
            Self::OutOfWorld => "out_of_world",
            Self::NullIsland => "null_island",
        }
    }
}

impl Position {
    /// Checks a latitude and a longitude in degrees.
    ///
    /// # Errors
    /// [`PositionError`] when they name no place on earth, or the null island.
    pub fn new(lat: f64, lon: f64) -> Result<Self, PositionError> {
        // A NaN lies in no range.
        if !((-90.0..=90.0).contains(&lat) && (-180.0..=180.0).contains(&lon)) {
            return Err(PositionError::OutOfWorld);
        }
        if lat == 0.0 && lon == 0.0 {
            return Err(PositionError::NullIsland);
        }
        Ok(Self { lat, lon })
    }

    /// Degrees north.
    #[must_use]
    pub const fn lat(self) -> f64 {
        self.lat
    }

    /// Degrees east.
    #[must_use]
    pub const fn lon(self) -> f64 {
        self.lon
    }

    /// Great-circle distance in metres (haversine, mean earth radius 6,371,008.8 m as in `geo`).
    #[must_use]
    pub fn distance_m(self, other: Self) -> f64 {
        Haversine.distance(self.point(), other.point())
    }

    /// As a `geo` point, whose order is longitude, latitude.
    #[must_use]
    pub fn point(self) -> Point<f64> {
        Point::new(self.lon, self.lat)
    }
}

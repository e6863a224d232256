//! The names of the mirror's keys, exactly as other systems read them, and how long they live.

use std::time::Duration;

use crate::domain::ids::{CityCode, RiderId};

/// Life of `rider:duty:{id}`.
pub const DUTY_TTL: Duration = Duration::from_secs(5 * 60);
/// Life of `riders:active:city:{city}`.
pub const POOL_TTL: Duration = Duration::from_secs(30);
/// Life of `rider:location:{id}`.
pub const LOCATION_TTL: Duration = Duration::from_secs(60);

/// A rider's duty: `ON`, `BREAK`, `OFF` or `AUTO_OFF`.
#[must_use]
pub fn duty(rider: RiderId) -> String {
    format!("rider:duty:{rider}")
}

/// The set of riders on duty in a city.
#[must_use]
pub fn pool(city: &CityCode) -> String {
    format!("riders:active:city:{city}")
}

/// A rider's last position: `{"lat":..,"lon":..,"timestamp":..}`, the time in milliseconds since 1970.
#[must_use]
pub fn location(rider: RiderId) -> String {
    format!("rider:location:{rider}")
}

/// The list of a city's waiting orders, most urgent first. Kept in real time, so it has no life of its own.
#[must_use]
pub fn queue(city: &CityCode) -> String {
    format!("orders:queue:{city}")
}

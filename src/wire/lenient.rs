//! What a device may write instead of a field's proper value, so that one bad point does not cost the others of its frame:
//! it gets a verdict of its own. No number is what JavaScript writes as `null`, and a number that is too great for its type
//! is as wrong as the greatest one.

use std::fmt;

use serde::{Deserialize, Deserializer, de};

/// Nil counts as absent.
pub fn or_default<'de, D: Deserializer<'de>, T: Deserialize<'de> + Default>(deserializer: D) -> Result<T, D::Error> {
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// A coordinate that is absent or nil is no number.
pub fn coordinate<'de, D: Deserializer<'de>>(deserializer: D) -> Result<f64, D::Error> {
    Option::deserialize(deserializer).map(|degrees| degrees.unwrap_or_else(no_coordinate))
}

/// See [`coordinate`].
pub const fn no_coordinate() -> f64 {
    f64::NAN
}

/// A point's number; what is below 0 or too great becomes one that is refused.
pub fn seq<'de, D: Deserializer<'de>>(deserializer: D) -> Result<u64, D::Error> {
    deserializer.deserialize_any(Seq)
}

/// A point's time; what is too great or too small becomes the greatest or the least one, parts of a millisecond are cut off.
pub fn time<'de, D: Deserializer<'de>>(deserializer: D) -> Result<i64, D::Error> {
    deserializer.deserialize_any(Time)
}

struct Seq;

impl de::Visitor<'_> for Seq {
    type Value = u64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a whole number")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<u64, E> {
        Ok(number)
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<u64, E> {
        Ok(u64::try_from(number).unwrap_or(0))
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<u64, E> {
        if number.fract() == 0.0 {
            // Saturates.
            return Ok(number as u64);
        }
        Err(E::invalid_value(de::Unexpected::Float(number), &self))
    }
}

struct Time;

impl de::Visitor<'_> for Time {
    type Value = i64;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("milliseconds since 1970")
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<i64, E> {
        Ok(i64::try_from(number).unwrap_or(i64::MAX))
    }

    fn visit_i64<E: de::Error>(self, number: i64) -> Result<i64, E> {
        Ok(number)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<i64, E> {
        // Saturates.
        Ok(number as i64)
    }
}

//! Checks of single fields; each names the field at fault by its JSON pointer.

use serde_json::{Map, Value};

use super::problem::{Code, Failure};
use crate::{
    domain::{ids::CityCode, order::Place, position::Position, tags::Tags},
    wire::{LatLon, PlaceBody, json},
};

/// Longest text for people: a name, a reason, a hint.
pub const MAX_TEXT: usize = 200;

const MAX_METADATA_BYTES: usize = 16 * 1024;

/// A text of 1 to `most` characters without control characters and without blanks around it.
pub fn text(pointer: &str, given: &str, most: usize) -> Result<String, Failure> {
    let given = given.trim();
    if given.is_empty() || given.chars().count() > most {
        return Err(Failure::field(pointer, format!("takes 1 to {most} characters")));
    }
    if given.chars().any(char::is_control) {
        return Err(Failure::field(pointer, "must not hold control characters"));
    }
    Ok(given.to_owned())
}

/// As [`text`], where the field may be absent.
pub fn optional_text(pointer: &str, given: Option<&str>, most: usize) -> Result<Option<String>, Failure> {
    given.map(|given| text(pointer, given, most)).transpose()
}

/// A position in the world.
pub fn position(pointer: &str, given: LatLon) -> Result<Position, Failure> {
    Position::new(given.lat, given.lon).map_err(|error| Failure::from(error).at(pointer))
}

/// A position with its hint.
pub fn place(pointer: &str, given: &PlaceBody) -> Result<Place, Failure> {
    Ok(Place {
        position: position(pointer, LatLon { lat: given.lat, lon: given.lon })?,
        hint: optional_text(&format!("{pointer}/hint"), given.hint.as_deref(), MAX_TEXT)?,
    })
}

/// A number within bounds, or its default.
pub fn number<T: PartialOrd + std::fmt::Display + Copy>(
    pointer: &str,
    given: Option<T>,
    default: T,
    least: T,
    most: T,
) -> Result<T, Failure> {
    match given {
        None => Ok(default),
        Some(given) if given >= least && given <= most => Ok(given),
        Some(_) => Err(Failure::field(pointer, format!("must lie in {least}..={most}"))),
    }
}

/// Tags of a rider or an order.
pub fn tags(pointer: &str, given: &[String]) -> Result<Tags, Failure> {
    Tags::parse(given).map_err(|error| Failure::field(pointer, error.to_string()))
}

/// A city's code; one that has no valid form names no city.
pub fn city(given: &str) -> Result<CityCode, Failure> {
    CityCode::parse(given).map_err(|_| Failure::new(Code::UnknownCity))
}

/// E.164: a plus sign and 8 to 15 digits, the first one not 0.
pub fn mobile(pointer: &str, given: &str) -> Result<String, Failure> {
    let digits = given.strip_prefix('+').unwrap_or_default();
    let fits =
        (8..=15).contains(&digits.len()) && digits.bytes().all(|b| b.is_ascii_digit()) && !digits.starts_with('0');
    if fits { Ok(given.to_owned()) } else { Err(Failure::field(pointer, "must be in E.164 form, as in +919876543210")) }
}

/// Free data within its limit, without NUL: the database takes none.
pub fn metadata(pointer: &str, given: Map<String, Value>) -> Result<Map<String, Value>, Failure> {
    let size = serde_json::to_vec(&given).map_err(Failure::internal)?.len();
    if size > MAX_METADATA_BYTES {
        return Err(Failure::field(pointer, format!("takes at most {MAX_METADATA_BYTES} bytes")));
    }
    let given = Value::Object(given);
    if let Some(place) = json::nul(&given) {
        return Err(Failure::field(format!("{pointer}{place}"), "must not hold NUL characters"));
    }
    let Value::Object(given) = given else { return Ok(Map::new()) };
    Ok(given)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn mobiles_are_e164() {
        assert!(mobile("/mobile", "+919876543210").is_ok());
        for bad in ["", "+", "919876543210", "+0123456789", "+12345", "+1234567890123456", "+91 98765 43210"] {
            assert!(mobile("/mobile", bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn texts_are_counted_in_characters() {
        assert_eq!(text("/name", "  घर ", 2).unwrap(), "घर");
        assert!(text("/name", "   ", 2).is_err());
        assert!(text("/name", "abc", 2).is_err());
        assert!(text("/name", "a\u{7}", 9).is_err());
        assert_eq!(optional_text("/store", None, 9).unwrap(), None);
    }

    #[test]
    fn a_place_outside_the_world_is_named() {
        let outside = PlaceBody { lat: 91.0, lon: 0.0, hint: None };
        let failure = place("/drop", &outside).unwrap_err();
        assert_eq!((failure.code(), failure.problem().pointer.as_deref()), (Code::OutOfWorld, Some("/drop")));
        let nowhere = PlaceBody { lat: 0.0, lon: 0.0, hint: None };
        assert_eq!(place("/drop", &nowhere).unwrap_err().code(), Code::NullIsland);
    }

    #[test]
    fn tags_name_their_field() {
        assert!(tags("/tags", &["cod".to_owned()]).is_ok());
        let failure = tags("/tags", &["Cash on delivery".to_owned()]).unwrap_err();
        assert_eq!((failure.code(), failure.problem().pointer.as_deref()), (Code::InvalidField, Some("/tags")));
    }

    #[test]
    fn metadata_is_bounded() {
        let mut large = Map::new();
        large.insert("x".into(), Value::String("x".repeat(MAX_METADATA_BYTES)));
        assert!(metadata("/metadata", large).is_err());
    }

    #[test]
    fn metadata_holds_no_nul() {
        let read = |text: &str| metadata("/metadata", serde_json::from_str(text).unwrap());
        let pointer = |text: &str| read(text).unwrap_err().problem().pointer.unwrap();
        assert_eq!(pointer(r#"{"a":{"b":["x\u0000"]}}"#), "/metadata/a/b/0");
        assert_eq!(pointer(r#"{"a":{"\u0000":1}}"#), "/metadata/a");
        assert_eq!(pointer(r#"{"\u0000":1}"#), "/metadata");
        assert!(read(r#"{"a":"\\u0000"}"#).is_ok());
    }
}

//! The JSON body of a request, bounded in size and in time; an error names the field at fault.

use std::{future::Future, pin::Pin, time::Duration};

use actix_web::{FromRequest, HttpMessage, HttpRequest, dev::Payload, error::PayloadError, web};
use serde::{Serialize, de::DeserializeOwned};
use serde_json::Value;
use serde_path_to_error::{Path, Segment};

use super::{
    Deps,
    problem::{Code, Failure},
};
use crate::wire::json;

/// A request's body, read as JSON.
#[derive(Debug)]
pub struct Body<T>(pub T);

impl<T: DeserializeOwned + Serialize + 'static> FromRequest for Body<T> {
    type Error = Failure;
    type Future = Pin<Box<dyn Future<Output = Result<Self, Failure>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        if !is_json(request) {
            return Box::pin(async { Err(Failure::new(Code::UnsupportedMediaType)) });
        }
        let deadline = request
            .app_data::<web::Data<Deps>>()
            .map_or(Duration::from_secs(10), |deps| Duration::from_millis(deps.options.body_deadline_ms));
        let bytes = web::Bytes::from_request(request, payload);
        Box::pin(async move {
            let bytes = match tokio::time::timeout(deadline, bytes).await {
                Err(_elapsed) => return Err(Failure::new(Code::BodyTimeout)),
                Ok(Err(error)) => return Err(unread(&error)),
                Ok(Ok(bytes)) => bytes,
            };
            parse(&bytes).map(Self)
        })
    }
}

fn is_json(request: &HttpRequest) -> bool {
    // A type with parameters (charset=utf-8) counts; so does `application/vnd.x+json`.
    request.mime_type().ok().flatten().is_some_and(|mime| {
        mime.type_() == "application" && (mime.subtype() == "json" || mime.suffix().is_some_and(|s| s == "json"))
    })
}

/// Why a body could not be read from the connection.
fn unread(error: &actix_web::Error) -> Failure {
    match error.as_error::<PayloadError>() {
        Some(PayloadError::Overflow) => Failure::new(Code::BodyTooLarge),
        _ => Failure::new(Code::BadRequest).because("the body broke off"),
    }
}

fn parse<T: DeserializeOwned + Serialize>(bytes: &[u8]) -> Result<T, Failure> {
    let mut reader = serde_json::Deserializer::from_slice(bytes);
    let value: T = serde_path_to_error::deserialize(&mut reader).map_err(|error| {
        let pointer = pointer(error.path());
        refused(error.inner(), pointer)
    })?;
    reader.end().map_err(|error| refused(&error, String::new()))?;
    let given: Value = serde_json::from_slice(bytes).map_err(Failure::internal)?;
    objects_are_objects(&given, &value, "")?;
    Ok(value)
}

/// Reads a part of a body that was left as it came; `at` is its pointer.
///
/// # Errors
/// A [`Failure`] that names the field at fault.
pub fn part<T: DeserializeOwned + Serialize>(at: &str, given: &Value) -> Result<T, Failure> {
    let value: T = serde_path_to_error::deserialize(given)
        .map_err(|error| refused(error.inner(), format!("{at}{}", pointer(error.path()))))?;
    objects_are_objects(given, &value, at)?;
    Ok(value)
}

fn objects_are_objects(given: &Value, value: &impl Serialize, at: &str) -> Result<(), Failure> {
    let read = serde_json::to_value(value).map_err(Failure::internal)?;
    match json::array_as_object(given, &read) {
        None => Ok(()),
        Some(pointer) => {
            let pointer = format!("{at}{pointer}");
            let failure = Failure::new(Code::WrongType).because("an object is needed here, not an array");
            Err(if pointer.is_empty() { failure } else { failure.at(pointer) })
        }
    }
}

fn refused(error: &serde_json::Error, pointer: String) -> Failure {
    use serde_json::error::Category;
    let text = error.to_string();
    let code = match error.classify() {
        Category::Syntax | Category::Eof | Category::Io => {
            return Failure::new(Code::MalformedJson).because(format!(
                "line {}, column {}",
                error.line(),
                error.column()
            ));
        }
        Category::Data if text.starts_with("unknown field") => Code::UnknownField,
        Category::Data if text.starts_with("missing field") => Code::MissingField,
        Category::Data => Code::WrongType,
    };
    // serde names the field, the expected type and the place; the value itself is the client's own.
    let failure = Failure::new(code).because(text.chars().take(300).collect::<String>());
    if pointer.is_empty() { failure } else { failure.at(pointer) }
}

/// RFC 6901.
fn pointer(path: &Path) -> String {
    let mut text = String::new();
    for segment in path.iter() {
        match segment {
            Segment::Seq { index } => text.push_str(&format!("/{index}")),
            Segment::Map { key } => {
                text.push('/');
                text.push_str(&json::escaped(key));
            }
            Segment::Enum { .. } | Segment::Unknown => {}
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::wire::rest::{NewMerchant, NewOrder};

    fn failed<T: DeserializeOwned + Serialize + std::fmt::Debug>(body: &str) -> (Code, Option<String>) {
        let failure = parse::<T>(body.as_bytes()).unwrap_err();
        let problem = serde_json::to_value(failure.problem()).unwrap();
        (failure.code(), problem["pointer"].as_str().map(str::to_owned))
    }

    #[test]
    fn the_field_at_fault_is_named() {
        assert_eq!(failed::<NewMerchant>("{\"name\""), (Code::MalformedJson, None));
        assert_eq!(failed::<NewMerchant>(""), (Code::MalformedJson, None));
        assert_eq!(failed::<NewMerchant>("{\"name\":\"a\"} x"), (Code::MalformedJson, None));
        assert_eq!(failed::<NewMerchant>("{}"), (Code::MissingField, None));
        assert_eq!(failed::<NewMerchant>("[1]"), (Code::WrongType, Some("/0".into())));
        let (code, pointer) = failed::<NewMerchant>("{\"name\":\"a\",\"nmae\":1}");
        assert_eq!((code, pointer.as_deref()), (Code::UnknownField, Some("/nmae")));
        let (code, pointer) = failed::<NewOrder>(r#"{"city":"x","pickup":{"lat":"north","lon":1}}"#);
        assert_eq!((code, pointer.as_deref()), (Code::WrongType, Some("/pickup/lat")));
    }

    #[test]
    fn the_field_at_fault_in_a_part_is_named_from_the_root() {
        use crate::domain::policy::DispatchPolicy;
        for (given, code, pointer) in [
            (serde_json::json!({"speling": 1}), Code::UnknownField, "/policy/speling"),
            (serde_json::json!({"pings": {"a/b": 1}}), Code::UnknownField, "/policy/pings/a~1b"),
            (serde_json::json!({"pings": {"max_age_s": "old"}}), Code::WrongType, "/policy/pings/max_age_s"),
            (serde_json::json!({"radius_steps_m": [1, "2"]}), Code::WrongType, "/policy/radius_steps_m/1"),
            (serde_json::json!({"pings": []}), Code::WrongType, "/policy/pings"),
            (serde_json::json!(5), Code::WrongType, "/policy"),
        ] {
            let failure = part::<DispatchPolicy>("/policy", &given).unwrap_err();
            assert_eq!((failure.code(), failure.problem().pointer.as_deref()), (code, Some(pointer)), "{given}");
        }
    }

    #[test]
    fn an_array_is_no_object() {
        assert_eq!(failed::<NewMerchant>("[\"Dosa Corner\"]"), (Code::WrongType, None));
        let order =
            |drop| format!(r#"{{"city":"x","pickup":{{"lat":1,"lon":2}},"drop":{drop},"metadata":{{"a":[1]}}}}"#);
        assert!(parse::<NewOrder>(order(r#"{"lat":1,"lon":2}"#).as_bytes()).is_ok());
        assert_eq!(failed::<NewOrder>(&order("[77.59,12.97,null]")), (Code::WrongType, Some("/drop".into())));
    }
}

//! Frames to bytes and back. JSON is the one encoding so far; another one is another arm here and a subprotocol.

use std::borrow::Cow;

use serde::Deserialize;
use serde_json::Value;

use crate::wire::{
    codes::frame,
    json,
    rider::{Down, SUBPROTOCOL_JSON, Up},
};

/// How the frames of a session are written, chosen by its subprotocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// One text frame per message.
    Json,
}

/// A message as it came.
#[derive(Clone, Copy, Debug)]
pub enum Incoming<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary,
}

/// A frame that has no meaning.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BadFrame {
    /// The stable code.
    pub code: &'static str,
    /// For people; goes back to the sender only.
    pub detail: String,
    /// The request, when it could be read.
    pub re: Option<String>,
}

impl BadFrame {
    /// A refusal without a request.
    #[must_use]
    pub fn new(code: &'static str, detail: impl Into<String>) -> Self {
        Self { code, detail: detail.into(), re: None }
    }
}

/// The types of [`Up`].
const TYPES: [&str; 7] = ["hello", "duty", "pings", "offer_seen", "offer_accept", "offer_decline", "progress"];

#[derive(Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
}

impl Encoding {
    /// The subprotocol that names it.
    #[must_use]
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => SUBPROTOCOL_JSON,
        }
    }

    /// Reads a message.
    ///
    /// # Errors
    /// [`BadFrame`] with `malformed_frame`, `unknown_type` or `binary_not_supported`.
    pub fn decode(self, message: Incoming<'_>) -> Result<Up, BadFrame> {
        match (self, message) {
            (Self::Json, Incoming::Text(text)) => {
                let up = serde_json::from_str(text).map_err(|error| explain(text, &error.to_string()))?;
                objects_are_objects(text, &up)?;
                Ok(up)
            }
            (Self::Json, Incoming::Binary) => {
                Err(BadFrame::new(frame::BINARY_NOT_SUPPORTED, "this subprotocol takes text frames"))
            }
        }
    }

    /// Writes a message.
    #[must_use]
    pub fn encode(self, down: &Down) -> String {
        match self {
            // Plain data with text keys: there is nothing that JSON could not hold.
            Self::Json => serde_json::to_string(down).unwrap_or_else(|error| {
                tracing::error!(%error, "a frame could not be encoded");
                r#"{"type":"error","code":"internal","detail":"a frame could not be encoded"}"#.to_owned()
            }),
        }
    }
}

/// An array is taken only where the frame's type has one. The usual frame has no bracket that could begin another, and
/// is not read again.
fn objects_are_objects(text: &str, up: &Up) -> Result<(), BadFrame> {
    let lists = usize::from(matches!(up, Up::Pings { .. }));
    if text.bytes().filter(|byte| *byte == b'[').count() <= lists {
        return Ok(());
    }
    let unreadable = |error: serde_json::Error| explain(text, &error.to_string());
    let given: Value = serde_json::from_str(text).map_err(unreadable)?;
    let read = serde_json::to_value(up).map_err(unreadable)?;
    match json::array_as_object(&given, &read) {
        None => Ok(()),
        Some(place) => Err(explain(text, &format!("an object is needed at `{place}`, not an array"))),
    }
}

/// Only a frame that failed is read a second time.
fn explain(text: &str, error: &str) -> BadFrame {
    let malformed = |re| BadFrame { code: frame::MALFORMED_FRAME, detail: cut(error), re };
    match serde_json::from_str::<Head<'_>>(text) {
        Err(_) => malformed(None),
        Ok(head) => {
            let re = head.id.map(Cow::into_owned).filter(|id| is_id(id));
            match head.kind {
                Some(kind) if !TYPES.contains(&&*kind) => {
                    BadFrame { code: frame::UNKNOWN_TYPE, detail: cut(&format!("no such type: {kind}")), re }
                }
                _ => malformed(re),
            }
        }
    }
}

/// Whether a text may name a request: 1 to 64 characters, no control characters.
#[must_use]
pub fn is_id(text: &str) -> bool {
    (1..=64).contains(&text.chars().count()) && !text.chars().any(char::is_control)
}

fn cut(text: &str) -> String {
    text.chars().take(200).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn code(text: &str) -> (&'static str, Option<String>) {
        let bad = Encoding::Json.decode(Incoming::Text(text)).unwrap_err();
        (bad.code, bad.re)
    }

    #[test]
    fn every_wrong_frame_has_its_code() {
        assert_eq!(code("{"), ("malformed_frame", None));
        assert_eq!(code(""), ("malformed_frame", None));
        assert_eq!(code("[1,2]"), ("malformed_frame", None));
        assert_eq!(code("{}"), ("malformed_frame", None));
        assert_eq!(code(r#"{"type":5}"#), ("malformed_frame", None));
        assert_eq!(code(r#"{"type":"dance","id":"7"}"#), ("unknown_type", Some("7".into())));
        assert_eq!(code(r#"{"type":"duty","id":"7","state":"asleep"}"#), ("malformed_frame", Some("7".into())));
        assert_eq!(code(r#"{"type":"pings","pings":[{"seq":-1}]}"#), ("malformed_frame", None));
        assert_eq!(code(r#"{"type":"duty","id":"a\nb","state":5}"#), ("malformed_frame", None));
        let binary = Encoding::Json.decode(Incoming::Binary).unwrap_err();
        assert_eq!(binary.code, "binary_not_supported");
    }

    #[test]
    fn an_array_is_no_object() {
        let id = "018f0000-0000-7000-8000-000000000000";
        let progress =
            |rest: &str| format!(r#"{{"type":"progress","id":"7","order":"{id}","step":"handover","at":0,{rest}}}"#);
        for bad in [
            r#"{"type":"pings","pings":[[13,0,12.9,77.5,null,null,null,false]]}"#,
            r#"{"type":"pings","pings":[{"seq":1,"at":0,"lat":1,"lon":2},[13,0,12.9,77.5,null,null,null,false]]}"#,
            r#"["duty","7","on"]"#,
        ] {
            assert_eq!(code(bad).0, "malformed_frame", "{bad}");
            // What it guards against: serde takes it.
            assert!(serde_json::from_str::<Up>(bad).is_ok(), "{bad}");
        }
        assert_eq!(code(&progress(r#""position":[77.5,12.9]"#)), ("malformed_frame", Some("7".into())));
        for good in [
            r#"{"type":"pings","pings":[{"seq":1,"at":0,"lat":1,"lon":2}]}"#,
            r#"{"type":"pings","pings":[{"seq":1,"at":0,"lat":1,"lon":2,"later":[[1],{"a":[2]}]}]}"#,
            &progress(r#""position":{"lat":1,"lon":2},"proof":{"photos":[[1,2],{"a":[3]}]}"#),
        ] {
            assert!(Encoding::Json.decode(Incoming::Text(good)).is_ok(), "{good}");
        }
    }

    #[test]
    fn fields_of_a_later_version_are_let_through() {
        let text = r#"{"type":"duty","id":"1","state":"on","mood":"good"}"#;
        assert!(Encoding::Json.decode(Incoming::Text(text)).is_ok());
    }
}

//! What a message that came means, and what a session says when it means nothing. The bytes themselves are the wire's.

use super::figures::TYPES;
use crate::wire::{
    codes::frame,
    frames::{Encoded, Encoding, NotFrame, up_from_json, up_from_msgpack},
    rider::{Down, Up},
};

/// A message as it came.
#[derive(Clone, Copy, Debug)]
pub enum Incoming<'a> {
    /// A text message.
    Text(&'a str),
    /// A binary message.
    Binary(&'a [u8]),
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

/// Reads a message.
///
/// # Errors
/// [`BadFrame`] with `malformed_frame`, `unknown_type`, `binary_not_supported` or `text_not_supported`.
pub fn decode(encoding: Encoding, message: Incoming<'_>) -> Result<Up, BadFrame> {
    match (encoding, message) {
        (Encoding::Json, Incoming::Text(text)) => up_from_json(text).map_err(explain),
        (Encoding::Msgpack, Incoming::Binary(bytes)) => up_from_msgpack(bytes).map_err(explain),
        (Encoding::Json, Incoming::Binary(_)) => {
            Err(BadFrame::new(frame::BINARY_NOT_SUPPORTED, "this subprotocol takes text messages"))
        }
        (Encoding::Msgpack, Incoming::Text(_)) => {
            Err(BadFrame::new(frame::TEXT_NOT_SUPPORTED, "this subprotocol takes binary messages"))
        }
    }
}

/// Writes a message.
#[must_use]
pub fn encode(encoding: Encoding, down: &Down) -> Encoded {
    encoding.encode(down).unwrap_or_else(|error| {
        tracing::error!(%error, "a frame could not be encoded");
        let detail = "a frame could not be encoded".to_owned();
        let fault = Down::Error { re: None, code: frame::INTERNAL.to_owned(), detail };
        // Three texts: nothing that an encoding could not hold.
        encoding.encode(&fault).unwrap_or(Encoded::Text(String::new()))
    })
}

fn explain(bad: NotFrame) -> BadFrame {
    let re = bad.id.filter(|id| is_id(id));
    match bad.kind {
        Some(kind) if !TYPES.contains(&&*kind) => {
            BadFrame { code: frame::UNKNOWN_TYPE, detail: cut(&format!("no such type: {kind}")), re }
        }
        _ => BadFrame { code: frame::MALFORMED_FRAME, detail: cut(&bad.detail), re },
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
    use crate::wire::msgpack;

    fn code(text: &str) -> (&'static str, Option<String>) {
        let bad = decode(Encoding::Json, Incoming::Text(text)).unwrap_err();
        if let Ok(value) = serde_json::from_str::<serde_json::Value>(text) {
            let bytes = msgpack::to_vec(&value).unwrap();
            let other = decode(Encoding::Msgpack, Incoming::Binary(&bytes)).unwrap_err();
            assert_eq!((other.code, &other.re), (bad.code, &bad.re), "the encodings disagree about {text}");
        }
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
        let binary = decode(Encoding::Json, Incoming::Binary(&[0xC0])).unwrap_err();
        assert_eq!(binary.code, "binary_not_supported");
        let text = decode(Encoding::Msgpack, Incoming::Text("{}")).unwrap_err();
        assert_eq!(text.code, "text_not_supported");
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
            assert!(decode(Encoding::Json, Incoming::Text(good)).is_ok(), "{good}");
        }
    }
}

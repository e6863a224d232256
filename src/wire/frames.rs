//! Frames of the rider socket to bytes and back, in both encodings. One set of types; what one encoding takes the other
//! takes too.
//!
//! serde reads an enum that is tagged inside by keeping every field until it knows the tag. Nearly all frames are `pings`,
//! so they are tried first, as a struct of their own; whatever is none, or is wrong, is read again as any frame.

use std::{borrow::Cow, fmt};

use serde::{Deserialize, Deserializer, Serialize, de};
use serde_json::Value;

use super::{
    json, msgpack,
    rider::{Ping, SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK, Up},
};

/// How the frames of a session are written, chosen by its subprotocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// One text message per frame.
    Json,
    /// One binary message per frame.
    Msgpack,
}

/// A frame, written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Encoded {
    /// For a text message.
    Text(String),
    /// For a binary message.
    Binary(Vec<u8>),
}

/// Why a message is no frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NotFrame {
    /// For people.
    pub detail: String,
    /// Its type, as far as it could be read.
    pub kind: Option<String>,
    /// The id of the request, as far as it could be read.
    pub id: Option<String>,
}

impl Encoding {
    /// The subprotocols, the one that is spoken unasked first.
    pub const SUBPROTOCOLS: [&str; 2] = [SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK];

    /// The encoding that a subprotocol names.
    #[must_use]
    pub fn of(subprotocol: &str) -> Option<Self> {
        match subprotocol {
            SUBPROTOCOL_JSON => Some(Self::Json),
            SUBPROTOCOL_MSGPACK => Some(Self::Msgpack),
            _ => None,
        }
    }

    /// The subprotocol that names it.
    #[must_use]
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => SUBPROTOCOL_JSON,
            Self::Msgpack => SUBPROTOCOL_MSGPACK,
        }
    }

    /// Writes a frame.
    ///
    /// # Errors
    /// Never for the types of [`super::rider`]: they are plain data with text keys.
    pub fn encode(self, frame: &impl Serialize) -> Result<Encoded, String> {
        match self {
            Self::Json => serde_json::to_string(frame).map(Encoded::Text).map_err(|error| error.to_string()),
            Self::Msgpack => msgpack::to_vec(frame).map(Encoded::Binary).map_err(|error| error.to_string()),
        }
    }
}

/// Reads a device's frame from a text message.
///
/// # Errors
/// [`NotFrame`].
pub fn up_from_json(text: &str) -> Result<Up, NotFrame> {
    let arrays = text.bytes().filter(|byte| *byte == b'[').count();
    let read = match serde_json::from_str::<PingsFrame>(text) {
        Ok(pings) => Ok(pings.into()),
        Err(_) => serde_json::from_str(text).map_err(|error| error.to_string()),
    };
    read.and_then(|up| {
        objects_are_objects(up, arrays, || serde_json::from_str(text).map_err(|error| error.to_string()))
    })
    .map_err(|detail| not_frame(detail, serde_json::from_str(text).unwrap_or_default()))
}

/// Reads a device's frame from a binary message.
///
/// # Errors
/// [`NotFrame`].
pub fn up_from_msgpack(bytes: &[u8]) -> Result<Up, NotFrame> {
    let unread = |detail: String| NotFrame { detail, kind: None, id: None };
    let arrays = msgpack::check(bytes).map_err(|error| unread(error.to_string()))?;
    let read = match msgpack::read::<PingsFrame>(bytes) {
        Ok(pings) => Ok(pings.into()),
        // As far as serde is concerned, a type may stand there by its number.
        Err(_) => {
            msgpack::read::<TypeOnly<'_>>(bytes).and_then(|_| msgpack::read(bytes)).map_err(|error| error.to_string())
        }
    };
    read.and_then(|up| objects_are_objects(up, arrays, || msgpack::read(bytes).map_err(|error| error.to_string())))
        .map_err(|detail| not_frame(detail, msgpack::read(bytes).unwrap_or_default()))
}

/// serde reads an array into a struct by position: an array is taken only where the frame's type has one. The usual frame
/// has no array but its list of points, and is not read again.
fn objects_are_objects(up: Up, arrays: usize, again: impl FnOnce() -> Result<Value, String>) -> Result<Up, String> {
    let lists = usize::from(matches!(up, Up::Pings { .. }));
    if arrays <= lists {
        return Ok(up);
    }
    let read = serde_json::to_value(&up).map_err(|error| error.to_string())?;
    match json::array_as_object(&again()?, &read) {
        None => Ok(up),
        Some(place) => Err(format!("an object is needed at `{place}`, not an array")),
    }
}

fn not_frame(detail: String, head: Head<'_>) -> NotFrame {
    NotFrame { detail, kind: head.kind.map(Cow::into_owned), id: head.id.map(Cow::into_owned) }
}

/// What a message that could not be read may still say.
#[derive(Default, Deserialize)]
struct Head<'a> {
    #[serde(rename = "type", borrow)]
    kind: Option<Cow<'a, str>>,
    #[serde(borrow)]
    id: Option<Cow<'a, str>>,
}

/// A type that is a text.
#[derive(Deserialize)]
struct TypeOnly<'a> {
    #[serde(rename = "type", borrow)]
    _kind: Option<Cow<'a, str>>,
}

/// [`Up::Pings`], by itself.
#[derive(Deserialize)]
struct PingsFrame {
    #[serde(rename = "type")]
    _type: PingsType,
    pings: Vec<Ping>,
    #[serde(default)]
    oldest: Option<u64>,
    #[serde(default)]
    sent_at: Option<i64>,
}

impl From<PingsFrame> for Up {
    fn from(frame: PingsFrame) -> Self {
        Self::Pings { pings: frame.pings, oldest: frame.oldest, sent_at: frame.sent_at }
    }
}

/// The word `pings`.
struct PingsType;

impl<'de> Deserialize<'de> for PingsType {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct Word;

        impl de::Visitor<'_> for Word {
            type Value = PingsType;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("pings")
            }

            fn visit_str<E: de::Error>(self, word: &str) -> Result<PingsType, E> {
                if word == "pings" { Ok(PingsType) } else { Err(E::custom("another type")) }
            }
        }

        deserializer.deserialize_str(Word)
    }
}

#[cfg(test)]
#[path = "frames_tests.rs"]
mod tests;

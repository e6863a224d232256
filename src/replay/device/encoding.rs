//! How a device writes its frames and reads the server's, in either encoding; written from the protocol and not from the
//! server's own codec, so that each proves the other.

use serde::{Deserialize, Serialize};

use crate::wire::rider::{Down, SUBPROTOCOL_JSON, SUBPROTOCOL_MSGPACK, Up};

/// An encoding of the rider socket.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Encoding {
    /// One text message per frame.
    #[default]
    Json,
    /// One binary message per frame.
    MessagePack,
}

/// A frame as it goes on the wire.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Written {
    /// A text message.
    Text(String),
    /// A binary message.
    Binary(Vec<u8>),
}

/// Bytes that are no frame of this encoding, in words.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("no frame of this encoding: {0}")]
pub struct Unreadable(String);

impl Encoding {
    /// The subprotocol that names it.
    #[must_use]
    pub const fn subprotocol(self) -> &'static str {
        match self {
            Self::Json => SUBPROTOCOL_JSON,
            Self::MessagePack => SUBPROTOCOL_MSGPACK,
        }
    }

    /// Writes a frame.
    ///
    /// # Errors
    /// [`Unreadable`] for a frame with a value that the encoding cannot hold, such as a key that is no text.
    pub fn write(self, up: &Up) -> Result<Written, Unreadable> {
        match self {
            Self::Json => serde_json::to_string(up).map(Written::Text).map_err(|error| Unreadable(error.to_string())),
            Self::MessagePack => {
                let mut bytes = Vec::with_capacity(128);
                let mut writer = rmp_serde::Serializer::new(&mut bytes).with_struct_map().with_human_readable();
                up.serialize(&mut writer).map_err(|error| Unreadable(error.to_string()))?;
                Ok(Written::Binary(bytes))
            }
        }
    }

    /// Reads a text message.
    ///
    /// # Errors
    /// [`Unreadable`], always where frames are binary.
    pub fn read_text(self, text: &str) -> Result<Down, Unreadable> {
        match self {
            Self::Json => serde_json::from_str(text).map_err(|error| Unreadable(error.to_string())),
            Self::MessagePack => Err(Unreadable("a text message".to_owned())),
        }
    }

    /// Reads a binary message.
    ///
    /// # Errors
    /// [`Unreadable`], always where frames are text.
    pub fn read_binary(self, bytes: &[u8]) -> Result<Down, Unreadable> {
        match self {
            Self::Json => Err(Unreadable("a binary message".to_owned())),
            Self::MessagePack => {
                let mut reader = rmp_serde::Deserializer::from_read_ref(bytes).with_human_readable();
                Down::deserialize(&mut reader).map_err(|error| Unreadable(error.to_string()))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::wire::{
        LatLon,
        rider::{Hello, Ping, Progress, Welcome},
    };

    /// The other side of MessagePack, generically.
    fn read_up(written: Written) -> Up {
        match written {
            Written::Text(text) => serde_json::from_str(&text).unwrap(),
            Written::Binary(bytes) => {
                Up::deserialize(&mut rmp_serde::Deserializer::from_read_ref(&bytes[..]).with_human_readable()).unwrap()
            }
        }
    }

    #[test]
    fn frames_survive_either_encoding() {
        let ping = Ping {
            seq: 7,
            at: -5,
            lat: 12.971_598_7,
            lon: -77.6,
            accuracy_m: Some(4.5),
            speed_mps: None,
            heading_deg: Some(0.1),
            mock: true,
        };
        let frames = [
            Up::Hello(Hello {
                device_id: "d".into(),
                app_version: "1".into(),
                boot_id: Uuid::from_u128(5),
                mono_ms: 1,
                at: 1_900_000_000_000,
                battery: Some(0.5),
                push: None,
                oldest: Some(3),
            }),
            Up::Pings { pings: vec![ping], oldest: Some(7), sent_at: Some(1_900_000_000_001) },
            Up::Progress(Progress {
                id: "1".into(),
                order: Uuid::from_u128(9),
                step: "delivered".into(),
                at: 1,
                position: Some(LatLon { lat: 1.0, lon: 2.0 }),
                reason: None,
                proof: Some(serde_json::json!({ "otp": "1234", "nested": { "n": [1, 2.5, null] } })),
            }),
        ];
        for encoding in [Encoding::Json, Encoding::MessagePack] {
            for frame in &frames {
                assert_eq!(read_up(encoding.write(frame).unwrap()), *frame, "{encoding:?}");
            }
        }
    }

    #[test]
    fn the_servers_frames_are_read_and_those_of_the_other_encoding_are_not() {
        let welcome = Down::Welcome(Welcome {
            server_time: 1,
            clock_speed: 1.0,
            ping_interval_ms: 5_000,
            city: "blr".into(),
            duty: "ON".into(),
            next_duty: None,
            plan: vec![],
            open_offer: None,
            reconnect_within_ms: 0,
            duty_why: Some("rider".into()),
        });
        let text = serde_json::to_string(&welcome).unwrap();
        let mut bytes = Vec::new();
        welcome.serialize(&mut rmp_serde::Serializer::new(&mut bytes).with_struct_map().with_human_readable()).unwrap();
        assert_eq!(Encoding::Json.read_text(&text).as_ref(), Ok(&welcome));
        assert_eq!(Encoding::MessagePack.read_binary(&bytes).as_ref(), Ok(&welcome));
        assert!(Encoding::Json.read_binary(&bytes).is_err() && Encoding::MessagePack.read_text(&text).is_err());
        assert!(Encoding::MessagePack.read_binary(&bytes[..5]).is_err());
    }
}

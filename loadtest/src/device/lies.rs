//! Devices that lie: points that cannot be, and frames that are none. The engine has to refuse each of them and to go on
//! with everyone else.

use dispatch_engine::wire::rider::Ping;
use rand::{Rng, RngExt, seq::IndexedRandom};
use tokio_tungstenite::tungstenite::Message;
use uuid::Uuid;

/// Share of a liar's points that are lies.
pub const SHARE: f64 = 0.05;

/// Milliseconds of the engine's clock between two garbage frames, on average.
pub const GARBAGE_EVERY_MS: i64 = 60_000;

/// Spoils a point.
pub fn spoil<R: Rng>(ping: &mut Ping, rng: &mut R) {
    match rng.random_range(0..4_u8) {
        0 => ping.lat = 91.0 + rng.random_range(0.0..100.0),
        1 => (ping.lat, ping.lon) = (0.0, 0.0),
        2 => ping.at += 3_600_000,
        _ => ping.lon = -1e9,
    }
}

/// A frame that the engine has to refuse.
pub fn garbage<R: Rng>(rng: &mut R) -> Message {
    let texts = [
        "{".to_owned(),
        "[]".to_owned(),
        r#"{"type":"teleport","id":"1"}"#.to_owned(),
        r#"{"type":"duty","id":"1","state":"asleep"}"#.to_owned(),
        r#"{"type":"pings","pings":[{"seq":"one"}]}"#.to_owned(),
        format!(r#"{{"type":"duty","id":"{}","state":"on"}}"#, "x".repeat(65)),
        format!(r#"{{"type":"offer_accept","id":"lie","offer":"{}"}}"#, Uuid::from_u128(rng.random())),
        format!(
            r#"{{"type":"progress","id":"lie","order":"{}","step":"delivered","at":0}}"#,
            Uuid::from_u128(rng.random())
        ),
    ];
    if rng.random_bool(0.1) {
        return Message::binary(vec![0xC1, 0xFF, 0x00]);
    }
    Message::text(texts.choose(rng).cloned().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use dispatch_engine::wire::rider::Up;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;

    use super::*;

    #[test]
    fn lies_are_lies() {
        let mut rng = ChaCha8Rng::seed_from_u64(1);
        let honest: Ping = serde_json::from_str(r#"{"seq":1,"at":5,"lat":12.9,"lon":77.5}"#).unwrap();
        for _ in 0..100 {
            let mut ping = honest.clone();
            spoil(&mut ping, &mut rng);
            assert_ne!(ping, honest);
            assert!(serde_json::to_string(&ping).is_ok());
            if let Message::Text(text) = garbage(&mut rng) {
                // What reads as a frame at least names something that does not exist.
                let frame = serde_json::from_str::<Up>(&text);
                assert!(!matches!(frame, Ok(Up::Hello(_) | Up::Pings { .. })), "{text}");
            }
        }
    }
}

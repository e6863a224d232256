//! MessagePack as this server speaks it: what JSON can say, and nothing else. Maps have text keys, there are no binaries,
//! no extensions, and a message is one value. Ids are texts as in JSON, because a reader must not have to know beforehand
//! what a field is. (`rmp-serde` is the serde format of the `rmp` crate, the usual one in Rust.)

use serde::{Serialize, de::DeserializeOwned};

/// Values within values, at most; `serde_json` takes as many.
const MOST_NESTED: usize = 128;

/// Why bytes are no message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotMessage {
    /// The value is not whole, or claims to be longer than the message.
    #[error("the MessagePack value is longer than the message")]
    TooShort,
    /// Something follows the value.
    #[error("the message holds more than one MessagePack value")]
    TrailingBytes,
    /// Too many values within values.
    #[error("values are nested too deeply")]
    TooDeep,
    /// A key is no text.
    #[error("a map has a key that is no text")]
    BadKey,
    /// A text is no UTF-8.
    #[error("a text is not UTF-8")]
    NotUtf8,
    /// A binary, an extension, or the one byte without a meaning.
    #[error("binaries and extension types have no place in a frame")]
    BadType,
}

/// Writes a value, structs as maps with the names of their fields.
///
/// # Errors
/// When the value has a map whose keys are no texts or whose length is not known beforehand.
pub fn to_vec(value: &impl Serialize) -> Result<Vec<u8>, rmp_serde::encode::Error> {
    let mut bytes = Vec::with_capacity(128);
    value.serialize(&mut rmp_serde::Serializer::new(&mut bytes).with_struct_map().with_human_readable())?;
    Ok(bytes)
}

/// Reads a value from bytes that [`check`] found good.
pub(super) fn read<'a, T: serde::Deserialize<'a>>(bytes: &'a [u8]) -> Result<T, rmp_serde::decode::Error> {
    T::deserialize(&mut rmp_serde::Deserializer::from_read_ref(bytes).with_human_readable())
}

/// Reads a message.
///
/// # Errors
/// When it is none, or holds something else.
pub fn from_slice<T: DeserializeOwned>(bytes: &[u8]) -> Result<T, String> {
    check(bytes).map_err(|error| error.to_string())?;
    read(bytes).map_err(|error| error.to_string())
}

/// Walks through a message before anything is made of it, without memory of its own: every value is there whole, so
/// no length that it claims can make a reader take more memory than the message has bytes. Returns how many arrays it
/// has.
///
/// # Errors
/// [`NotMessage`].
pub fn check(bytes: &[u8]) -> Result<usize, NotMessage> {
    // Of every open container, how many values are to come, and whether it is a map: then every other one is a key.
    let mut open = [(0_u64, false); MOST_NESTED];
    let (mut depth, mut arrays, mut rest) = (0, 0, bytes);
    loop {
        let (&marker, behind) = rest.split_first().ok_or(NotMessage::TooShort)?;
        rest = behind;
        if depth > 0 && open[depth - 1].1 && open[depth - 1].0.is_multiple_of(2) && !is_text(marker) {
            return Err(NotMessage::BadKey);
        }
        let mut opened = None;
        match marker {
            // Numbers that stand in their marker, nil and the truth values.
            0x00..=0x7F | 0xE0..=0xFF | 0xC0 | 0xC2 | 0xC3 => {}
            0xCC | 0xD0 => rest = skip(rest, 1)?,
            0xCD | 0xD1 => rest = skip(rest, 2)?,
            0xCA | 0xCE | 0xD2 => rest = skip(rest, 4)?,
            0xCB | 0xCF | 0xD3 => rest = skip(rest, 8)?,
            0xA0..=0xBF => rest = skip_text(rest, u64::from(marker & 0x1F))?,
            0xD9..=0xDB => {
                let (length, behind) = number(rest, 1 << (marker - 0xD9))?;
                rest = skip_text(behind, length)?;
            }
            0x90..=0x9F => opened = Some((u64::from(marker & 0x0F), false)),
            0x80..=0x8F => opened = Some((u64::from(marker & 0x0F), true)),
            0xDC..=0xDF => {
                let (length, behind) = number(rest, if marker & 1 == 0 { 2 } else { 4 })?;
                rest = behind;
                opened = Some((length, marker >= 0xDE));
            }
            0xC1 | 0xC4..=0xC9 | 0xD4..=0xD8 => return Err(NotMessage::BadType),
        }
        if depth > 0 {
            open[depth - 1].0 -= 1;
        }
        if let Some((length, is_map)) = opened {
            arrays += usize::from(!is_map);
            let values = if is_map { length * 2 } else { length };
            if values > rest.len() as u64 {
                return Err(NotMessage::TooShort);
            }
            *open.get_mut(depth).ok_or(NotMessage::TooDeep)? = (values, is_map);
            depth += 1;
        }
        while depth > 0 && open[depth - 1].0 == 0 {
            depth -= 1;
        }
        if depth == 0 {
            return if rest.is_empty() { Ok(arrays) } else { Err(NotMessage::TrailingBytes) };
        }
    }
}

const fn is_text(marker: u8) -> bool {
    matches!(marker, 0xA0..=0xBF | 0xD9..=0xDB)
}

fn skip(bytes: &[u8], length: u64) -> Result<&[u8], NotMessage> {
    usize::try_from(length).ok().and_then(|length| bytes.get(length..)).ok_or(NotMessage::TooShort)
}

fn skip_text(bytes: &[u8], length: u64) -> Result<&[u8], NotMessage> {
    let rest = skip(bytes, length)?;
    // A reader takes a key that is no text for one that it does not know, and would pass over it.
    let text = &bytes[..bytes.len() - rest.len()];
    // Keys are short and plain: their bytes together are below 0x80, which is found out faster.
    let plain = text.len() <= 16 && text.iter().fold(0, |all, byte| all | byte) < 0x80;
    if plain || std::str::from_utf8(text).is_ok() { Ok(rest) } else { Err(NotMessage::NotUtf8) }
}

/// A length of one, two or four bytes.
fn number(bytes: &[u8], width: usize) -> Result<(u64, &[u8]), NotMessage> {
    let (digits, rest) = bytes.split_at_checked(width).ok_or(NotMessage::TooShort)?;
    Ok((digits.iter().fold(0, |number, digit| number << 8 | u64::from(*digit)), rest))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use serde_json::{Value, json};

    use super::*;

    #[test]
    fn every_type_that_json_has_passes() {
        let long = "x".repeat(70_000);
        let many: Vec<u32> = (0..70_000).collect();
        let some: Vec<u32> = (0..300).collect();
        let object: serde_json::Map<String, Value> = (0..300).map(|n| (n.to_string(), json!(n))).collect();
        for (value, arrays) in [
            (json!(null), 0),
            (json!([true, false, 1, -1, 200, -100, 40_000, -30_000, 3_000_000_000_u32, i64::MIN, u64::MAX, 0.5]), 1),
            (json!({"a": {}, "b": [], "c": [[]], "d": {"e": {"f": [1]}}}), 4),
            (json!(["x".repeat(31), "x".repeat(40), "x".repeat(300), long]), 1),
            (json!({"many": many, "some": some, "object": object}), 2),
        ] {
            let bytes = to_vec(&value).unwrap();
            assert_eq!(check(&bytes), Ok(arrays));
            assert_eq!(from_slice::<Value>(&bytes).unwrap(), value);
            assert_eq!(check(&bytes[..bytes.len() - 1]), Err(NotMessage::TooShort));
            assert_eq!(check(&[&bytes[..], &[0xC0]].concat()), Err(NotMessage::TrailingBytes));
        }
        assert_eq!(check(&to_vec(&1.5_f32).unwrap()), Ok(0));
    }

    #[test]
    fn bombs_are_found_before_anything_is_made_of_them() {
        // Four billion elements, pairs, characters.
        for marker in [0xDD, 0xDF, 0xDB] {
            assert_eq!(check(&[marker, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2, 3]), Err(NotMessage::TooShort));
        }
        let nested = |depth: usize| [vec![0x91; depth], vec![0xC0]].concat();
        assert_eq!(check(&nested(MOST_NESTED)), Ok(MOST_NESTED));
        assert_eq!(check(&nested(MOST_NESTED + 1)), Err(NotMessage::TooDeep));
        assert_eq!(check(&nested(200_000)), Err(NotMessage::TooDeep));
        // Each of the arrays claims what is left.
        let greedy: Vec<u8> = (0..1_000).flat_map(|_| [0xDD, 0, 0, 16, 0]).collect();
        assert!(check(&greedy).is_err());
    }

    #[test]
    fn what_json_could_not_say_is_refused() {
        assert_eq!(check(&[0x81, 0x01, 0x02]), Err(NotMessage::BadKey));
        assert_eq!(check(&[0x82, 0xA1, b'a', 0x81, 0xC0, 0xC0, 0xA1, b'b', 0x00]), Err(NotMessage::BadKey));
        for bytes in [&[0xC4, 0x01, 0x00][..], &[0xD4, 0x01, 0x00], &[0xC7, 0x00, 0x01], &[0xC1]] {
            assert_eq!(check(bytes), Err(NotMessage::BadType));
        }
        assert_eq!(check(&[0x81, 0xA2, b'a', 0x80, 0x02]), Err(NotMessage::NotUtf8));
        assert_eq!(check(&[]), Err(NotMessage::TooShort));
    }

    proptest! {
        #[test]
        fn whatever_passes_is_a_value(bytes in prop::collection::vec(any::<u8>(), 0..64)) {
            prop_assert_eq!(check(&bytes).is_ok(), from_slice::<Value>(&bytes).is_ok());
            let _ = read::<Value>(&bytes);
        }
    }
}

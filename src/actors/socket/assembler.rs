//! Puts fragmented messages together, within a bound.

use actix_http::ws::Item;
use bytes::{Bytes, BytesMut};

/// What a part made of a message.
#[derive(Debug, PartialEq, Eq)]
pub enum Assembled {
    /// Not whole yet, or ignored because it was too large before.
    More,
    /// A whole text.
    Text(String),
    /// A whole binary message.
    Binary(Bytes),
    /// Larger than the bound; the rest of it is ignored.
    TooLarge,
    /// A whole text, and no UTF-8.
    NotUtf8,
}

/// The parts of one message.
#[derive(Debug)]
pub struct Assembler {
    max: usize,
    buffer: BytesMut,
    text: bool,
    overflowed: bool,
}

impl Assembler {
    /// Messages of at most `max` bytes.
    #[must_use]
    pub fn new(max: usize) -> Self {
        Self { max, buffer: BytesMut::new(), text: false, overflowed: false }
    }

    /// Adds a part; the parser below has checked that parts come in order.
    pub fn add(&mut self, item: Item) -> Assembled {
        let (part, last) = match item {
            Item::FirstText(part) => {
                self.begin(true);
                (part, false)
            }
            Item::FirstBinary(part) => {
                self.begin(false);
                (part, false)
            }
            Item::Continue(part) => (part, false),
            Item::Last(part) => (part, true),
        };
        if self.overflowed {
            return Assembled::More;
        }
        if self.buffer.len() + part.len() > self.max {
            self.overflowed = true;
            self.buffer = BytesMut::new();
            return Assembled::TooLarge;
        }
        self.buffer.extend_from_slice(&part);
        if !last {
            return Assembled::More;
        }
        let whole = std::mem::take(&mut self.buffer);
        if !self.text {
            return Assembled::Binary(whole.freeze());
        }
        match String::from_utf8(whole.into()) {
            Ok(text) => Assembled::Text(text),
            Err(_) => Assembled::NotUtf8,
        }
    }

    fn begin(&mut self, text: bool) {
        self.text = text;
        self.overflowed = false;
        self.buffer.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn parts_make_a_message_within_the_bound() {
        let mut assembler = Assembler::new(8);
        assert_eq!(assembler.add(Item::FirstText("ab".into())), Assembled::More);
        assert_eq!(assembler.add(Item::Continue("cd".into())), Assembled::More);
        assert_eq!(assembler.add(Item::Last("ef".into())), Assembled::Text("abcdef".into()));
        assert_eq!(assembler.add(Item::FirstText("12345678".into())), Assembled::More);
        assert_eq!(assembler.add(Item::Continue("9".into())), Assembled::TooLarge);
        assert_eq!(assembler.add(Item::Last("0".into())), Assembled::More);
        assert_eq!(assembler.add(Item::FirstText(vec![0xFF].into())), Assembled::More);
        assert_eq!(assembler.add(Item::Last("".into())), Assembled::NotUtf8);
        assert_eq!(assembler.add(Item::FirstBinary("x".into())), Assembled::More);
        assert_eq!(assembler.add(Item::Last(vec![0xFF].into())), Assembled::Binary(b"x\xFF".as_slice().into()));
        assert_eq!(assembler.add(Item::FirstBinary("12345678".into())), Assembled::More);
        assert_eq!(assembler.add(Item::Last("9".into())), Assembled::TooLarge);
    }
}

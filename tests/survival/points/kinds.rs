//! The kinds of devices that take part: what they say of what they hold, how they write, what their clocks show and what
//! their apps do wrong.

use dispatch_engine::replay::device::{clock::DeviceClock, encoding::Encoding, keeper::SendOrder};

use crate::socket::now_ms;

/// A kind of device.
#[derive(Clone, Copy, Debug)]
pub struct Kind {
    /// In which order it sends.
    pub order: SendOrder,
    /// How it writes.
    pub encoding: Encoding,
    /// What its clock shows.
    pub clock: DeviceClock,
    /// Some of its points cannot be.
    pub liar: bool,
    /// It sends points again that it has sent.
    pub stutters: bool,
    /// It sends the frames of its backlog in any order.
    pub shuffles: bool,
}

impl Kind {
    /// The kind of the device with this number: two of three say what they hold, every second one writes MessagePack, and
    /// one in four has a wrong clock; all of that in every combination.
    pub fn of(number: usize) -> Self {
        let order = if number % 3 == 2 { SendOrder::InOrder } else { SendOrder::NewestFirst };
        let now = now_ms();
        let clock = match number % 8 {
            3 => DeviceClock::ahead(-3_600_000),
            5 => DeviceClock { since: now, ahead_ms: 45_000, drift_ppm: 500.0, step: None },
            7 => DeviceClock { since: now, ahead_ms: -2_000, drift_ppm: -300.0, step: Some((now + 12_000, 8_000)) },
            _ => DeviceClock::default(),
        };
        Self {
            order,
            encoding: if number % 2 == 1 { Encoding::MessagePack } else { Encoding::Json },
            clock,
            liar: number % 5 == 4,
            stutters: number % 4 == 1,
            // Only who says what it holds may send in any order.
            shuffles: order == SendOrder::NewestFirst && number.is_multiple_of(4),
        }
    }
}

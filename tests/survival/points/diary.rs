//! What a device wrote down of its points, for the auditor: each point as it was recorded, how often it was sent, and what
//! the server said of it.

use dispatch_engine::{replay::device::keeper::Tally, wire::rider::Ping};
use uuid::Uuid;

use super::kinds::Kind;

/// One point.
#[derive(Clone, Debug)]
pub struct Entry {
    /// As it was sent, its number included.
    pub ping: Ping,
    /// When it was recorded, by a clock that is right.
    pub true_at: i64,
    /// Why the server has to refuse it, if it has to.
    pub lie: Option<&'static str>,
    /// How often it was sent.
    pub sends: u32,
    /// How often the server said that it has it already.
    pub duplicates: u32,
    /// Whether the server said that it is settled.
    pub settled: bool,
    /// Why the server refused it, if it said so.
    pub refused: Option<String>,
}

/// A device's points, in the order of their numbers.
#[derive(Debug)]
pub struct Diary {
    /// The rider.
    pub rider: Uuid,
    /// The run of the app.
    pub boot: Uuid,
    /// What kind of a device it is.
    pub kind: Kind,
    /// The points; the first has the number 1.
    pub entries: Vec<Entry>,
    /// Points that the device still keeps.
    pub kept: usize,
    /// The device's own account.
    pub tally: Tally,
}

impl Diary {
    /// The entry of a number.
    pub fn entry(&mut self, seq: u64) -> Option<&mut Entry> {
        let index = usize::try_from(seq).ok()?.checked_sub(1)?;
        self.entries.get_mut(index)
    }

    /// The points with which nothing is wrong.
    pub fn honest(&self) -> impl Iterator<Item = &Entry> {
        self.entries.iter().filter(|entry| entry.lie.is_none())
    }
}

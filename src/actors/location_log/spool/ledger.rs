//! What lies in the spool, in order, and whether there is room for more: pure.

use std::collections::BTreeMap;

use serde::Deserialize;
use uuid::Uuid;

use crate::domain::time::Timestamp;

/// What happens to a batch for which the spool has no room.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum WhenFull {
    /// It is not taken: it stays in memory as long as there is room, and devices keep its points.
    Refuse,
    /// The oldest ones are deleted and counted, although devices may have forgotten their points.
    DropOldest,
}

/// A batch in the spool.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Its place in line; later batches have greater numbers.
    pub number: u64,
    /// Its id.
    pub id: Uuid,
    /// Its rows.
    pub rows: u64,
    /// Bytes of its file.
    pub bytes: u64,
    /// When it came, the engine's time.
    pub spooled_at: Timestamp,
}

/// A place for a batch.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// Its place in line.
    pub number: u64,
    /// Who has to go first.
    pub instead_of: Vec<Entry>,
}

/// The contents of the spool.
#[derive(Debug)]
pub struct Ledger {
    entries: BTreeMap<u64, Entry>,
    /// The batch that is on its way to Postgres; it is not dropped under its reader.
    drained: Option<u64>,
    next: u64,
    rows: u64,
    bytes: u64,
    /// Bytes of files that were set aside: they take room until people have looked at them.
    aside: u64,
    max_bytes: u64,
    when_full: WhenFull,
}

impl Ledger {
    /// An empty spool.
    #[must_use]
    pub const fn new(max_bytes: u64, when_full: WhenFull) -> Self {
        Self { entries: BTreeMap::new(), drained: None, next: 1, rows: 0, bytes: 0, aside: 0, max_bytes, when_full }
    }

    /// A place for a batch of so many bytes, or `None` when there is no room. Whoever has to go has left the ledger.
    #[must_use]
    pub fn admit(&mut self, bytes: u64) -> Option<Place> {
        let mut instead_of = Vec::new();
        if self.when_full == WhenFull::DropOldest {
            let mut over = (self.bytes() + bytes).saturating_sub(self.max_bytes);
            let oldest = self.entries.values().filter(|entry| Some(entry.number) != self.drained);
            for entry in oldest {
                if over == 0 {
                    break;
                }
                over = over.saturating_sub(entry.bytes);
                instead_of.push(*entry);
            }
            if over > 0 {
                return None;
            }
        } else if self.bytes() + bytes > self.max_bytes {
            return None;
        }
        for entry in &instead_of {
            self.remove(entry.number);
        }
        let number = self.next;
        self.next += 1;
        Some(Place { number, instead_of })
    }

    /// A batch has come.
    pub fn add(&mut self, entry: Entry) {
        self.next = self.next.max(entry.number + 1);
        self.rows += entry.rows;
        self.bytes += entry.bytes;
        self.entries.insert(entry.number, entry);
    }

    /// A batch is stored, or gone.
    pub fn remove(&mut self, number: u64) {
        if self.drained == Some(number) {
            self.drained = None;
        }
        if let Some(entry) = self.entries.remove(&number) {
            self.rows -= entry.rows;
            self.bytes -= entry.bytes;
        }
    }

    /// Something of so many bytes lies aside.
    pub const fn set_aside(&mut self, bytes: u64) {
        self.aside += bytes;
    }

    /// The batch at a place counted from the oldest; it is on its way until it is removed or [`Ledger::stay`] is called.
    #[must_use]
    pub fn take(&mut self, place: usize) -> Option<Entry> {
        let entry = self.entries.values().nth(place).copied()?;
        self.drained = Some(entry.number);
        Some(entry)
    }

    /// The batch on its way stays.
    pub const fn stay(&mut self) {
        self.drained = None;
    }

    /// The next batch gets this number, or a later one: what was found has used the ones before.
    pub const fn skip_to(&mut self, next: u64) {
        if next > self.next {
            self.next = next;
        }
    }

    /// Batches.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Rows of all batches.
    #[must_use]
    pub const fn rows(&self) -> u64 {
        self.rows
    }

    /// Bytes on the disk, with what lies aside.
    #[must_use]
    pub const fn bytes(&self) -> u64 {
        self.bytes + self.aside
    }

    /// The one that came first.
    #[must_use]
    pub fn oldest(&self) -> Option<&Entry> {
        self.entries.values().next()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ledger(when_full: WhenFull, batches: u64) -> Ledger {
        let mut ledger = Ledger::new(100, when_full);
        for _ in 0..batches {
            let number = ledger.admit(30).unwrap().number;
            ledger.add(entry(number));
        }
        ledger
    }

    fn entry(number: u64) -> Entry {
        Entry { number, id: Uuid::from_u128(number.into()), rows: 3, bytes: 30, spooled_at: Timestamp::default() }
    }

    #[test]
    fn a_full_spool_refuses_until_there_is_room() {
        let mut ledger = ledger(WhenFull::Refuse, 3);
        assert_eq!((ledger.len(), ledger.rows(), ledger.bytes()), (3, 9, 90));
        assert_eq!(ledger.admit(11), None);
        let oldest = ledger.take(0).unwrap();
        ledger.remove(oldest.number);
        assert_eq!(ledger.admit(40), Some(Place { number: 4, instead_of: vec![] }));
        assert_eq!(ledger.oldest().unwrap().number, 2);
    }

    #[test]
    fn or_the_oldest_goes_but_not_from_under_its_reader() {
        let mut ledger = ledger(WhenFull::DropOldest, 3);
        assert_eq!(ledger.take(0).unwrap().number, 1);
        let place = ledger.admit(40).unwrap();
        assert_eq!(place, Place { number: 4, instead_of: vec![entry(2)] });
        assert_eq!((ledger.len(), ledger.bytes()), (2, 60));
        assert_eq!(ledger.admit(101), None, "it would not fit into an empty spool");
        ledger.stay();
        assert_eq!(ledger.admit(100).unwrap().instead_of, [entry(1), entry(3)]);
    }

    #[test]
    fn what_lies_aside_takes_room_and_is_not_dropped() {
        let mut ledger = ledger(WhenFull::DropOldest, 1);
        ledger.remove(1);
        ledger.set_aside(30);
        assert_eq!((ledger.len(), ledger.bytes()), (0, 30));
        assert!(ledger.admit(70).is_some() && ledger.admit(71).is_none());
    }

    #[test]
    fn numbers_go_on_behind_what_was_found() {
        let mut ledger = Ledger::new(100, WhenFull::Refuse);
        ledger.add(entry(7));
        ledger.skip_to(9);
        assert_eq!(ledger.admit(1).unwrap().number, 9);
        ledger.skip_to(3);
        assert_eq!(ledger.admit(1).unwrap().number, 10);
    }
}

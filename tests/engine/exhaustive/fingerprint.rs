//! When two states are the same: when they are written down alike, up to the names of the ids that the engine made.
//!
//! Everything is written as `Debug` shows it, so that a field somebody adds to the engine tells states apart by itself.
//! Ids of the engine get numbers in the order in which they are met; ids of riders and orders are the world's and stay.

use std::{
    fmt::{self, Write},
    hash::{DefaultHasher, Hasher},
};

use dispatch_engine::domain::ids::OfferId;
use uuid::Uuid;

use super::model::{Model, Rider};

/// Length of a UUID as text.
const UUID: usize = 36;

/// Takes a text down; it is hashed whole, because a hasher is slow with many small pieces.
struct Paper {
    text: String,
    names: Vec<[u8; UUID]>,
}

/// The name of an id that the engine made: its UUIDs have version 7, the world's have none.
fn made_by_engine(text: &str) -> Option<[u8; UUID]> {
    let name: [u8; UUID] = text.as_bytes().try_into().ok()?;
    let dashes = [8, 13, 18, 23].iter().all(|at| name[*at] == b'-');
    (dashes && name[14] == b'7').then_some(name)
}

impl Paper {
    fn new() -> Self {
        Self { text: String::with_capacity(16 * 1_024), names: Vec::new() }
    }
}

impl Write for Paper {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        let Some(name) = made_by_engine(text) else {
            self.text.push_str(text);
            return Ok(());
        };
        let number = self.names.iter().position(|known| *known == name).unwrap_or(self.names.len());
        if number == self.names.len() {
            self.names.push(name);
        }
        write!(self.text, "id {number}")
    }
}

impl Model {
    /// The fingerprint of a state: 64 bits, which is enough for millions of states.
    pub fn fingerprint(&self) -> Result<u64, String> {
        let mut paper = Paper::new();
        self.describe(&mut paper).map_err(|error| error.to_string())?;
        let mut hasher = DefaultHasher::new();
        hasher.write(paper.text.as_bytes());
        Ok(hasher.finish())
    }

    fn describe(&self, out: &mut Paper) -> fmt::Result {
        // The auditor knows what follows from the city, the store and the journal; but for what was answered.
        let Self { now, city, store, journal, auditor, riders, merchants, asks, left, .. } = self;
        write!(out, "{now:?}")?;
        if let Some(city) = city {
            city.describe(out)?;
        }
        store.describe(out)?;
        journal.describe(store, out)?;
        for rider in riders {
            let Rider { id: _, sessions, up, located, offers, orders, open_offer: _, job: _ } = rider;
            write!(out, "{sessions}{up}{located}{offers:?}{orders:?}")?;
        }
        write!(out, "{merchants:?}{asks:?}{left:?}{:?}", auditor.repeats)
    }
}

#[test]
fn ids_of_the_engine_are_told_apart_and_not_named() {
    let write = |ids: &[u128]| {
        let mut paper = Paper::new();
        let ids: Vec<_> = ids.iter().map(|id| OfferId(Uuid::from_u128(*id))).collect();
        write!(paper, "{ids:?} {:?}", ids.first().map(ToString::to_string)).unwrap();
        paper.text
    };
    let [a, b, c, d] = [1, 2, 3, 4].map(|n| (7 << 76) + n);
    assert_eq!(write(&[a, b, a]), write(&[c, d, c]));
    assert_ne!(write(&[a, b, a]), write(&[a, b, b]));
    // What the world has named keeps its name.
    assert_ne!(write(&[1]), write(&[2]));
}

//! Kits: the different means of the riders of an index, each kept once, so that a rider in a leaf needs four bytes for them
//! and a search compares numbers.
//!
//! Tags become bits. The first [`NUMBERED`] different ones that come in have a bit each, for good; a city that has more of
//! them looks further ones up by their words, which is slower and as exact. Numbers follow the order in which riders come
//! in, and no answer depends on them.

use std::collections::BTreeMap;

use crate::domain::{rider::Vehicle, tags::Tags};

use super::{
    ground::number,
    means::{Means, Need},
};

/// Tags that have a bit.
pub(super) const NUMBERED: usize = u64::BITS as usize;

/// Means as a search compares them.
#[derive(Clone, Debug)]
struct Kit {
    means: Means,
    /// The tags that have a bit.
    tag_bits: u64,
    /// Riders who come with it.
    riders: u32,
}

/// The kits of an index.
#[derive(Clone, Debug, Default)]
pub(super) struct Kits {
    kits: Vec<Kit>,
    free: Vec<u32>,
    by_means: BTreeMap<Means, u32>,
    tag_numbers: BTreeMap<Box<str>, u8>,
}

impl Kits {
    /// The kit of a further rider.
    pub fn take(&mut self, means: Means) -> u32 {
        if let Some(kit) = self.by_means.get(&means) {
            self.kits[*kit as usize].riders += 1;
            return *kit;
        }
        for tag in means.tags.iter() {
            let next = self.tag_numbers.len();
            if next < NUMBERED && !self.tag_numbers.contains_key(tag) {
                self.tag_numbers.insert(tag.into(), next as u8);
            }
        }
        let (tag_bits, _) = self.bits(&means.tags);
        let kit = Kit { means: means.clone(), tag_bits, riders: 1 };
        let id = if let Some(id) = self.free.pop() {
            self.kits[id as usize] = kit;
            id
        } else {
            self.kits.push(kit);
            number(self.kits.len() - 1)
        };
        self.by_means.insert(means, id);
        id
    }

    /// A rider comes with it no more.
    pub fn give_back(&mut self, kit: u32) {
        let Kit { means, riders, .. } = &mut self.kits[kit as usize];
        *riders -= 1;
        if *riders == 0 {
            self.by_means.remove(means);
            self.free.push(kit);
        }
    }

    /// What a kit is.
    pub fn means(&self, kit: u32) -> &Means {
        &self.kits[kit as usize].means
    }

    /// A need, ready to be compared.
    pub fn test<'a>(&'a self, need: Need<'a>) -> Test<'a> {
        let (tag_bits, all_have_bits) = self.bits(need.tags);
        Test {
            kits: &self.kits,
            asks: need != Need::NOTHING,
            vehicle: need.vehicle.unwrap_or(Vehicle::ALL[0]),
            units: need.units,
            tag_bits,
            by_words: (!all_have_bits).then_some(need.tags),
        }
    }

    /// The bits of those tags that have one, and whether all do.
    fn bits(&self, tags: &Tags) -> (u64, bool) {
        let (mut bits, mut all) = (0, true);
        for tag in tags.iter() {
            match self.tag_numbers.get(tag) {
                Some(number) => bits |= 1 << number,
                None => all = false,
            }
        }
        (bits, all)
    }
}

/// A need, ready to be compared.
#[derive(Clone, Copy, Debug)]
pub(super) struct Test<'a> {
    kits: &'a [Kit],
    /// Whether it asks for anything.
    asks: bool,
    vehicle: Vehicle,
    units: u32,
    tag_bits: u64,
    /// The tags, when some have no bit.
    by_words: Option<&'a Tags>,
}

impl Test<'_> {
    /// Whether a kit is enough.
    pub fn passes(&self, kit: u32) -> bool {
        if !self.asks {
            return true;
        }
        let Kit { means, tag_bits, .. } = &self.kits[kit as usize];
        // Vehicles are declared from the smallest to the largest.
        means.vehicle >= self.vehicle
            && means.free_units >= self.units
            && tag_bits & self.tag_bits == self.tag_bits
            && self.by_words.is_none_or(|needed| means.tags.cover(needed))
    }
}

#[cfg(test)]
impl Kits {
    /// Fails unless every kit is found by its means and has as many riders as sit with it.
    pub fn check(&self, seated: &BTreeMap<u32, u32>) {
        assert_eq!(self.by_means.len(), seated.len());
        assert_eq!(self.by_means.len() + self.free.len(), self.kits.len());
        for (means, kit) in &self.by_means {
            let Kit { means: own, riders, .. } = &self.kits[*kit as usize];
            assert_eq!((own, Some(riders)), (means, seated.get(kit)));
        }
        assert!(self.tag_numbers.len() <= NUMBERED);
    }
}

//! The search: riders one by one, nearest first, no more ground looked at than the riders taken ask for.
//!
//! Best first: a heap holds riders by their true distance and nodes by a lower bound of the distances in them; the R-tree
//! supplies cells by the same bound. A rider is handed out once no bound is smaller, so the order is exact although the
//! bounds are not. Taking k riders visits the leaves that reach into the circle of the k-th: O(k + log n), for a crowd
//! on one spot as well, whose riders are handed out one after the other without being sorted.

use std::{cmp::Ordering, collections::BinaryHeap, iter::Peekable};

use crate::domain::ids::RiderId;

use super::{
    ground::{Body, Ground, LEAF, number},
    kits::Test,
    plane::{Point, arc_from_chord_2, chord_2},
};

/// What stands in the heap; the smallest squared chord is on top.
#[derive(Clone, Copy, Debug)]
struct Lead {
    /// Of a number that is never negative; such bits sort like the number.
    chord_2_bits: u64,
    what: What,
}

#[derive(Clone, Copy, Debug)]
enum What {
    Node(u32),
    Rider(u32),
    /// The riders of a crowd from a place on, all at the same distance.
    Crowd {
        leaf: u32,
        next: u32,
    },
}

impl Lead {
    const fn new(chord_2: f64, what: What) -> Self {
        Self { chord_2_bits: chord_2.to_bits(), what }
    }

    const fn chord_2(&self) -> f64 {
        f64::from_bits(self.chord_2_bits)
    }
}

impl PartialEq for Lead {
    fn eq(&self, other: &Self) -> bool {
        self.chord_2_bits == other.chord_2_bits
    }
}

impl Eq for Lead {}

impl PartialOrd for Lead {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl Ord for Lead {
    fn cmp(&self, other: &Self) -> Ordering {
        // The heap has its greatest on top.
        other.chord_2_bits.cmp(&self.chord_2_bits)
    }
}

/// A search under way. `C` are the cells that have not been looked into.
#[derive(Debug)]
pub(super) struct Nearest<'a, C: Iterator<Item = (f64, u32)>> {
    pub ground: &'a Ground,
    pub from: Point,
    /// No rider is farther than this squared chord.
    pub limit_2: f64,
    pub test: Test<'a>,
    cells: Peekable<C>,
    heap: BinaryHeap<Lead>,
}

impl<'a, C: Iterator<Item = (f64, u32)>> Nearest<'a, C> {
    /// Begins a search.
    pub fn new(ground: &'a Ground, cells: C, from: Point, limit_2: f64, test: Test<'a>) -> Self {
        // Room for what a search for a handful of riders puts in.
        let heap = BinaryHeap::with_capacity(4 * LEAF);
        Self { ground, from, limit_2, test, cells: cells.peekable(), heap }
    }

    /// Looks into a node.
    fn open(&mut self, node: u32) {
        match self.ground.body(node) {
            Body::Cut { halves, .. } => {
                for half in *halves {
                    let bound_2 = self.ground.bound_2(half, &self.from);
                    if bound_2 <= self.limit_2 {
                        self.heap.push(Lead::new(bound_2, What::Node(half)));
                    }
                }
            }
            Body::Leaf(members) if members.len() > LEAF => {
                let chord_2 = chord_2(&members[0].at, &self.from);
                self.heap.push(Lead::new(chord_2, What::Crowd { leaf: node, next: 0 }));
            }
            Body::Leaf(members) => {
                for member in members {
                    let chord_2 = chord_2(&member.at, &self.from);
                    if chord_2 <= self.limit_2 && self.test.passes(member.kit) {
                        self.heap.push(Lead::new(chord_2, What::Rider(member.slot)));
                    }
                }
            }
        }
    }

    /// The next rider of a crowd that will do, and the place after it.
    fn next_of(&self, leaf: u32, next: u32) -> Option<(u32, u32)> {
        let Body::Leaf(members) = self.ground.body(leaf) else { return None };
        let rest = members.get(next as usize..)?;
        let ahead = rest.iter().position(|member| self.test.passes(member.kit))?;
        Some((rest[ahead].slot, next + number(ahead) + 1))
    }
}

impl<C: Iterator<Item = (f64, u32)>> Iterator for Nearest<'_, C> {
    type Item = (RiderId, f64);

    fn next(&mut self) -> Option<Self::Item> {
        loop {
            let unseen_2 = self.cells.peek().map_or(f64::INFINITY, |(bound_2, _)| *bound_2);
            let lead = self.heap.peek().copied().filter(|lead| lead.chord_2() <= unseen_2);
            let Some(lead) = lead else {
                let (_, root) = self.cells.next().filter(|_| unseen_2 <= self.limit_2)?;
                self.open(root);
                continue;
            };
            if lead.chord_2() > self.limit_2 {
                return None;
            }
            let slot = match lead.what {
                What::Crowd { leaf, next } => match self.next_of(leaf, next) {
                    Some((slot, next)) => {
                        if let Some(mut top) = self.heap.peek_mut() {
                            top.what = What::Crowd { leaf, next };
                        }
                        slot
                    }
                    None => {
                        self.heap.pop();
                        continue;
                    }
                },
                What::Node(node) => {
                    self.heap.pop();
                    self.open(node);
                    continue;
                }
                What::Rider(slot) => {
                    self.heap.pop();
                    slot
                }
            };
            return Some((self.ground.rider(slot), arc_from_chord_2(lead.chord_2())));
        }
    }
}

#[cfg(test)]
impl<C: Iterator<Item = (f64, u32)>> Nearest<'_, C> {
    /// Entries of the heap.
    pub fn waiting(&self) -> usize {
        self.heap.len()
    }
}

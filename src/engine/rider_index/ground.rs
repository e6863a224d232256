//! The riders inside the cells: a k-d tree per cell, whose leaves hold up to [`LEAF`] riders with their true positions.
//!
//! A rider who moves within the bounds of the leaf is moved by one write: this is what makes updates cheap. A leaf that
//! overflows is cut in the middle of its riders' extent, so that crowded ground has small leaves; two sibling leaves
//! that have become empty enough are joined. Riders on exactly one spot cannot be cut apart: such a leaf may hold any
//! number, a *crowd*. Joining, leaving and passing a crowd does not depend on its size.

use std::hint::black_box;

use crate::domain::ids::RiderId;

use super::{cells::Cells, plane::Point};

/// Riders per leaf, unless all of them stand on one spot. Smaller leaves are left sooner, larger ones hold more riders
/// that a search must rank; from 16 to 48 the differences are small.
pub(super) const LEAF: usize = 32;

/// Two sibling leaves with so many riders together are joined; well below [`LEAF`], so that a rider who goes to and fro
/// does not cut and join at every step.
const JOIN: usize = 16;

/// A rider in a leaf.
#[derive(Clone, Copy, Debug)]
pub(super) struct Member {
    pub at: Point,
    pub slot: u32,
    pub kit: u32,
}

/// Where a rider is to be found.
#[derive(Clone, Copy, Debug)]
struct Seat {
    rider: RiderId,
    leaf: u32,
    place: u32,
}

/// What stands above a node.
#[derive(Clone, Copy, Debug)]
enum Above {
    Cell(u32),
    Node(u32),
}

/// A part of a cell: `low` belongs to it, `high` does not.
#[derive(Clone, Debug)]
struct Node {
    low: Point,
    high: Point,
    above: Above,
    body: Body,
}

/// What a node holds.
#[derive(Clone, Debug)]
pub(super) enum Body {
    /// Riders.
    Leaf(Vec<Member>),
    /// Two nodes: below the plane, and from the plane on.
    Cut { axis: usize, plane: f64, halves: [u32; 2] },
}

impl Node {
    fn holds(&self, at: &Point) -> bool {
        (0..3).all(|axis| self.low[axis] <= at[axis] && at[axis] < self.high[axis])
    }
}

/// All cells and what stands in them. Slots are small numbers for riders, used again after a rider has left.
#[derive(Clone, Debug, Default)]
pub(super) struct Ground {
    cells: Cells,
    nodes: Vec<Node>,
    free_nodes: Vec<u32>,
    seats: Vec<Seat>,
    free_slots: Vec<u32>,
}

impl Ground {
    /// Puts a rider who is not in; returns the slot.
    pub fn add(&mut self, rider: RiderId, at: Point, kit: u32) -> u32 {
        let seat = Seat { rider, leaf: 0, place: 0 };
        let slot = if let Some(slot) = self.free_slots.pop() {
            self.seats[slot as usize] = seat;
            slot
        } else {
            self.seats.push(seat);
            number(self.seats.len() - 1)
        };
        self.settle(None, Member { at, slot, kit });
        slot
    }

    /// Moves a rider; a slot that is free moves nobody.
    pub fn shift(&mut self, slot: u32, at: Point) {
        let Some(Seat { leaf, place, .. }) = self.seats.get(slot as usize).copied() else { return };
        let node = &mut self.nodes[leaf as usize];
        let inside = node.holds(&at);
        let Body::Leaf(members) = &mut node.body else { return };
        let crowd = members.len() > LEAF;
        let Some(member) = members.get_mut(place as usize).filter(|member| member.slot == slot) else { return };
        // One who leaves the spot of a crowd is no longer one of it.
        if inside && (!crowd || member.at == at) {
            member.at = at;
            return;
        }
        let moved = Member { at, ..*member };
        let from = self.climb(leaf, &at);
        self.unseat(leaf, place);
        self.settle(from, moved);
        self.tidy(leaf);
    }

    /// Reads where riders are to be found, so that it is at hand.
    pub fn look_at(&self, slots: impl Iterator<Item = u32>) {
        for slot in slots {
            black_box(self.member(slot).map(|member| member.at));
        }
    }

    /// Takes a rider out.
    pub fn remove(&mut self, slot: u32) {
        let Seat { leaf, place, .. } = self.seats[slot as usize];
        self.unseat(leaf, place);
        self.tidy(leaf);
        self.free_slots.push(slot);
    }

    /// Where a rider is, and with which kit.
    pub fn member(&self, slot: u32) -> Option<&Member> {
        let Seat { leaf, place, .. } = self.seats.get(slot as usize)?;
        match self.body(*leaf) {
            Body::Leaf(members) => members.get(*place as usize),
            Body::Cut { .. } => None,
        }
    }

    /// Gives a rider another kit.
    pub fn equip(&mut self, slot: u32, kit: u32) {
        let Seat { leaf, place, .. } = self.seats[slot as usize];
        if let Body::Leaf(members) = &mut self.nodes[leaf as usize].body {
            members[place as usize].kit = kit;
        }
    }

    /// The rider of a slot.
    pub fn rider(&self, slot: u32) -> RiderId {
        self.seats[slot as usize].rider
    }

    /// The root nodes of the cells, nearest first, each with a lower bound of the squared chord to what it holds.
    pub fn roots(&self, from: Point) -> impl Iterator<Item = (f64, u32)> + '_ {
        self.cells.nearest(from)
    }

    /// What a node holds.
    pub fn body(&self, node: u32) -> &Body {
        &self.nodes[node as usize].body
    }

    /// A lower bound of the squared chord to everything that a node holds. Rounds as the chord does, and so never
    /// exceeds it.
    pub fn bound_2(&self, node: u32, from: &Point) -> f64 {
        let node = &self.nodes[node as usize];
        let gap = |axis: usize| (node.low[axis] - from[axis]).max(from[axis] - node.high[axis]).max(0.0);
        let [x, y, z] = [gap(0), gap(1), gap(2)];
        x * x + y * y + z * z
    }

    /// The smallest known node around a node that holds a point.
    fn climb(&self, mut node: u32, at: &Point) -> Option<u32> {
        while !self.nodes[node as usize].holds(at) {
            match self.nodes[node as usize].above {
                Above::Node(above) => node = above,
                Above::Cell(_) => return None,
            }
        }
        Some(node)
    }

    /// Gives a rider a seat in the leaf around the point; `from` is a node that holds it, when one is known.
    fn settle(&mut self, from: Option<u32>, member: Member) {
        let key = Cells::key(&member.at);
        let Some(mut leaf) = from.or_else(|| self.cells.root_at(key)) else {
            let (low, high) = Cells::bounds(key);
            let root = self.new_node(Node { low, high, above: Above::Cell(0), body: Body::Leaf(Vec::new()) });
            self.nodes[root as usize].above = Above::Cell(self.cells.open(key, root));
            return self.sit(root, member);
        };
        while let Body::Cut { axis, plane, halves } = self.nodes[leaf as usize].body {
            leaf = halves[usize::from(member.at[axis] >= plane)];
        }
        match self.must_cut(leaf, &member.at) {
            Some((axis, plane)) => {
                let halves = self.cut(leaf, axis, plane);
                self.sit(halves[usize::from(member.at[axis] >= plane)], member);
            }
            None => self.sit(leaf, member),
        }
    }

    /// Where a leaf must be cut before a rider can join it.
    fn must_cut(&self, leaf: u32, at: &Point) -> Option<(usize, f64)> {
        let Body::Leaf(members) = &self.nodes[leaf as usize].body else { return None };
        let (mut low, mut high) = (*at, *at);
        // All of a crowd stand where its first one does.
        let others = match members.len() {
            0..LEAF => return None,
            LEAF => &members[..],
            _ => &members[..1],
        };
        for member in others {
            for axis in 0..3 {
                low[axis] = low[axis].min(member.at[axis]);
                high[axis] = high[axis].max(member.at[axis]);
            }
        }
        let extent = |axis: &usize| high[*axis] - low[*axis];
        let axis = (0..3).max_by(|a, b| extent(a).total_cmp(&extent(b)))?;
        if extent(&axis) == 0.0 {
            return None;
        }
        let middle = low[axis] + extent(&axis) / 2.0;
        // Between two neighbouring numbers there is no middle.
        Some((axis, if middle > low[axis] { middle } else { high[axis] }))
    }

    /// Cuts a leaf. The larger half stays where it is, so that a crowd is not copied.
    fn cut(&mut self, leaf: u32, axis: usize, plane: f64) -> [u32; 2] {
        let node = &mut self.nodes[leaf as usize];
        let Body::Leaf(members) = &mut node.body else { return [leaf; 2] };
        let is_high = |member: &Member| member.at[axis] >= plane;
        let stays_high;
        let mut leaving = Vec::new();
        if members.len() > LEAF {
            stays_high = is_high(&members[0]);
        } else {
            stays_high = members.iter().filter(|member| is_high(member)).count() * 2 > members.len();
            leaving.extend(members.extract_if(.., |member| is_high(member) != stays_high));
        }
        let (low, high, top) = (node.low, node.high, node.above);
        let mut half = Node { low, high, above: top, body: Body::Leaf(leaving) };
        let (upper, lower) = if stays_high { (node, &mut half) } else { (&mut half, node) };
        (upper.low[axis], lower.high[axis]) = (plane, plane);
        let other = self.new_node(half);
        let halves = if stays_high { [other, leaf] } else { [leaf, other] };
        let above = self.new_node(Node { low, high, above: top, body: Body::Cut { axis, plane, halves } });
        self.replace_below(top, leaf, above);
        for half in halves {
            self.nodes[half as usize].above = Above::Node(above);
        }
        self.reseat(other, 0);
        // The places in a crowd are as they were.
        if self.len(leaf) <= LEAF {
            self.reseat(leaf, 0);
        }
        halves
    }

    /// Joins a leaf with its sibling, and that with its sibling, as long as they are empty enough; closes an empty cell.
    fn tidy(&mut self, mut leaf: u32) {
        loop {
            let above = match self.nodes[leaf as usize].above {
                Above::Node(above) => above,
                Above::Cell(_) if self.len(leaf) > 0 => return,
                Above::Cell(_) => {
                    self.cells.close(Cells::key(&self.nodes[leaf as usize].low));
                    self.free_node(leaf);
                    return;
                }
            };
            let Body::Cut { halves, .. } = self.nodes[above as usize].body else { return };
            let sibling = halves[usize::from(halves[0] == leaf)];
            if matches!(self.body(sibling), Body::Cut { .. }) {
                return;
            }
            let (ours, theirs) = (self.len(leaf), self.len(sibling));
            if ours + theirs > JOIN && ours > 0 && theirs > 0 {
                return;
            }
            let (kept, gone) = if ours >= theirs { (leaf, sibling) } else { (sibling, leaf) };
            self.join(above, kept, gone);
            leaf = kept;
        }
    }

    /// Puts one leaf with the riders of two in the place of the node above them.
    fn join(&mut self, above: u32, kept: u32, gone: u32) {
        let moving = self.free_node(gone);
        let Node { low, high, above: top, .. } = self.nodes[above as usize];
        let first = self.len(kept);
        let node = &mut self.nodes[kept as usize];
        (node.low, node.high, node.above) = (low, high, top);
        if let (Body::Leaf(members), Body::Leaf(moving)) = (&mut node.body, moving) {
            members.extend(moving);
        }
        self.reseat(kept, first);
        self.replace_below(top, above, kept);
        self.free_node(above);
    }

    fn new_node(&mut self, node: Node) -> u32 {
        if let Some(free) = self.free_nodes.pop() {
            self.nodes[free as usize] = node;
            return free;
        }
        self.nodes.push(node);
        number(self.nodes.len() - 1)
    }

    /// Lets a node be used again; returns what it held.
    fn free_node(&mut self, node: u32) -> Body {
        self.free_nodes.push(node);
        std::mem::replace(&mut self.nodes[node as usize].body, Body::Leaf(Vec::new()))
    }

    /// Riders in a leaf.
    fn len(&self, leaf: u32) -> usize {
        match self.body(leaf) {
            Body::Leaf(members) => members.len(),
            Body::Cut { .. } => 0,
        }
    }

    /// Lets what stands above know that another node has taken a node's place.
    fn replace_below(&mut self, top: Above, before: u32, after: u32) {
        match top {
            Above::Cell(cell) => self.cells.set_root(cell, after),
            Above::Node(top) => {
                if let Body::Cut { halves, .. } = &mut self.nodes[top as usize].body {
                    halves[usize::from(halves[1] == before)] = after;
                }
            }
        }
    }

    /// Appends a rider to a leaf.
    fn sit(&mut self, leaf: u32, member: Member) {
        if let Body::Leaf(members) = &mut self.nodes[leaf as usize].body {
            let seat = &mut self.seats[member.slot as usize];
            (seat.leaf, seat.place) = (leaf, number(members.len()));
            members.push(member);
        }
    }

    /// Takes a rider out of a leaf; the last one takes the place.
    fn unseat(&mut self, leaf: u32, place: u32) {
        if let Body::Leaf(members) = &mut self.nodes[leaf as usize].body {
            members.swap_remove(place as usize);
            if let Some(moved) = members.get(place as usize) {
                self.seats[moved.slot as usize].place = place;
            }
            // A crowd that has dispersed gives its memory back.
            if members.capacity() > 4 * LEAF && members.capacity() > 4 * members.len() {
                members.shrink_to(2 * members.len());
            }
        }
    }

    /// Writes down where the riders of a leaf are, from one place on.
    fn reseat(&mut self, leaf: u32, first: usize) {
        if let Body::Leaf(members) = &self.nodes[leaf as usize].body {
            for (place, member) in members.iter().enumerate().skip(first) {
                let seat = &mut self.seats[member.slot as usize];
                (seat.leaf, seat.place) = (leaf, number(place));
            }
        }
    }
}

/// A length as a number for a slot, a node or a place: no city has four thousand million riders.
pub(super) fn number(len: usize) -> u32 {
    u32::try_from(len).unwrap_or(u32::MAX)
}

#[cfg(test)]
impl Ground {
    /// Fails unless every rider sits where the seat says, within bounds that fill the cell, in leaves of a legal size,
    /// and no node is lost.
    pub fn check(&self) {
        let (mut riders, mut nodes) = (0, 0);
        for (key, root) in self.cells.all() {
            let Node { low, high, above, .. } = &self.nodes[root as usize];
            assert_eq!((*low, *high), Cells::bounds(key));
            assert!(matches!(above, Above::Cell(_)) && self.cells.root_at(key) == Some(root));
            self.check_node(root, &mut riders, &mut nodes);
        }
        assert_eq!(riders + self.free_slots.len(), self.seats.len());
        assert_eq!(nodes + self.free_nodes.len(), self.nodes.len());
    }

    fn check_node(&self, id: u32, riders: &mut usize, nodes: &mut usize) {
        *nodes += 1;
        let node = &self.nodes[id as usize];
        match &node.body {
            Body::Leaf(members) => {
                *riders += members.len();
                assert!(members.len() <= LEAF || members.iter().all(|member| member.at == members[0].at));
                for (place, member) in members.iter().enumerate() {
                    let seat = self.seats[member.slot as usize];
                    assert!(node.holds(&member.at) && (seat.leaf, seat.place) == (id, number(place)));
                }
                assert!(!members.is_empty() || matches!(node.above, Above::Node(_)), "an empty cell stays open");
            }
            Body::Cut { axis, plane, halves } => {
                let [below, from] = halves.map(|half| &self.nodes[half as usize]);
                let (mut middle_high, mut middle_low) = (node.high, node.low);
                (middle_high[*axis], middle_low[*axis]) = (*plane, *plane);
                assert_eq!(
                    (below.low, below.high, from.low, from.high),
                    (node.low, middle_high, middle_low, node.high)
                );
                let sizes = halves.map(|half| match self.body(half) {
                    Body::Leaf(members) => Some(members.len()),
                    Body::Cut { .. } => None,
                });
                if let [Some(a), Some(b)] = sizes {
                    assert!(a > 0 && b > 0, "an empty leaf beside a leaf");
                }
                for half in halves {
                    assert!(matches!(self.nodes[*half as usize].above, Above::Node(above) if above == id));
                    self.check_node(*half, riders, nodes);
                }
            }
        }
    }
}

//! Which squares of ground have riders: the R-tree.
//!
//! A cell is a square of [`SIDE_M`] metres in the plane of the frame, aligned to multiples of it. The R-tree holds the
//! cells with riders and changes only when a cell gains its first rider or loses its last one: a rider who moves within
//! a cell leaves it alone. What stands inside a cell is for `ground` to say; here a cell is the number of its root node.

use std::collections::BTreeMap;

use rstar::{AABB, PointDistance, RStarInsertionStrategy, RTree, RTreeObject, RTreeParams};

use super::plane::Point;

/// The side of a cell, metres. A power of two, so that dividing by it is exact. A city of 30 km has some 900 cells: a
/// tree that fits the processor's caches, and a motorcycle that pings every 5 s changes its cell every third minute.
/// Half and a quarter of it made searches and updates slower, twice as much made no difference.
const SIDE_M: f64 = 1_024.0;

/// Entries per node of the R-tree. Flatter than with rstar's default of 6; between 6 and 20 it matters little to a tree
/// that changes so seldom, beyond it searches become slower.
#[derive(Clone, Copy, Debug)]
struct Nodes;

impl RTreeParams for Nodes {
    const MIN_SIZE: usize = 8;
    const MAX_SIZE: usize = 20;
    const REINSERTION_COUNT: usize = 6;
    type DefaultInsertionStrategy = RStarInsertionStrategy;
}

/// A cell in the tree: its south-west corner in metres, and its root node.
#[derive(Clone, Copy, Debug)]
struct Square {
    corner: [f64; 2],
    id: u32,
}

impl PartialEq for Square {
    /// There is one cell per corner.
    fn eq(&self, other: &Self) -> bool {
        self.corner == other.corner
    }
}

impl RTreeObject for Square {
    type Envelope = AABB<[f64; 2]>;

    fn envelope(&self) -> Self::Envelope {
        AABB::from_corners(self.corner, self.corner.map(|metres| metres + SIDE_M))
    }
}

impl PointDistance for Square {
    fn distance_2(&self, point: &[f64; 2]) -> f64 {
        self.envelope().distance_2(point)
    }
}

/// Where a cell stands in the grid.
pub(super) type Key = [i32; 2];

/// The cells with riders.
#[derive(Clone, Debug, Default)]
pub(super) struct Cells {
    tree: RTree<Square, Nodes>,
    by_key: BTreeMap<Key, u32>,
    /// The root node of each cell; a cell that is closed leaves a gap for the next one.
    roots: Vec<u32>,
    gaps: Vec<u32>,
}

impl Cells {
    /// The cell in whose square a point lies; the earth has 25,000 of them from end to end.
    pub fn key(at: &Point) -> Key {
        [at[0], at[1]].map(|metres| (metres / SIDE_M).floor() as i32)
    }

    /// The ground of a cell: its lower and upper bounds in all three directions, of which the upper ones lie outside.
    pub fn bounds(key: Key) -> (Point, Point) {
        let [x, y] = key.map(|number| f64::from(number) * SIDE_M);
        ([x, y, f64::NEG_INFINITY], [x + SIDE_M, y + SIDE_M, f64::INFINITY])
    }

    /// The root node of a cell, when it has riders.
    pub fn root_at(&self, key: Key) -> Option<u32> {
        self.by_key.get(&key).map(|id| self.roots[*id as usize])
    }

    /// Opens a cell that has no riders yet, with the number that its root node will have; returns the cell's own.
    pub fn open(&mut self, key: Key, root: u32) -> u32 {
        let id = self.gaps.pop().unwrap_or_else(|| {
            self.roots.push(0);
            u32::try_from(self.roots.len() - 1).unwrap_or(u32::MAX)
        });
        self.roots[id as usize] = root;
        self.by_key.insert(key, id);
        let corner = key.map(|number| f64::from(number) * SIDE_M);
        self.tree.insert(Square { corner, id });
        id
    }

    /// Another node becomes the root of a cell.
    pub fn set_root(&mut self, id: u32, root: u32) {
        self.roots[id as usize] = root;
    }

    /// Closes a cell that has no riders any more.
    pub fn close(&mut self, key: Key) {
        if let Some(id) = self.by_key.remove(&key) {
            self.gaps.push(id);
            let corner = key.map(|number| f64::from(number) * SIDE_M);
            self.tree.remove(&Square { corner, id });
        }
    }

    /// The root nodes of the cells, nearest first, each with a lower bound of the squared chord to what it holds.
    pub fn nearest(&self, from: Point) -> impl Iterator<Item = (f64, u32)> + '_ {
        self.tree
            .nearest_neighbor_iter_with_distance_2([from[0], from[1]])
            .map(|(square, bound_2)| (bound_2, self.roots[square.id as usize]))
    }
}

#[cfg(test)]
impl Cells {
    /// Every cell and its root node; fails unless the tree holds the same ones.
    pub fn all(&self) -> Vec<(Key, u32)> {
        let in_tree: BTreeMap<Key, u32> =
            self.tree.iter().map(|square| (Self::key(&[square.corner[0], square.corner[1], 0.0]), square.id)).collect();
        assert_eq!(in_tree, self.by_key);
        self.by_key.iter().map(|(key, id)| (*key, self.roots[*id as usize])).collect()
    }
}

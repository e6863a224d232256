//! Going round a long list a part at a time: what was forgotten is found within some ticks, and no tick is long for it.
//! Whoever ends says so; this is for those who could not.

use std::{
    collections::BTreeMap,
    ops::Bound::{Excluded, Unbounded},
};

/// Entries looked at in one turn, at least: a small list is seen whole.
const LEAST: usize = 256;

/// In so many turns a long list has been seen once.
const TURNS: usize = 16;

/// A place on the way round a map.
#[derive(Debug)]
pub struct Round<K> {
    after: Option<K>,
}

impl<K> Default for Round<K> {
    fn default() -> Self {
        Self { after: None }
    }
}

impl<K: Ord + Copy> Round<K> {
    /// Looks at the next part of the map, and returns the keys of those entries that are over.
    pub fn over<V>(&mut self, map: &BTreeMap<K, V>, is_over: impl Fn(&V) -> bool) -> Vec<K> {
        let part = map.len().div_ceil(TURNS).max(LEAST);
        let from = self.after.map_or(Unbounded, Excluded);
        let (mut seen, mut last, mut over) = (0, None, Vec::new());
        for (key, value) in map.range((from, Unbounded)).take(part) {
            (seen, last) = (seen + 1, Some(*key));
            if is_over(value) {
                over.push(*key);
            }
        }
        // At the end of the map the next turn begins anew.
        self.after = last.filter(|_| seen == part);
        over
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_map_is_seen_whole_each_time() {
        let map: BTreeMap<u64, bool> = (0..200).map(|key| (key, key % 100 == 0)).collect();
        let mut round = Round::default();
        for _ in 0..3 {
            assert_eq!(round.over(&map, |over| *over), [0, 100]);
        }
        assert!(round.over(&BTreeMap::new(), |over: &bool| *over).is_empty());
    }

    #[test]
    fn a_large_one_is_seen_once_in_sixteen_turns_whatever_comes_and_goes() {
        let mut map: BTreeMap<u64, bool> = (0..20_000).map(|key| (key, key % 1_000 == 999)).collect();
        let mut round = Round::default();
        let mut most = 0;
        for turn in 0..17 {
            let looked = std::cell::Cell::new(0);
            let over = round.over(&map, |over| {
                looked.set(looked.get() + 1);
                *over
            });
            most = most.max(looked.get());
            map.retain(|key, _| !over.contains(key));
            map.insert(30_000 + turn, false);
        }
        assert!(most <= 1_250, "{most} of 20,000 in one turn");
        assert!(map.values().all(|over| !over), "everybody was looked at");
        // And round again.
        map.insert(5, true);
        assert!((0..17).any(|_| round.over(&map, |over| *over) == [5]));
    }
}

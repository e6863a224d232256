//! Who is let in next: first come, first served, in two lines. Pure.

use std::collections::VecDeque;

/// Riders with work in hand or an open offer who may go before one of the others does.
const IN_A_ROW: u32 = 3;

/// Two lines with one bound. In the first stand those whom somebody waits for; they go first, but every fourth turn
/// belongs to the others, so that nobody waits for ever.
#[derive(Debug)]
pub struct Waiting<T> {
    bound: usize,
    first: VecDeque<T>,
    others: VecDeque<T>,
    in_a_row: u32,
}

impl<T> Waiting<T> {
    /// Room for `bound` of them in both lines together.
    #[must_use]
    pub const fn new(bound: usize) -> Self {
        Self { bound, first: VecDeque::new(), others: VecDeque::new(), in_a_row: 0 }
    }

    /// How many wait.
    #[must_use]
    pub fn len(&self) -> usize {
        self.first.len() + self.others.len()
    }

    /// Takes one in at the end of a line. Given back is who finds no place: when all are taken, the newest of the others
    /// makes room for one who goes first. Those who have gone away meanwhile hold no place.
    pub fn enter(&mut self, one: T, goes_first: bool, is_gone: impl Fn(&T) -> bool) -> Option<T> {
        if self.len() >= self.bound {
            self.first.retain(|one| !is_gone(one));
            self.others.retain(|one| !is_gone(one));
        }
        let full = self.len() >= self.bound;
        match (goes_first, full) {
            (false, true) => return Some(one),
            (false, false) => self.others.push_back(one),
            (true, false) => self.first.push_back(one),
            (true, true) => {
                let Some(newest) = self.others.pop_back() else { return Some(one) };
                self.first.push_back(one);
                return Some(newest);
            }
        }
        None
    }

    /// The next one.
    pub fn next(&mut self) -> Option<T> {
        let others_turn = self.in_a_row >= IN_A_ROW && !self.others.is_empty();
        if !others_turn && let Some(one) = self.first.pop_front() {
            self.in_a_row += 1;
            return Some(one);
        }
        self.in_a_row = 0;
        self.others.pop_front()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn all(waiting: &mut Waiting<i32>) -> Vec<i32> {
        std::iter::from_fn(|| waiting.next()).collect()
    }

    #[test]
    fn those_somebody_waits_for_go_first_and_nobody_waits_for_ever() {
        let mut waiting = Waiting::new(100);
        for n in 1..=3 {
            assert_eq!(waiting.enter(n, false, |_| false), None);
        }
        for n in 11..=18 {
            assert_eq!(waiting.enter(n, true, |_| false), None);
        }
        assert_eq!(all(&mut waiting), [11, 12, 13, 1, 14, 15, 16, 2, 17, 18, 3]);
    }

    #[test]
    fn the_newest_of_the_others_makes_room() {
        let mut waiting = Waiting::new(2);
        assert_eq!(waiting.enter(1, false, |_| false), None);
        assert_eq!(waiting.enter(2, false, |_| false), None);
        assert_eq!(waiting.enter(3, false, |_| false), Some(3), "no room");
        assert_eq!(waiting.enter(11, true, |_| false), Some(2));
        assert_eq!(waiting.enter(12, true, |_| false), Some(1));
        assert_eq!(waiting.enter(13, true, |_| false), Some(13), "all of them are waited for");
        assert_eq!(waiting.len(), 2);
        assert_eq!(waiting.enter(14, true, |one| *one == 11), None, "one had gone away");
        assert_eq!(all(&mut waiting), [12, 14]);
    }
}

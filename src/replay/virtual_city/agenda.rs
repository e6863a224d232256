//! What will happen and when: the events of a virtual city in the order of their time, those of one instant in the order in
//! which they were entered. Nothing else decides the order of things, so the same seed lives the same day.

use std::{cmp::Reverse, collections::BinaryHeap};

use crate::domain::ids::TransitionId;

/// Something that happens at a time. Numbers are indices of the scenario.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Event {
    /// The city's tick.
    Tick,
    /// A merchant places an order.
    Place(usize),
    /// A merchant calls an order off.
    Cancel(usize),
    /// A kitchen announces a delay.
    Delay(usize),
    /// A rider has something to do.
    Wake(usize),
    /// The journal has stored a write.
    Stored(TransitionId),
}

/// The events that are still to come.
#[derive(Debug, Default)]
pub(super) struct Agenda {
    heap: BinaryHeap<Reverse<(i64, u64, Event)>>,
    entered: u64,
    longest: usize,
}

impl Agenda {
    /// Enters an event.
    pub fn enter(&mut self, at: i64, event: Event) {
        self.entered += 1;
        self.heap.push(Reverse((at, self.entered, event)));
        self.longest = self.longest.max(self.heap.len());
    }

    /// Takes the next event out, with its time.
    pub fn next(&mut self) -> Option<(i64, Event)> {
        self.heap.pop().map(|Reverse((at, _, event))| (at, event))
    }

    /// When the next event happens.
    pub fn next_at(&self) -> Option<i64> {
        self.heap.peek().map(|Reverse((at, _, _))| *at)
    }

    /// The most events that were to come at once.
    pub const fn longest(&self) -> usize {
        self.longest
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_come_by_time_then_as_entered() {
        let mut agenda = Agenda::default();
        agenda.enter(5, Event::Tick);
        agenda.enter(3, Event::Wake(9));
        agenda.enter(3, Event::Place(1));
        agenda.enter(-1, Event::Wake(2));
        assert_eq!((agenda.next_at(), agenda.longest()), (Some(-1), 4));
        let order: Vec<_> = std::iter::from_fn(|| agenda.next()).collect();
        assert_eq!(order, [(-1, Event::Wake(2)), (3, Event::Wake(9)), (3, Event::Place(1)), (5, Event::Tick)]);
        assert_eq!(agenda.next_at(), None);
    }
}

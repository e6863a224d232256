//! Progress against a model that keeps every number by itself.

use std::collections::{BTreeMap, BTreeSet};

use proptest::prelude::*;

use super::*;

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    Outstanding,
    Dropped,
    Settled,
}

/// The same by the words of the protocol; a number that is not in it has not come.
#[derive(Clone, Debug, Default)]
struct Model {
    numbers: BTreeMap<u64, State>,
    /// Came once, were dropped, and are wanted again.
    wanted: BTreeSet<u64>,
    in_order: bool,
}

impl Model {
    fn prefix(&self, good: impl Fn(State) -> bool) -> u64 {
        (1..).take_while(|n| self.numbers.get(n).is_some_and(|state| good(*state))).last().unwrap_or(0)
    }

    fn come(&mut self, seq: u64, state: State) {
        if self.numbers.contains_key(&seq) {
            return;
        }
        if self.in_order {
            self.never_come(seq);
        }
        self.numbers.insert(seq, state);
    }

    fn never_come(&mut self, below: u64) {
        for n in 1..below {
            self.numbers.entry(n).or_insert(State::Settled);
        }
    }
}

/// What may happen to a run.
#[derive(Clone, Copy, Debug)]
enum Event {
    Expect(Option<u64>),
    Accepted(u64),
    Refused(u64),
    Thinned(u64),
    Stored(u64),
    Again(u64),
    Dropped(u64),
    DroppedAll,
    Reopen,
}

fn event() -> impl Strategy<Value = Event> {
    let seq = || 1..40_u64;
    prop_oneof![
        2 => prop::option::of(1..30_u64).prop_map(Event::Expect),
        8 => seq().prop_map(Event::Accepted),
        2 => seq().prop_map(Event::Refused),
        2 => seq().prop_map(Event::Thinned),
        8 => seq().prop_map(Event::Stored),
        2 => seq().prop_map(Event::Again),
        1 => seq().prop_map(Event::Dropped),
        1 => Just(Event::DroppedAll),
        2 => Just(Event::Reopen),
    ]
}

fn both(progress: &mut Progress, model: &mut Model, event: Event) {
    use State::{Dropped, Outstanding, Settled};
    match event {
        Event::Expect(oldest) => {
            progress.expect(oldest);
            model.in_order = oldest.is_none();
            model.never_come(oldest.unwrap_or(0));
            for (_, state) in model.numbers.range_mut(..oldest.unwrap_or(0)) {
                if *state == Dropped {
                    *state = Settled;
                }
            }
        }
        Event::Accepted(seq) => {
            progress.accepted(seq);
            model.come(seq, Outstanding);
        }
        Event::Refused(seq) => {
            progress.refused(seq);
            model.come(seq, Settled);
        }
        // Only what is on its way is left out or stored.
        Event::Thinned(seq) if model.numbers.get(&seq) != Some(&Dropped) => {
            progress.thinned(seq);
            model.come(seq, Settled);
            model.numbers.insert(seq, Settled);
        }
        // A number that never came does not come by being stored.
        Event::Stored(seq) => {
            progress.stored(seq);
            if model.numbers.contains_key(&seq) || model.wanted.contains(&seq) {
                model.numbers.insert(seq, Settled);
            }
        }
        Event::Again(seq) => {
            progress.came_again(seq);
            if model.in_order && model.numbers.contains_key(&seq) {
                model.never_come(seq);
            }
        }
        Event::Dropped(seq) => {
            progress.dropped(seq);
            if let Some(state @ Outstanding) = model.numbers.get_mut(&seq) {
                *state = Dropped;
            }
        }
        Event::DroppedAll => {
            for (seq, state) in model.numbers.iter_mut().filter(|(_, state)| **state == Outstanding) {
                progress.dropped(*seq);
                *state = Dropped;
            }
        }
        Event::Reopen => {
            progress.reopen();
            let dropped = model.numbers.iter().filter(|(_, state)| **state == Dropped);
            model.wanted.extend(dropped.map(|(seq, _)| *seq));
            model.numbers.retain(|_, state| *state != Dropped);
        }
        Event::Thinned(_) => {}
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]
    #[test]
    fn progress_says_what_the_model_says(events in prop::collection::vec(event(), 1..120)) {
        let (mut progress, mut model) = (Progress::new(0), Model { in_order: true, ..Model::default() });
        for event in events {
            both(&mut progress, &mut model, event);
            prop_assert_eq!(progress.received_to(), model.prefix(|_| true), "{:?}", event);
            prop_assert_eq!(progress.settled_to(), model.prefix(|state| state == State::Settled), "{:?}", event);
            let dropped = model.numbers.values().any(|state| *state == State::Dropped);
            prop_assert_eq!(progress.has_dropped(), dropped, "{:?}", event);
            prop_assert!((1..45).all(|n| progress.has(n) == model.numbers.contains_key(&n)), "{:?}", event);
            let again = progress.settled();
            prop_assert_eq!(again.settled_to(), progress.settled_to());
            let settled = |n| model.numbers.get(&n) == Some(&State::Settled);
            prop_assert!((1..45).all(|n| again.has(n) == settled(n)), "{:?}", event);
        }
    }
}

#[test]
fn in_order_stored_follows_the_commits_and_covers_what_needs_none() {
    let mut progress = Progress::new(0);
    progress.accepted(1);
    progress.accepted(2);
    progress.refused(3);
    progress.thinned(6);
    assert_eq!((progress.received_to(), progress.settled_to()), (6, 0));
    progress.stored(1);
    assert_eq!(progress.settled_to(), 1);
    progress.stored(2);
    assert_eq!(progress.settled_to(), 6, "4 and 5 were skipped: they never come");
}

#[test]
fn a_backlog_may_come_newest_first() {
    let mut progress = Progress::new(0);
    progress.expect(Some(3));
    assert_eq!((progress.received_to(), progress.settled_to()), (2, 2));
    for seq in (3..=1_000).rev() {
        progress.accepted(seq);
        assert_eq!(progress.received_to(), if seq == 3 { 1_000 } else { 2 });
    }
    for seq in (500..=1_000).chain(3..500) {
        progress.stored(seq);
    }
    assert_eq!((progress.settled_to(), progress.take_given_up()), (1_000, 0));
}

#[test]
fn too_many_gaps_give_the_lowest_one_up() {
    let mut progress = Progress::new(0);
    progress.expect(Some(1));
    let most = MOST_RANGES as u64;
    for n in 1..=most {
        progress.accepted(n * 3);
    }
    assert_eq!((progress.received_to(), progress.take_given_up()), (0, 0));
    progress.accepted(most * 3 + 3);
    assert_eq!((progress.received_to(), progress.take_given_up()), (3, 2));
    assert!(progress.has(1) && !progress.has(4));
    assert_eq!(progress.settled_to(), 2, "what is on its way is not settled by that");
}

#[test]
fn what_was_stored_is_known_after_a_restart() {
    let mut stored = Ranges::new();
    for (first, last) in [(7, 9), (12, 14)] {
        stored.insert(first, last);
    }
    let mut any_order = Progress::new(0);
    any_order.restore(&stored, Some(5));
    assert_eq!((any_order.received_to(), any_order.settled_to()), (4, 4));
    assert!(any_order.has(8) && any_order.has(13) && !any_order.has(5) && !any_order.has(10));
    let mut in_order = Progress::new(0);
    in_order.restore(&stored, None);
    assert_eq!((in_order.received_to(), in_order.settled_to()), (0, 0), "what lies between may be lost");
    assert!(in_order.has(7) && in_order.has(14) && !in_order.has(6) && !in_order.has(10));
    // It sends again what it holds: the first of it fills the gap below.
    in_order.accepted(6);
    assert_eq!((in_order.received_to(), in_order.settled_to()), (9, 5));
    in_order.stored(6);
    in_order.came_again(13);
    assert_eq!((in_order.received_to(), in_order.settled_to()), (14, 14), "10 and 11 were skipped");
    // From the first one on it is told what is known.
    let mut from_one = Progress::new(0);
    stored.insert(1, 3);
    from_one.restore(&stored, None);
    assert_eq!((from_one.received_to(), from_one.settled_to()), (3, 3));
}

#[test]
fn a_thinned_run_that_was_restored_is_known_whole_and_gives_nothing_up() {
    let mut stored = Ranges::new();
    (1..=4_096).for_each(|n| stored.insert(n * 3, n * 3));
    let mut progress = Progress::new(0);
    progress.restore(&stored, Some(1));
    progress.reopen();
    assert!((1..=4_096 * 3).all(|seq| progress.has(seq) == (seq % 3 == 0)));
    assert!((1..=4_096 * 3).all(|seq| progress.settled().has(seq) == (seq % 3 == 0)), "also in another city");
    // Its points come again, newest first; what was thinned or lost is new.
    for seq in (2..=4_096 * 3).rev().filter(|seq| seq % 3 != 0) {
        progress.refused(seq);
    }
    assert_eq!((progress.received_to(), progress.take_given_up()), (0, 0));
    progress.refused(1);
    assert_eq!((progress.received_to(), progress.settled_to()), (4_096 * 3, 4_096 * 3));
    // The room was for what was restored.
    for n in 0..=MOST_RANGES as u64 {
        progress.refused(20_000 + n * 2);
    }
    assert_eq!(progress.take_given_up(), 20_000 - 4_096 * 3 - 1);
}

#[test]
fn holes_beside_what_was_restored_are_given_up_as_ever() {
    let mut stored = Ranges::new();
    (1..=100).for_each(|n| stored.insert(n * 3, n * 3));
    let mut progress = Progress::new(0);
    progress.restore(&stored, Some(1));
    for n in 0..MOST_RANGES as u64 {
        progress.refused(1_000 + n * 2);
    }
    assert_eq!((progress.received_to(), progress.take_given_up()), (0, 0));
    progress.refused(1_000 + 2 * MOST_RANGES as u64);
    assert_eq!((progress.received_to(), progress.take_given_up()), (3, 2), "the lowest gap");
}

#[test]
fn what_was_never_sent_is_not_received_by_being_stored() {
    let mut progress = Progress::new(0);
    progress.expect(Some(1));
    progress.stored(40);
    assert!(!progress.has(40));
    progress.accepted(1);
    progress.stored(1);
    assert_eq!((progress.received_to(), progress.settled_to()), (1, 1));
}

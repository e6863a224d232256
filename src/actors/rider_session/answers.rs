//! Requests of one session and their answers: a request that comes again gets the same answer, once per time it asked,
//! and only so many are in flight. Pure.

use std::collections::VecDeque;

use crate::wire::rider::Down;

/// What to do with a request.
#[derive(Debug, PartialEq)]
pub enum Admission {
    /// It is new: ask.
    New,
    /// It was answered: this is the answer.
    Known(Box<Down>),
    /// It is being answered: the answer will count for this one too.
    Waiting,
    /// Too many are in flight.
    TooMany,
    /// The id belongs to another request.
    Reused,
}

/// The memory of a session.
#[derive(Debug)]
pub struct Answers {
    max_in_flight: usize,
    remembered: usize,
    entries: VecDeque<Entry>,
    in_flight: usize,
}

#[derive(Debug)]
struct Entry {
    id: String,
    digest: [u8; 32],
    state: State,
}

#[derive(Debug)]
enum State {
    InFlight { asked: u32, told: bool },
    Answered(Box<Down>),
}

impl Answers {
    /// An empty memory of at most `remembered` answers, for at most `max_in_flight` requests at a time.
    #[must_use]
    pub const fn new(max_in_flight: usize, remembered: usize) -> Self {
        Self { max_in_flight, remembered, entries: VecDeque::new(), in_flight: 0 }
    }

    /// Whether a request is in flight.
    #[must_use]
    pub const fn are_awaited(&self) -> bool {
        self.in_flight > 0
    }

    /// Whether this request is in flight.
    #[must_use]
    pub fn is_awaited(&self, id: &str) -> bool {
        self.entries.iter().any(|entry| entry.id == id && matches!(entry.state, State::InFlight { .. }))
    }

    /// Whether the device is to be told now that its request waits: it does, and was not told before.
    pub fn tell_of_waiting(&mut self, id: &str) -> bool {
        self.entries.iter_mut().any(|entry| match &mut entry.state {
            State::InFlight { told, .. } if entry.id == id => !std::mem::replace(told, true),
            _ => false,
        })
    }

    /// Takes a request in.
    pub fn admit(&mut self, id: &str, digest: &[u8; 32]) -> Admission {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.id == id) {
            if entry.digest != *digest {
                return Admission::Reused;
            }
            return match &mut entry.state {
                State::Answered(answer) => Admission::Known(answer.clone()),
                State::InFlight { asked, .. } => {
                    *asked = asked.saturating_add(1).min(8);
                    Admission::Waiting
                }
            };
        }
        if self.in_flight >= self.max_in_flight {
            return Admission::TooMany;
        }
        self.in_flight += 1;
        let state = State::InFlight { asked: 1, told: false };
        // Most sessions ask for one thing all shift, their duty: room for four, the usual beginning, is three too many.
        self.entries.reserve_exact(1);
        self.entries.push_back(Entry { id: id.to_owned(), digest: *digest, state });
        Admission::New
    }

    /// The answer came; says how often to send it. An answer that may be another one next time is not remembered.
    pub fn answered(&mut self, id: &str, answer: &Down, lasting: bool) -> u32 {
        let awaited = |entry: &Entry| entry.id == id && matches!(entry.state, State::InFlight { .. });
        let Some(at) = self.entries.iter().position(awaited) else { return 0 };
        let Some(entry) = self.entries.remove(at) else { return 0 };
        let State::InFlight { asked, .. } = entry.state else { return 0 };
        self.in_flight -= 1;
        if lasting {
            let state = State::Answered(Box::new(answer.clone()));
            self.entries.push_back(Entry { state, id: entry.id, digest: entry.digest });
            if self.entries.len() - self.in_flight > self.remembered {
                let oldest = self.entries.iter().position(|entry| matches!(entry.state, State::Answered(_)));
                oldest.and_then(|at| self.entries.remove(at));
            }
        }
        asked
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn answer(ms: u64) -> Down {
        Down::PingInterval { ms }
    }

    #[test]
    fn a_repeated_request_gets_the_same_answer() {
        let mut answers = Answers::new(2, 2);
        assert_eq!(answers.admit("a", &[0; 32]), Admission::New);
        assert_eq!(answers.admit("a", &[0; 32]), Admission::Waiting);
        assert_eq!(answers.answered("a", &answer(1), true), 2);
        assert_eq!(answers.admit("a", &[0; 32]), Admission::Known(Box::new(answer(1))));
        assert_eq!(answers.answered("a", &answer(2), true), 0, "it is answered once");
        assert_eq!(answers.admit("a", &[1; 32]), Admission::Reused);
    }

    #[test]
    fn a_request_that_waits_is_told_of_once() {
        let mut answers = Answers::new(2, 2);
        assert!(!answers.tell_of_waiting("a"), "nobody asked");
        answers.admit("a", &[0; 32]);
        answers.admit("b", &[0; 32]);
        assert!(answers.is_awaited("a") && answers.tell_of_waiting("a") && !answers.tell_of_waiting("a"));
        assert!(answers.tell_of_waiting("b"));
        answers.answered("a", &answer(1), true);
        assert!(!answers.is_awaited("a") && !answers.tell_of_waiting("a"));
    }

    #[test]
    fn a_passing_failure_is_not_remembered() {
        let mut answers = Answers::new(1, 2);
        answers.admit("a", &[0; 32]);
        assert_eq!(answers.admit("b", &[0; 32]), Admission::TooMany);
        assert_eq!(answers.answered("a", &answer(1), false), 1);
        assert_eq!(answers.admit("a", &[0; 32]), Admission::New);
    }

    #[test]
    fn the_oldest_answers_are_forgotten_and_requests_in_flight_never() {
        let mut answers = Answers::new(2, 2);
        answers.admit("slow", &[0; 32]);
        for id in ["a", "b", "c"] {
            assert_eq!(answers.admit(id, &[0; 32]), Admission::New);
            answers.answered(id, &answer(1), true);
        }
        assert_eq!(answers.admit("slow", &[0; 32]), Admission::Waiting);
        assert!(matches!(answers.admit("c", &[0; 32]), Admission::Known(_)));
        assert_eq!(answers.admit("a", &[0; 32]), Admission::New);
    }
}

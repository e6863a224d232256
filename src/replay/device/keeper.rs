//! The points that a device keeps until the server has them. Pure.
//!
//! Every point is kept until the server says that its number is settled, or that it was refused for a reason other than
//! that it is there already. After a reconnect the newest point goes first, so that the live dot is right at once, and
//! what is missing before it follows oldest first, as fast as the server takes it in. A device of the older kind sends
//! everything in the order of its numbers and says nothing of what it holds.

use std::collections::BTreeMap;

use serde::Serialize;
use uuid::Uuid;

use crate::wire::{
    codes::ping::DUPLICATE,
    rider::{Ping, RefusedPing, Up},
};

/// In which order a device sends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendOrder {
    /// The newest point first, then what is missing; frames say what the lowest number is that the device holds.
    NewestFirst,
    /// By number, and nothing is said of what the device holds.
    InOrder,
}

/// The bounds of a keeper.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Points kept at most; past it the oldest are given up.
    pub kept: usize,
    /// Points per frame.
    pub per_frame: usize,
    /// Points of the backlog under way at most: sent and not yet received.
    pub window: usize,
    /// How long after `welcome` the backlog waits for word of what the server has, milliseconds.
    pub hesitate_ms: i64,
}

impl Default for Limits {
    /// A few hours of points, frames of the size that the server takes, and a window of two of them.
    fn default() -> Self {
        Self { kept: 20_000, per_frame: 200, window: 400, hesitate_ms: 300 }
    }
}

/// What became of a device's points.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Tally {
    /// Points recorded.
    pub recorded: u64,
    /// Points that were sent at least once.
    pub sent: u64,
    /// Points that were sent once more, each time counted.
    pub resent: u64,
    /// Points that the server settled: stored, or left out by the city's policy.
    pub settled: u64,
    /// Points that the server refused, by reason.
    pub refused: BTreeMap<String, u64>,
    /// How often the server said that it had a point already.
    pub duplicates: u64,
    /// Points that the device gave up: its memory was full or its app restarted.
    pub given_up: u64,
    /// The most points that were kept at a time.
    pub worst_backlog: u64,
    /// Words of the server that make no sense: about points that were never sent.
    pub strange: u64,
}

impl Tally {
    /// Adds another tally to this one; of the backlogs the larger one counts.
    pub fn add(&mut self, other: &Self) {
        let Self { recorded, sent, resent, settled, refused, duplicates, given_up, worst_backlog, strange } = other;
        self.recorded += recorded;
        self.sent += sent;
        self.resent += resent;
        self.settled += settled;
        for (reason, count) in refused {
            *self.refused.entry(reason.clone()).or_default() += count;
        }
        self.duplicates += duplicates;
        self.given_up += given_up;
        self.worst_backlog = self.worst_backlog.max(*worst_backlog);
        self.strange += strange;
    }
}

/// What an acknowledgement settled.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Acked {
    /// Points that the device has forgotten because they are settled.
    pub settled: Vec<u64>,
    /// Points that it has forgotten because they were refused, and why.
    pub refused: Vec<(u64, String)>,
}

/// A point and whether it was ever sent.
#[derive(Clone, Debug)]
struct Kept {
    ping: Ping,
    sent: bool,
}

/// How far one connection has come.
#[derive(Clone, Copy, Debug)]
struct Line {
    /// Numbers from here on are sent as they come, those below are the backlog.
    live_from: u64,
    live_next: u64,
    backlog_next: u64,
    /// The backlog waits until then, unless word comes before.
    backlog_at: i64,
    /// Every number up to it was received, as far as this connection was told.
    received_to: u64,
    told_oldest: u64,
}

/// The points of one run of the app.
#[derive(Debug)]
pub struct Keeper {
    boot: Uuid,
    order: SendOrder,
    limits: Limits,
    last: u64,
    /// The highest number ever sent.
    sent_to: u64,
    kept: BTreeMap<u64, Kept>,
    line: Option<Line>,
    tally: Tally,
}

impl Keeper {
    /// For a fresh start of the app.
    #[must_use]
    pub fn new(boot: Uuid, order: SendOrder, limits: Limits) -> Self {
        let (kept, tally) = (BTreeMap::new(), Tally::default());
        Self { boot, order, limits, last: 0, sent_to: 0, kept, line: None, tally }
    }

    /// The run of the app.
    #[must_use]
    pub const fn boot(&self) -> Uuid {
        self.boot
    }

    /// Records a point, and returns the number that it is given.
    pub fn record(&mut self, mut ping: Ping) -> u64 {
        self.last += 1;
        ping.seq = self.last;
        if self.kept.len() >= self.limits.kept.max(1) {
            self.kept.pop_first();
            self.tally.given_up += 1;
        }
        self.kept.insert(self.last, Kept { ping, sent: false });
        self.tally.recorded += 1;
        self.tally.worst_backlog = self.tally.worst_backlog.max(self.kept.len() as u64);
        self.last
    }

    /// What `hello` says of the points that are held; a device that sends in order says nothing.
    #[must_use]
    pub fn oldest(&self) -> Option<u64> {
        (self.order == SendOrder::NewestFirst).then(|| self.first_kept())
    }

    fn first_kept(&self) -> u64 {
        self.kept.first_key_value().map_or(self.last + 1, |(seq, _)| *seq)
    }

    /// `welcome` came.
    pub fn connected(&mut self, now: i64) {
        let first = self.first_kept();
        let newest = self.kept.last_key_value().map_or(self.last + 1, |(seq, _)| *seq);
        let live = if self.order == SendOrder::NewestFirst { newest } else { u64::MAX };
        self.line = Some(Line {
            live_from: live,
            live_next: live,
            backlog_next: first,
            backlog_at: now.saturating_add(self.limits.hesitate_ms),
            received_to: 0,
            told_oldest: first,
        });
    }

    /// The connection is gone, and with it whatever was under way.
    pub fn disconnected(&mut self) {
        self.line = None;
    }

    /// The next frame for this connection, if there is anything to say; `sent_at` is what the device's clock shows. More
    /// may follow at once.
    pub fn next_frame(&mut self, now: i64, sent_at: i64) -> Option<Up> {
        let line = self.line?;
        let live = self.numbers(line.live_next, u64::MAX, self.limits.per_frame);
        if let Some(last) = live.last() {
            return Some(self.frame(&live, sent_at, |line| line.live_next = last + 1));
        }
        if now >= line.backlog_at {
            let under_way = self.under_way(&line);
            let room = self.limits.window.max(1).saturating_sub(under_way).min(self.limits.per_frame);
            let backlog = self.numbers(line.backlog_next, line.live_from, room);
            if let Some(last) = backlog.last() {
                return Some(self.frame(&backlog, sent_at, |line| line.backlog_next = last + 1));
            }
        }
        // A server that forgot what it refused waits for numbers that never come, until it hears of them.
        let waits = line.received_to.saturating_add(1) < self.first_kept() && line.told_oldest < self.first_kept();
        (self.order == SendOrder::NewestFirst && waits).then(|| self.frame(&[], sent_at, |_| {}))
    }

    /// When there will be something to say although nothing is recorded or heard until then.
    #[must_use]
    pub fn next_due(&self) -> Option<i64> {
        let line = self.line?;
        let room = self.under_way(&line) < self.limits.window.max(1);
        (room && !self.numbers(line.backlog_next, line.live_from, 1).is_empty()).then_some(line.backlog_at)
    }

    /// Points of the backlog that were sent on this connection and are not known to be received.
    fn under_way(&self, line: &Line) -> usize {
        let first = line.received_to.saturating_add(1);
        if first >= line.backlog_next { 0 } else { self.kept.range(first..line.backlog_next).count() }
    }

    fn numbers(&self, from: u64, to: u64, most: usize) -> Vec<u64> {
        if from >= to {
            return Vec::new();
        }
        self.kept.range(from..to).take(most).map(|(seq, _)| *seq).collect()
    }

    fn frame(&mut self, seqs: &[u64], sent_at: i64, moved: impl FnOnce(&mut Line)) -> Up {
        let mut pings = Vec::with_capacity(seqs.len());
        for seq in seqs {
            let Some(kept) = self.kept.get_mut(seq) else { continue };
            let count = if kept.sent { &mut self.tally.resent } else { &mut self.tally.sent };
            *count += 1;
            kept.sent = true;
            self.sent_to = self.sent_to.max(*seq);
            pings.push(kept.ping.clone());
        }
        let oldest = self.oldest();
        if let Some(line) = &mut self.line {
            moved(line);
            line.told_oldest = oldest.unwrap_or(line.told_oldest);
        }
        Up::Pings { pings, oldest, sent_at: Some(sent_at) }
    }

    /// Points that were sent before and go out once more for no good reason, as buggy apps do; at most so many, oldest first.
    pub fn stutter(&mut self, most: usize, sent_at: i64) -> Option<Up> {
        self.line?;
        let again = self.kept.iter().filter(|(_, kept)| kept.sent).map(|(seq, _)| *seq);
        let again: Vec<u64> = again.take(most).collect();
        (!again.is_empty()).then(|| self.frame(&again, sent_at, |_| {}))
    }

    /// The server's acknowledgement. `stored_to` may be lower than before, after a restart of the server: what was settled
    /// stays settled.
    pub fn acked(&mut self, received_to: u64, stored_to: u64, refused: &[RefusedPing]) -> Acked {
        // What lies below the lowest number that is held counts as received, sent or not.
        if received_to.max(stored_to) > self.sent_to.max(self.first_kept() - 1) {
            self.tally.strange += 1;
        }
        let mut acked = Acked::default();
        for RefusedPing { seq, reason } in refused {
            if *seq > self.sent_to {
                self.tally.strange += 1;
            } else if reason == DUPLICATE {
                // It is there, but perhaps not yet stored.
                self.tally.duplicates += 1;
            } else if self.kept.remove(seq).is_some() {
                *self.tally.refused.entry(reason.clone()).or_default() += 1;
                acked.refused.push((*seq, reason.clone()));
            }
        }
        while let Some(first) = self.kept.first_entry().filter(|first| *first.key() <= stored_to) {
            if !first.get().sent {
                // It cannot have what nobody sent; the point waits for its turn.
                self.tally.strange += 1;
                break;
            }
            acked.settled.push(*first.key());
            first.remove();
        }
        self.tally.settled += acked.settled.len() as u64;
        if let Some(line) = &mut self.line {
            let next = received_to.min(self.sent_to).saturating_add(1);
            if received_to < line.received_to {
                // The server lost some: everything sent so far is backlog again from there.
                if self.order == SendOrder::NewestFirst {
                    line.live_from = line.live_next;
                }
                line.backlog_next = line.backlog_next.min(next);
            } else {
                line.backlog_next = line.backlog_next.max(next).min(line.live_from);
                line.live_next = line.live_next.max(next);
            }
            line.received_to = received_to;
            // This is the word that the backlog waited for.
            line.backlog_at = i64::MIN;
        }
        acked
    }

    /// Points that were sent and that nobody said are received on this connection: should it end now, nobody hears what
    /// became of them.
    pub fn unheard(&self) -> impl Iterator<Item = u64> {
        let from = self.line.map_or(u64::MAX, |line| line.received_to.saturating_add(1));
        self.kept.range(from..).filter(|(_, kept)| kept.sent).map(|(seq, _)| *seq)
    }

    /// Points that are kept.
    #[must_use]
    pub fn backlog(&self) -> usize {
        self.kept.len()
    }

    /// The account so far.
    #[must_use]
    pub const fn tally(&self) -> &Tally {
        &self.tally
    }

    /// The app restarts: what was kept is lost and numbers begin anew. Answers the account of the run that ends.
    pub fn restart(&mut self, boot: Uuid) -> Tally {
        let mut ended = std::mem::replace(self, Self::new(boot, self.order, self.limits));
        ended.tally.given_up += ended.kept.len() as u64;
        ended.tally
    }
}

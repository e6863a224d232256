//! A keeper against a model of the server, as `src/wire/rider.rs` describes it: connections break in mid-frame, the server
//! is killed and forgets what it had not stored, and what it had refused.

use std::collections::{BTreeMap, BTreeSet};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

use super::keeper::{Keeper, Limits, SendOrder};
use crate::wire::{
    codes::ping::DUPLICATE,
    rider::{Ping, RefusedPing, Up},
};

const LIMITS: Limits = Limits { kept: 10_000, per_frame: 5, window: 12, hesitate_ms: 10 };

fn ping(lie: bool) -> Ping {
    let lat = if lie { 91.0 } else { 1.0 };
    Ping { seq: 0, at: 1, lat, lon: 1.0, accuracy_m: None, speed_mps: None, heading_deg: None, mock: false }
}

fn seqs(up: Option<Up>) -> Vec<u64> {
    let Some(Up::Pings { pings, .. }) = up else { return Vec::new() };
    pings.iter().map(|ping| ping.seq).collect()
}

fn refused(seq: u64, reason: &str) -> RefusedPing {
    RefusedPing { seq, reason: reason.into() }
}

fn keeper(order: SendOrder, points: u64) -> Keeper {
    let mut keeper = Keeper::new(Uuid::nil(), order, LIMITS);
    for _ in 0..points {
        keeper.record(ping(false));
    }
    keeper
}

/// Every frame that may be sent now.
fn all(keeper: &mut Keeper, now: i64) -> Vec<Vec<u64>> {
    std::iter::from_fn(|| keeper.next_frame(now, now).map(|up| seqs(Some(up)))).collect()
}

#[test]
fn the_newest_point_goes_first_and_the_backlog_follows_in_a_window() {
    let mut keeper = keeper(SendOrder::NewestFirst, 20);
    assert!(keeper.next_frame(0, 0).is_none(), "not connected");
    assert_eq!(keeper.oldest(), Some(1));
    keeper.connected(0);
    assert_eq!(all(&mut keeper, 0), [[20]], "the backlog waits for word of what the server has");
    assert_eq!(keeper.next_due(), Some(10));
    assert_eq!(all(&mut keeper, 10), [vec![1, 2, 3, 4, 5], vec![6, 7, 8, 9, 10], vec![11, 12]]);
    keeper.record(ping(false));
    assert_eq!(all(&mut keeper, 11), [[21]], "a new point does not wait for the window");
    assert_eq!(keeper.next_due(), None);
    keeper.acked(9, 3, &[]);
    assert_eq!((keeper.oldest(), all(&mut keeper, 12)), (Some(4), vec![vec![13, 14, 15, 16, 17], vec![18, 19]]));
    keeper.acked(21, 21, &[]);
    assert_eq!((keeper.backlog(), keeper.oldest(), all(&mut keeper, 13)), (0, Some(22), vec![]));
    let tally = keeper.tally();
    assert_eq!((tally.sent, tally.resent, tally.settled, tally.worst_backlog, tally.strange), (21, 0, 21, 21, 0));
}

#[test]
fn a_device_of_the_older_kind_sends_by_number_and_says_nothing_of_what_it_holds() {
    let mut keeper = keeper(SendOrder::InOrder, 6);
    keeper.connected(0);
    assert!(all(&mut keeper, 0).is_empty());
    let frame = keeper.next_frame(10, 7).unwrap();
    assert!(matches!(&frame, Up::Pings { oldest: None, sent_at: Some(7), .. }));
    assert_eq!(keeper.oldest(), None);
    assert_eq!((seqs(Some(frame)), all(&mut keeper, 10)), (vec![1, 2, 3, 4, 5], vec![vec![6]]));
    keeper.acked(4, 2, &[]);
    keeper.disconnected();
    keeper.record(ping(false));
    keeper.connected(20);
    keeper.acked(4, 2, &[]);
    assert_eq!(all(&mut keeper, 20), [[5, 6, 7]], "what was received is not sent again");
}

#[test]
fn what_the_server_lost_goes_out_again() {
    let mut keeper = keeper(SendOrder::NewestFirst, 4);
    keeper.connected(0);
    all(&mut keeper, 10);
    keeper.acked(4, 1, &[]);
    // On the same connection, and after a restart that knows of even less.
    keeper.acked(2, 1, &[]);
    assert_eq!(all(&mut keeper, 11), [[3, 4]]);
    keeper.disconnected();
    keeper.connected(20);
    keeper.acked(0, 0, &[]);
    assert_eq!(keeper.oldest(), Some(2));
    assert_eq!(all(&mut keeper, 20), [vec![4], vec![2, 3]]);
    assert_eq!(keeper.tally().strange, 0);
}

#[test]
fn a_duplicate_is_kept_until_it_is_settled_and_a_refused_point_is_forgotten() {
    let mut keeper = keeper(SendOrder::NewestFirst, 3);
    keeper.connected(0);
    all(&mut keeper, 10);
    let acked = keeper.acked(3, 0, &[refused(1, DUPLICATE), refused(2, "too_old"), refused(2, "too_old")]);
    assert_eq!(acked.refused, [(2, "too_old".to_owned())]);
    assert_eq!((keeper.backlog(), keeper.tally().duplicates, keeper.tally().refused["too_old"]), (2, 1, 1));
    assert_eq!(seqs(keeper.stutter(1, 0)), [1]);
    assert_eq!(keeper.acked(3, 3, &[refused(1, DUPLICATE)]).settled, [1, 3]);
    assert_eq!(keeper.tally().strange, 0);
}

#[test]
fn a_server_that_forgot_a_refusal_hears_that_the_number_never_comes() {
    let mut keeper = keeper(SendOrder::NewestFirst, 3);
    keeper.connected(0);
    all(&mut keeper, 10);
    keeper.acked(3, 0, &[refused(2, "too_old")]);
    keeper.disconnected();
    keeper.connected(20);
    assert_eq!(all(&mut keeper, 30), [[3], [1]]);
    keeper.acked(1, 1, &[]);
    let Some(Up::Pings { pings, oldest, .. }) = keeper.next_frame(31, 31) else { panic!("says nothing") };
    assert_eq!((pings.len(), oldest), (0, Some(3)));
    assert!(keeper.next_frame(31, 31).is_none(), "once is enough");
}

#[test]
fn memory_is_bounded_and_what_makes_no_sense_is_counted() {
    let limits = Limits { kept: 3, ..LIMITS };
    let mut keeper = Keeper::new(Uuid::nil(), SendOrder::NewestFirst, limits);
    for _ in 0..5 {
        keeper.record(ping(false));
    }
    assert_eq!((keeper.oldest(), keeper.tally().given_up, keeper.backlog()), (Some(3), 2, 3));
    keeper.connected(0);
    keeper.acked(2, 2, &[]);
    assert_eq!(keeper.tally().strange, 0, "what the device does not hold counts as received");
    keeper.acked(9, 9, &[refused(7, "future")]);
    assert_eq!((keeper.backlog(), keeper.tally().strange), (3, 3), "nobody has a point that was never sent");
    let ended = keeper.restart(Uuid::from_u128(1));
    assert_eq!((ended.given_up, ended.recorded, keeper.record(ping(false))), (5, 5, 1));
}

/// The server's half, as the protocol says.
#[derive(Default)]
struct Server {
    received: BTreeSet<u64>,
    settled: BTreeSet<u64>,
    buffer: Vec<u64>,
    rows: BTreeMap<u64, u32>,
    refused: Vec<RefusedPing>,
    /// The most numbers beyond the first that is missing.
    most_beyond: usize,
}

impl Server {
    fn prefix(numbers: &BTreeSet<u64>) -> u64 {
        (1..).zip(numbers).take_while(|(expected, number)| expected == *number).count() as u64
    }

    fn oldest(&mut self, oldest: u64) {
        self.received.extend(1..oldest);
        self.settled.extend(1..oldest);
    }

    fn frame(&mut self, up: Up) {
        let Up::Pings { pings, oldest, .. } = up else { return };
        if let Some(oldest) = oldest {
            self.oldest(oldest);
        }
        for Ping { seq, lat, .. } in pings {
            let old = oldest.is_none() && self.received.last().is_some_and(|last| *last >= seq);
            if old || self.received.contains(&seq) {
                self.refused.push(refused(seq, DUPLICATE));
                continue;
            }
            if oldest.is_none() {
                // Numbers that were skipped never come; what was received before is stored in its turn.
                let skipped: Vec<u64> = (1..seq).filter(|below| !self.received.contains(below)).collect();
                self.received.extend(&skipped);
                self.settled.extend(skipped);
            }
            self.received.insert(seq);
            if lat > 90.0 {
                self.settled.insert(seq);
                self.refused.push(refused(seq, "out_of_world"));
            } else {
                self.buffer.push(seq);
            }
        }
        let beyond = self.received.len() - Self::prefix(&self.received) as usize;
        self.most_beyond = self.most_beyond.max(beyond);
    }

    fn flush(&mut self) {
        for seq in self.buffer.drain(..) {
            *self.rows.entry(seq).or_default() += 1;
            self.settled.insert(seq);
        }
    }

    /// `kill -9` and a start: only rows are left. Without `oldest` it is enough to know the newest.
    fn killed(&mut self, oldest: Option<u64>) {
        (self.received, self.settled) = (BTreeSet::new(), BTreeSet::new());
        (self.buffer, self.refused) = (Vec::new(), Vec::new());
        match oldest {
            Some(_) => self.received.extend(self.rows.keys()),
            None => self.received.extend(1..=self.rows.last_key_value().map_or(0, |(last, _)| *last)),
        }
        self.settled.clone_from(&self.received);
    }

    fn ack(&mut self, keeper: &mut Keeper) {
        let refused = std::mem::take(&mut self.refused);
        keeper.acked(Self::prefix(&self.received), Self::prefix(&self.settled), &refused);
    }
}

#[test]
fn nothing_is_lost_or_doubled_whatever_breaks() {
    for seed in 0..120 {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let order = if seed % 3 == 0 { SendOrder::InOrder } else { SendOrder::NewestFirst };
        let (mut keeper, mut server) = (keeper(order, 0), Server::default());
        let (mut lies, mut online, mut now) = (BTreeSet::new(), false, 0);
        let mut wire: Vec<Up> = Vec::new();
        for step in 0..600 {
            now += rng.random_range(1..10);
            let calm = step > 500;
            if !calm || step == 501 {
                for _ in 0..rng.random_range(0..3) {
                    let lie = rng.random_bool(0.1);
                    let seq = keeper.record(ping(lie));
                    if lie {
                        lies.insert(seq);
                    }
                }
            }
            if !online && (calm || rng.random_bool(0.1)) {
                online = true;
                if let Some(oldest) = keeper.oldest() {
                    server.oldest(oldest);
                }
                keeper.connected(now);
                if rng.random_bool(0.5) {
                    server.ack(&mut keeper);
                }
            }
            if online {
                wire.extend(std::iter::from_fn(|| keeper.next_frame(now, now)));
                if rng.random_bool(0.1) {
                    wire.extend(keeper.stutter(3, now));
                }
            }
            let arrives = if calm { wire.len() } else { rng.random_range(0..=wire.len()) };
            wire.drain(..arrives).for_each(|up| server.frame(up));
            if online && (calm || rng.random_bool(0.5)) {
                server.ack(&mut keeper);
            }
            if calm || rng.random_bool(0.2) {
                server.flush();
            }
            if !calm && online && rng.random_bool(0.03) {
                (online, wire) = (false, Vec::new());
                keeper.disconnected();
                // What the session that ended wanted to say is never heard.
                server.refused.clear();
                if rng.random_bool(0.5) {
                    server.killed(keeper.oldest());
                }
            }
        }
        server.flush();
        server.ack(&mut keeper);
        let tally = keeper.tally();
        assert_eq!((keeper.backlog(), tally.strange), (0, 0), "seed {seed}: {tally:?}");
        let honest: BTreeMap<u64, u32> =
            (1..=tally.recorded).filter(|seq| !lies.contains(seq)).map(|seq| (seq, 1)).collect();
        assert_eq!(server.rows, honest, "seed {seed}");
        assert_eq!(tally.settled + tally.refused.values().sum::<u64>(), tally.recorded, "seed {seed}");
        assert!(tally.resent > 0 && tally.duplicates > 0 && server.most_beyond > 0 || order == SendOrder::InOrder);
    }
}

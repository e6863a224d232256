//! The points that a device keeps until the engine says that they are stored. Pure.

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use dispatch_engine::wire::rider::{Ping, RefusedPing};
use serde::Serialize;
use uuid::Uuid;

/// Points kept at most; past it the oldest are given up, and counted.
const KEPT: usize = 20_000;

/// Points per frame, the engine's limit.
pub const PER_FRAME: usize = 500;

/// What became of a device's points.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PingTally {
    /// Points that were sent at least once.
    pub sent: u64,
    /// Points that the engine said it received.
    pub received_to: u64,
    /// Points that the engine said are stored (or need not be).
    pub stored_to: u64,
    /// Points that were refused although nothing was wrong with them, by reason.
    pub refused: BTreeMap<String, u64>,
    /// Refusals that had to be: lies, repetitions, points of an outage; by reason.
    pub refused_rightly: BTreeMap<String, u64>,
    /// Points with a lie in them.
    pub lies: u64,
    /// Points that the device gave up: its memory was full or its app restarted.
    pub given_up: u64,
}

impl PingTally {
    /// Adds another tally to this one.
    pub fn add(&mut self, other: &Self) {
        self.sent += other.sent;
        self.received_to += other.received_to;
        self.stored_to += other.stored_to;
        self.lies += other.lies;
        self.given_up += other.given_up;
        for (mine, theirs) in [(&mut self.refused, &other.refused), (&mut self.refused_rightly, &other.refused_rightly)]
        {
            for (reason, count) in theirs {
                *mine.entry(reason.clone()).or_default() += count;
            }
        }
    }
}

/// The points of one run of the app.
#[derive(Debug)]
pub struct PingBuffer {
    /// Drawn anew at each start of the app.
    pub boot: Uuid,
    last_seq: u64,
    kept: VecDeque<Ping>,
    /// Highest number written on this connection.
    sent_to: u64,
    /// Highest number ever written.
    ever_sent_to: u64,
    /// Points up to this number were recorded before the last reconnect: they may come twice, or too late.
    late_to: u64,
    received_to: u64,
    stored_to: u64,
    lies: BTreeSet<u64>,
    tally: PingTally,
}

impl PingBuffer {
    /// For a fresh start of the app.
    pub fn new(boot: Uuid) -> Self {
        Self {
            boot,
            last_seq: 0,
            kept: VecDeque::new(),
            sent_to: 0,
            ever_sent_to: 0,
            late_to: 0,
            received_to: 0,
            stored_to: 0,
            lies: BTreeSet::new(),
            tally: PingTally::default(),
        }
    }

    /// Records a point; its number is given here.
    pub fn record(&mut self, mut ping: Ping, lie: bool) {
        self.last_seq += 1;
        ping.seq = self.last_seq;
        if lie {
            self.lies.insert(ping.seq);
            self.tally.lies += 1;
        }
        if self.kept.len() == KEPT {
            self.kept.pop_front();
            self.tally.given_up += 1;
        }
        self.kept.push_back(ping);
    }

    /// The next points to send on this connection, oldest first; empty when all are sent.
    pub fn batch(&mut self) -> Vec<Ping> {
        let from = self.kept.partition_point(|ping| ping.seq <= self.sent_to);
        let batch: Vec<Ping> = self.kept.range(from..).take(PER_FRAME).cloned().collect();
        if let Some(last) = batch.last() {
            self.sent_to = last.seq;
            self.tally.sent += batch.iter().filter(|ping| ping.seq > self.ever_sent_to).count() as u64;
            self.ever_sent_to = self.ever_sent_to.max(last.seq);
        }
        batch
    }

    /// A new connection: what is not known to be stored goes out again.
    pub fn reconnected(&mut self) {
        self.sent_to = self.stored_to;
        self.late_to = self.last_seq;
    }

    /// The engine's acknowledgement; `going` tells whether the rider is about to go off duty.
    pub fn acked(&mut self, received_to: u64, stored_to: u64, refused: &[RefusedPing], going: bool) {
        self.received_to = self.received_to.max(received_to.min(self.last_seq));
        self.stored_to = self.stored_to.max(stored_to.min(self.last_seq));
        for RefusedPing { seq, reason } in refused {
            let late = *seq <= self.late_to && matches!(reason.as_str(), "duplicate" | "too_old" | "off_duty");
            let rightly = self.lies.remove(seq) || late || (going && reason == "off_duty");
            let counts = if rightly { &mut self.tally.refused_rightly } else { &mut self.tally.refused };
            *counts.entry(reason.clone()).or_default() += 1;
            if let Ok(index) = self.kept.binary_search_by_key(seq, |ping| ping.seq) {
                self.kept.remove(index);
            }
        }
        while self.kept.front().is_some_and(|ping| ping.seq <= self.stored_to) {
            self.kept.pop_front();
        }
    }

    /// Whether every point that was sent is stored.
    pub fn all_stored(&self) -> bool {
        self.kept.is_empty()
    }

    /// The account of this run of the app so far.
    pub fn tally(&self) -> PingTally {
        PingTally { received_to: self.received_to, stored_to: self.stored_to, ..self.tally.clone() }
    }

    /// The app restarts: what was kept is lost, numbers begin anew. Answers the account of the run that ends.
    pub fn restart(&mut self, boot: Uuid) -> PingTally {
        let mut ended = std::mem::replace(self, Self::new(boot));
        ended.tally.given_up += ended.kept.len() as u64;
        ended.tally()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ping() -> Ping {
        Ping { seq: 0, at: 1, lat: 1.0, lon: 1.0, accuracy_m: None, speed_mps: None, heading_deg: None, mock: false }
    }

    fn seqs(batch: &[Ping]) -> Vec<u64> {
        batch.iter().map(|ping| ping.seq).collect()
    }

    #[test]
    fn what_is_not_stored_goes_out_again_after_a_reconnect() {
        let mut buffer = PingBuffer::new(Uuid::nil());
        (0..5).for_each(|_| buffer.record(ping(), false));
        assert_eq!(seqs(&buffer.batch()), [1, 2, 3, 4, 5]);
        assert!(buffer.batch().is_empty());
        buffer.acked(4, 2, &[], false);
        buffer.record(ping(), false);
        buffer.reconnected();
        assert_eq!(seqs(&buffer.batch()), [3, 4, 5, 6]);
        buffer.acked(6, 6, &[RefusedPing { seq: 3, reason: "duplicate".into() }], false);
        assert!(buffer.all_stored());
        let tally = buffer.tally();
        assert_eq!((tally.sent, tally.received_to, tally.stored_to), (6, 6, 6));
        assert_eq!(tally.refused_rightly["duplicate"], 1);
        assert!(tally.refused.is_empty());
    }

    #[test]
    fn a_refused_point_is_forgotten_and_judged() {
        let mut buffer = PingBuffer::new(Uuid::nil());
        buffer.record(ping(), true);
        buffer.record(ping(), false);
        buffer.batch();
        let no = |seq, reason: &str| RefusedPing { seq, reason: reason.into() };
        buffer.acked(2, 0, &[no(1, "out_of_world"), no(2, "off_duty"), no(9, "future")], false);
        assert!(buffer.all_stored());
        let tally = buffer.tally();
        assert_eq!((tally.lies, &tally.refused_rightly["out_of_world"]), (1, &1));
        assert_eq!((tally.refused["off_duty"], tally.refused["future"]), (1, 1));
    }

    #[test]
    fn frames_are_bounded_and_a_restart_loses_what_was_kept() {
        let mut buffer = PingBuffer::new(Uuid::nil());
        (0..PER_FRAME + 1).for_each(|_| buffer.record(ping(), false));
        assert_eq!((buffer.batch().len(), buffer.batch().len()), (PER_FRAME, 1));
        let ended = buffer.restart(Uuid::from_u128(1));
        assert_eq!((ended.sent, ended.given_up), (501, 501));
        buffer.record(ping(), false);
        assert_eq!(seqs(&buffer.batch()), [1]);
    }

    #[test]
    fn an_ack_beyond_what_was_recorded_is_not_believed() {
        let mut buffer = PingBuffer::new(Uuid::nil());
        buffer.record(ping(), false);
        buffer.acked(99, 99, &[], false);
        assert_eq!(buffer.tally().received_to, 1);
    }
}

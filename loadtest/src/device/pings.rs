//! The points of a device and what the run makes of their fate: which refusals were right, and what the cross-check has to
//! find in the database. Pure; how points are kept and sent is the keeper's business.

use std::collections::BTreeSet;

use dispatch_engine::{
    replay::device::{
        keeper::{Keeper, Limits, SendOrder, Tally},
        numbers::Numbers,
    },
    wire::rider::{Ping, RefusedPing, Up},
};
use serde::Serialize;
use uuid::Uuid;

use crate::stats::{Counts, count};

/// What became of the points of devices.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct PingTally {
    /// As the devices kept them.
    pub points: Tally,
    /// Points that were refused although nothing was wrong with them, by reason.
    pub refused: Counts,
    /// Refusals that had to be: lies, points of an outage; by reason.
    pub refused_rightly: Counts,
    /// Points with a lie in them.
    pub lies: u64,
}

impl PingTally {
    /// Adds another tally to this one.
    pub fn add(&mut self, other: &Self) {
        self.points.add(&other.points);
        self.lies += other.lies;
        for (mine, theirs) in [(&mut self.refused, &other.refused), (&mut self.refused_rightly, &other.refused_rightly)]
        {
            for (reason, count) in theirs {
                *mine.entry(reason.clone()).or_default() += count;
            }
        }
    }
}

/// What a device was told of the points of one run of its app, for the cross-check.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct ToldPoints {
    /// The rider.
    pub rider: Uuid,
    /// Index of the rider's city.
    pub city: usize,
    /// The run of the app.
    pub boot: Uuid,
    /// The highest number that was given.
    pub last: u64,
    /// Points that the engine said are settled.
    pub settled: Numbers,
    /// Points that it refused, for another reason than that it has them.
    pub refused: Numbers,
    /// Points under way when a connection was lost: if one was refused, nobody heard it.
    pub unheard: Numbers,
}

/// The points of one run of the app.
#[derive(Debug)]
pub struct PingBuffer {
    keeper: Keeper,
    limits: Limits,
    last: u64,
    /// Points up to this number were recorded before the last reconnect: they may come too late.
    late_to: u64,
    lying: BTreeSet<u64>,
    tally: PingTally,
    told: ToldPoints,
}

impl PingBuffer {
    /// For a fresh start of the app.
    pub fn new(boot: Uuid, limits: Limits) -> Self {
        Self {
            keeper: Keeper::new(boot, SendOrder::NewestFirst, limits),
            limits,
            last: 0,
            late_to: 0,
            lying: BTreeSet::new(),
            tally: PingTally::default(),
            told: ToldPoints { boot, ..ToldPoints::default() },
        }
    }

    /// The run of the app.
    pub fn boot(&self) -> Uuid {
        self.keeper.boot()
    }

    /// The lowest number that is kept, for `hello`.
    pub fn oldest(&self) -> Option<u64> {
        self.keeper.oldest()
    }

    /// Records a point; its number is given here.
    pub fn record(&mut self, ping: Ping, lie: bool) {
        self.last = self.keeper.record(ping);
        if lie {
            self.lying.insert(self.last);
            self.tally.lies += 1;
        }
    }

    /// The next frame for this connection; `sent_at` is what the device's clock shows.
    pub fn next_frame(&mut self, now: i64, sent_at: i64) -> Option<Up> {
        self.keeper.next_frame(now, sent_at)
    }

    /// When there is something to send although nothing was recorded or heard.
    pub fn next_due(&self) -> Option<i64> {
        self.keeper.next_due()
    }

    /// `welcome` came.
    pub fn connected(&mut self, now: i64) {
        self.late_to = self.last;
        self.keeper.connected(now);
    }

    /// The connection is gone.
    pub fn disconnected(&mut self) {
        for seq in self.keeper.unheard() {
            self.told.unheard.insert(seq);
        }
        self.keeper.disconnected();
    }

    /// The engine's acknowledgement; `going` tells whether the rider is about to go off duty.
    pub fn acked(&mut self, received_to: u64, stored_to: u64, refused: &[RefusedPing], going: bool) {
        let acked = self.keeper.acked(received_to, stored_to, refused);
        for seq in acked.settled {
            self.told.settled.insert(seq);
        }
        for (seq, reason) in acked.refused {
            self.told.refused.insert(seq);
            let late = seq <= self.late_to && matches!(reason.as_str(), "too_old" | "off_duty");
            let rightly = self.lying.remove(&seq) || late || (going && reason == "off_duty");
            count(if rightly { &mut self.tally.refused_rightly } else { &mut self.tally.refused }, &reason);
        }
    }

    /// Whether every point that was sent is settled.
    pub fn all_stored(&self) -> bool {
        self.keeper.backlog() == 0
    }

    /// The account of this run of the app so far.
    pub fn tally(&self) -> PingTally {
        PingTally { points: self.keeper.tally().clone(), ..self.tally.clone() }
    }

    /// What the device was told so far.
    pub fn told(&self) -> ToldPoints {
        let mut told = ToldPoints { last: self.last, ..self.told.clone() };
        for seq in self.keeper.unheard() {
            told.unheard.insert(seq);
        }
        told
    }

    /// The app restarts: what was kept is lost, numbers begin anew. Answers the account of the run that ends.
    pub fn restart(&mut self, boot: Uuid) -> (PingTally, ToldPoints) {
        let mut ended = std::mem::replace(self, Self::new(boot, self.limits));
        let (told, points) = (ended.told(), ended.keeper.restart(boot));
        (PingTally { points, ..ended.tally }, told)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ping() -> Ping {
        Ping { seq: 0, at: 1, lat: 1.0, lon: 1.0, accuracy_m: None, speed_mps: None, heading_deg: None, mock: false }
    }

    fn no(seq: u64, reason: &str) -> RefusedPing {
        RefusedPing { seq, reason: reason.into() }
    }

    fn sent(points: u64) -> PingBuffer {
        let mut buffer = PingBuffer::new(Uuid::nil(), Limits::default());
        (0..points).for_each(|number| buffer.record(ping(), number == 0));
        buffer.connected(0);
        while buffer.next_frame(1_000, 1_000).is_some() {}
        buffer
    }

    #[test]
    fn a_refused_point_is_forgotten_and_judged() {
        let mut buffer = sent(1);
        buffer.record(ping(), false);
        buffer.record(ping(), false);
        while buffer.next_frame(1_000, 1_000).is_some() {}
        buffer.acked(3, 0, &[no(1, "out_of_world"), no(2, "off_duty"), no(3, "future")], false);
        assert!(buffer.all_stored());
        let tally = buffer.tally();
        assert_eq!((tally.lies, &tally.refused_rightly["out_of_world"]), (1, &1));
        assert_eq!((tally.refused["off_duty"], tally.refused["future"]), (1, 1));
        assert_eq!(buffer.told().refused.len(), 3);
    }

    #[test]
    fn what_was_under_way_when_the_line_broke_is_remembered() {
        let mut buffer = sent(4);
        buffer.acked(2, 1, &[], false);
        buffer.disconnected();
        buffer.connected(2_000);
        buffer.acked(4, 4, &[no(4, "duplicate")], false);
        let told = buffer.told();
        assert_eq!((told.unheard.iter().collect::<Vec<_>>(), told.settled.len(), told.last), (vec![3, 4], 4, 4));
        assert_eq!(buffer.tally().points.duplicates, 1);
        assert!(buffer.tally().refused.is_empty(), "a repetition is no refusal");
    }

    #[test]
    fn a_restart_loses_what_was_kept() {
        let mut buffer = sent(3);
        let (tally, told) = buffer.restart(Uuid::from_u128(1));
        assert_eq!((tally.points.sent, tally.points.given_up, told.boot, told.unheard.len()), (3, 3, Uuid::nil(), 3));
        assert_eq!((buffer.boot(), buffer.oldest()), (Uuid::from_u128(1), Some(1)));
    }
}

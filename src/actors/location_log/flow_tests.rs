//! Live batches go to Postgres, and to the spool when it does not take them; nothing is settled that is in neither.

use std::sync::Arc;

use super::{
    super::{Track, test_points::*},
    *,
};

const SECOND: Duration = Duration::from_secs(1);

struct Bench {
    flow: Flow,
    now: Duration,
    ids: u128,
    track: Arc<Track>,
    seq: u64,
}

impl Bench {
    /// Batches of two rows, a buffer of ten points; four waiting rows make a busy Postgres slow.
    fn new() -> Self {
        let bounds = Bounds { flush_rows: 2, flush_age: 5 * SECOND, max_points: 10 };
        Self { flow: Flow::new(bounds, 4), now: SECOND, ids: 0, track: track(1), seq: 0 }
    }

    fn push(&mut self, rows: u64) -> usize {
        let seqs = self.seq + 1..=self.seq + rows;
        self.seq += rows;
        self.flow.push(self.now, points(&self.track, seqs).into())
    }

    fn step(&mut self) -> Option<Step> {
        self.flow.next(self.now, || {
            self.ids += 1;
            Uuid::from_u128(self.ids)
        })
    }

    fn write(&mut self) -> Sealed {
        match self.step() {
            Some(Step::Write(sealed)) => sealed,
            other => panic!("no write but {other:?}"),
        }
    }

    fn spool(&mut self, wanted: Why) -> Sealed {
        match self.step() {
            Some(Step::Spool(sealed, why)) if why == wanted => sealed,
            other => panic!("not spooled as {wanted:?} but {other:?}"),
        }
    }
}

#[test]
fn a_batch_goes_when_it_is_full_or_old_and_one_at_a_time() {
    let mut bench = Bench::new();
    bench.push(1);
    assert!(bench.step().is_none());
    assert_eq!(bench.flow.wake_at(), Some(6 * SECOND));
    bench.now = 6 * SECOND;
    let old = bench.write();
    bench.push(2);
    assert!(bench.step().is_none() && bench.flow.is_behind(), "one is on its way");
    assert_eq!(bench.flow.wake_at(), None, "its end wakes the log");
    bench.flow.written(bench.now, old, Written::Stored);
    assert_eq!(bench.track.stored_to(), 1);
    assert_eq!(bench.write().batch.rows(), 2);
}

#[test]
fn a_failed_batch_goes_to_the_spool_with_its_id_and_so_do_the_next_ones() {
    let mut bench = Bench::new();
    bench.push(2);
    let sealed = bench.write();
    let id = sealed.batch.id;
    bench.flow.written(bench.now, sealed, Written::Failed);
    let sealed = bench.spool(Why::Failed);
    assert_eq!((sealed.batch.id, bench.track.stored_to()), (id, 0));
    bench.push(2);
    assert!(bench.step().is_none(), "one file at a time");
    assert_eq!(bench.flow.spooled(bench.now, sealed, Why::Failed, Spooled::Kept), 0);
    assert_eq!(bench.track.stored_to(), 2, "synced is stored");
    let next = bench.spool(Why::Away);
    bench.flow.spooled(bench.now, next, Why::Away, Spooled::Kept);
    // In time one is tried again, and others do not wait for what comes of it.
    bench.now += SECOND;
    bench.push(2);
    let probe = bench.write();
    bench.push(2);
    let beside = bench.spool(Why::Away);
    bench.flow.spooled(bench.now, beside, Why::Away, Spooled::Kept);
    bench.flow.written(bench.now, probe, Written::Stored);
    assert!(bench.flow.is_up() && bench.flow.held() == 0);
}

#[test]
fn the_drain_that_reaches_postgres_ends_the_outage() {
    let mut bench = Bench::new();
    bench.push(2);
    let sealed = bench.write();
    bench.flow.written(bench.now, sealed, Written::Failed);
    let sealed = bench.spool(Why::Failed);
    bench.flow.spooled(bench.now, sealed, Why::Failed, Spooled::Kept);
    bench.flow.reached();
    bench.push(2);
    bench.write();
}

#[test]
fn a_slow_postgres_gets_help_when_enough_waits() {
    let mut bench = Bench::new();
    bench.push(2);
    let slow = bench.write();
    bench.push(2);
    bench.push(1);
    assert!(bench.step().is_none());
    bench.push(1);
    let spilled = bench.spool(Why::Slow);
    bench.flow.spooled(bench.now, spilled, Why::Slow, Spooled::Kept);
    assert!(bench.step().is_none(), "the rest waits for Postgres");
    bench.flow.written(bench.now, slow, Written::Stored);
    bench.write();
}

#[test]
fn while_the_spool_is_shut_points_wait_and_then_the_oldest_go() {
    let mut bench = Bench::new();
    bench.push(2);
    let sealed = bench.write();
    let id = sealed.batch.id;
    bench.flow.written(bench.now, sealed, Written::Failed);
    let sealed = bench.spool(Why::Failed);
    bench.flow.spooled(bench.now, sealed, Why::Failed, Spooled::Shut);
    assert!(bench.step().is_none());
    assert_eq!(bench.flow.wake_at(), Some(SECOND + Duration::from_millis(200)), "Postgres again before the spool");
    for _ in 0..4 {
        assert_eq!(bench.push(2), 0);
    }
    assert!(bench.step().is_none(), "the first comes first");
    assert_eq!(bench.push(2), 2);
    assert!(bench.track.is_lost());
    bench.now += SECOND / 2;
    let again = bench.write();
    assert_eq!(again.batch.id, id, "the same batch");
    bench.flow.written(bench.now, again, Written::Stored);
    assert_eq!(bench.flow.held(), 8);
}

#[test]
fn room_in_the_spool_is_used_at_once() {
    let mut bench = Bench::new();
    bench.push(2);
    let sealed = bench.write();
    bench.flow.written(bench.now, sealed, Written::Failed);
    let sealed = bench.spool(Why::Failed);
    bench.flow.spooled(bench.now, sealed, Why::Failed, Spooled::Shut);
    bench.flow.spool_has_room();
    bench.spool(Why::Failed);
}

#[test]
fn a_refused_batch_is_set_aside_and_not_tried_for_ever() {
    let mut bench = Bench::new();
    bench.push(2);
    let sealed = bench.write();
    bench.flow.written(bench.now, sealed, Written::Refused);
    let aside = bench.spool(Why::Refused);
    bench.flow.spooled(bench.now, aside, Why::Refused, Spooled::Kept);
    assert_eq!((bench.track.stored_to(), bench.flow.held()), (2, 0), "it is on the disk");
    bench.push(2);
    let sealed = bench.write();
    bench.flow.written(bench.now, sealed, Written::Refused);
    let aside = bench.spool(Why::Refused);
    assert_eq!(bench.flow.spooled(bench.now, aside, Why::Refused, Spooled::Shut), 2);
    assert!(bench.track.is_lost() && bench.flow.held() == 0);
    assert_eq!(bench.flow.wake_at(), None);
}

#[test]
fn an_ending_log_gives_postgres_its_time_and_the_spool_the_rest() {
    let mut bench = Bench::new();
    bench.push(1);
    bench.flow.flush();
    let sealed = bench.write();
    bench.push(1);
    assert!(bench.step().is_none());
    bench.flow.hurry();
    let rest = bench.spool(Why::Ending);
    bench.flow.spooled(bench.now, rest, Why::Ending, Spooled::Kept);
    bench.flow.written(bench.now, sealed, Written::Failed);
    let failed = bench.spool(Why::Failed);
    bench.flow.spooled(bench.now, failed, Why::Failed, Spooled::Kept);
    assert_eq!((bench.flow.held(), bench.track.stored_to()), (0, 2));
}

//! The location log and its spool while Postgres goes away, comes back, loses answers and refuses rows: every point is
//! stored once, and nothing is settled that could be lost.

use std::{path::Path, sync::Arc, time::Duration};

use dispatch_engine::{
    actors::location_log::{
        LocationLogHandle, LogPoint, Options, SpoolError, SpoolOptions, SpooledTracks, Track, WhenFull, start,
    },
    clock::Clock,
    domain::{
        ids::{BootId, CityCode, RiderId},
        position::Position,
    },
    metrics::Metrics,
    store::Db,
};
use tempfile::TempDir;
use uuid::Uuid;

use crate::{
    lossy_line::{LossyLine, Way},
    support::{SOON, TestDatabase, until},
};

const BOOT: BootId = BootId(Uuid::from_u128(5));

/// A log on its way to a database.
struct Bed {
    direct: Db,
    line: LossyLine,
    folder: TempDir,
    metrics: Metrics,
    log: LocationLogHandle,
}

/// Batches of two rows that go at once, and a drain without pauses.
fn options(folder: &Path) -> Options {
    let spool = SpoolOptions { dir: folder.to_owned(), drain_share: 1.0, ..SpoolOptions::default() };
    Options { flush_rows: 2, flush_age_ms: 10, write_timeout_ms: 2_000, spool, ..Options::default() }
}

impl Bed {
    async fn new(way: Way, change: impl FnOnce(&mut Options)) -> Self {
        let direct = TestDatabase::create().await.db;
        let (line, folder) = (LossyLine::to(&direct, way), tempfile::tempdir().unwrap());
        let mut options = options(folder.path());
        change(&mut options);
        let metrics = Metrics::new();
        let (log, found) = start(line.pool(), Clock::system(), &metrics, options).await.unwrap();
        assert!(found.is_empty());
        Self { direct, line, folder, metrics, log }
    }

    /// Another engine on a folder, and what it found there.
    async fn engine_on(&mut self, folder: &Path) -> SpooledTracks {
        self.metrics = Metrics::new();
        loop {
            match start(self.line.pool(), Clock::system(), &self.metrics, options(folder)).await {
                Ok((log, found)) => {
                    self.log = log;
                    return found;
                }
                // The one before it is about to let go.
                Err(SpoolError::InUse { .. }) => tokio::time::sleep(Duration::from_millis(5)).await,
                Err(error) => panic!("{error}"),
            }
        }
    }

    fn send(&self, track: &Arc<Track>, seqs: std::ops::RangeInclusive<u64>) {
        self.log.append(points(track, seqs).into());
    }

    /// A figure, by its name and labels.
    fn figure(&self, name: &str) -> u64 {
        let text = self.metrics.render().unwrap();
        let line = text.lines().find_map(|line| line.strip_prefix(&format!("dispatch_location_log_{name} ")));
        line.map_or(0, |value| value.parse().unwrap())
    }

    async fn until_figure(&self, name: &str, wanted: u64) {
        until(&format!("{name} is {wanted}"), || (self.figure(name) == wanted).then_some(())).await;
    }

    /// The numbers that are stored, each as often as it is.
    async fn stored(&self, track: &Track) -> Vec<i64> {
        let rows = sqlx::query_scalar("SELECT seq FROM location_logs WHERE rider_id = $1 ORDER BY seq");
        rows.bind(track.rider.0).fetch_all(&self.direct).await.unwrap()
    }
}

fn track_of(device: &str) -> Arc<Track> {
    let (rider, city) = (RiderId(Uuid::new_v4()), CityCode::parse("blr").unwrap());
    Arc::new(Track::new(rider, city, BOOT, device, 0, Clock::wall()))
}

fn points(track: &Arc<Track>, seqs: std::ops::RangeInclusive<u64>) -> Vec<LogPoint> {
    let now = Clock::wall();
    let point = |seq| {
        track.note_accepted(seq, Some(now));
        LogPoint {
            track: track.clone(),
            seq,
            created_at: now,
            recorded_at: now,
            device_at: now,
            position: Position::new(12.9, 77.5).unwrap(),
            accuracy_m: None,
            speed_mps: None,
            heading_deg: None,
            flags: 0,
            store: true,
            dot: None,
        }
    };
    seqs.map(point).collect()
}

fn files(folder: &Path, end: &str) -> Vec<std::path::PathBuf> {
    let paths = std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let mut paths: Vec<_> = paths.filter(|path| path.extension().is_some_and(|found| found == end)).collect();
    paths.sort();
    paths
}

/// What a crash at this moment would leave.
fn copy_of(folder: &Path) -> TempDir {
    let copy = tempfile::tempdir().unwrap();
    for path in files(folder, "points") {
        std::fs::copy(&path, copy.path().join(path.file_name().unwrap())).unwrap();
    }
    copy
}

#[actix_web::test]
async fn points_are_settled_by_the_spool_and_stored_when_the_database_is_back() {
    let bed = Bed::new(Way::Away, |_| {}).await;
    let track = track_of("d");
    for first in [1, 3, 5, 7] {
        bed.send(&track, first..=first + 1);
    }
    until("all is spooled", || (track.stored_to() == 8).then_some(())).await;
    bed.until_figure("spool_rows", 8).await;
    assert_eq!((bed.stored(&track).await.len(), bed.figure("buffered_rows")), (0, 0));
    assert!(bed.figure("spilled_total{reason=\"failed\"}") >= 2 && bed.figure("spool_bytes") > 8 * 100);
    bed.line.set(Way::Open);
    bed.until_figure("spool_batches", 0).await;
    assert_eq!(bed.stored(&track).await, (1..=8).collect::<Vec<_>>());
    assert_eq!((bed.figure("drained_total"), bed.figure("stored_total")), (8, 8));
    assert!(files(bed.folder.path(), "points").is_empty());
    // Live points need no spool any more.
    bed.send(&track, 9..=10);
    bed.until_figure("stored_total", 10).await;
    assert_eq!((track.stored_to(), bed.figure("drained_total")), (10, 8));
}

#[actix_web::test]
async fn a_batch_whose_commit_answer_was_lost_is_recognised() {
    let bed = Bed::new(Way::LosesCommits, |_| {}).await;
    let track = track_of("d");
    bed.send(&track, 1..=2);
    until("the answer is lost", || (bed.line.lost() > 0).then_some(())).await;
    bed.line.set(Way::Open);
    bed.until_figure("already_stored_total", 2).await;
    bed.until_figure("spool_batches", 0).await;
    bed.send(&track, 3..=4);
    bed.until_figure("stored_total", 2).await;
    assert_eq!(bed.stored(&track).await, [1, 2, 3, 4]);
    assert_eq!(track.stored_to(), 4);
}

#[actix_web::test]
async fn the_next_engine_drains_what_the_last_one_left_and_knows_its_points() {
    let mut bed = Bed::new(Way::Away, |_| {}).await;
    let track = track_of("d");
    for first in [1, 3, 5] {
        bed.send(&track, first..=first + 1);
    }
    assert!(bed.log.stop(SOON).await, "what Postgres does not take goes to the spool");
    assert_eq!(track.stored_to(), 6);
    bed.send(&track, 7..=8);
    assert_eq!(bed.figure("dropped_total{reason=\"queue_full\"}"), 2, "it has ended");

    let folder = bed.folder.path().to_owned();
    let found = bed.engine_on(&folder).await;
    let runs: Vec<_> = found.iter().map(|run| (run.rider, run.device, run.boot, run.numbers.first_range())).collect();
    assert_eq!(runs, [(track.rider, "d", BOOT, Some((1, 6)))]);
    bed.until_figure("spool_rows", 6).await;
    let crashed = copy_of(&folder);
    bed.line.set(Way::Open);
    bed.until_figure("spool_batches", 0).await;
    assert_eq!(bed.stored(&track).await, [1, 2, 3, 4, 5, 6]);

    // An engine that crashed after the commits and before it removed a file.
    bed.engine_on(crashed.path()).await;
    bed.until_figure("already_stored_total", 6).await;
    assert_eq!(bed.stored(&track).await, [1, 2, 3, 4, 5, 6]);
    bed.until_figure("spool_batches", 0).await;
    assert!(files(crashed.path(), "points").is_empty());
}

#[actix_web::test]
async fn an_engine_that_ends_waits_for_the_database_half_of_its_time() {
    let mut bed = Bed::new(Way::Open, |options| options.write_timeout_ms = 60_000).await;
    let track = track_of("d");
    bed.send(&track, 1..=2);
    bed.until_figure("stored_total", 2).await;
    bed.line.set(Way::Held);
    bed.send(&track, 3..=4);
    bed.send(&track, 5..=6);
    assert!(bed.log.stop(Duration::from_secs(2)).await);
    assert_eq!(track.stored_to(), 6);
    let folder = bed.folder.path().to_owned();
    bed.engine_on(&folder).await;
    bed.line.set(Way::Open);
    bed.until_figure("spool_batches", 0).await;
    assert_eq!(bed.stored(&track).await, [1, 2, 3, 4, 5, 6]);
}

#[actix_web::test]
async fn a_database_that_is_slow_is_relieved_by_the_spool() {
    let change = |options: &mut Options| (options.spill_rows, options.write_timeout_ms) = (6, 60_000);
    let bed = Bed::new(Way::Open, change).await;
    let (first, others) = (track_of("a"), track_of("b"));
    bed.send(&first, 1..=2);
    bed.until_figure("stored_total", 2).await;
    bed.line.set(Way::Held);
    bed.send(&first, 3..=4);
    for from in [1, 3, 5] {
        bed.send(&others, from..=from + 1);
    }
    until("some are spilled", || (bed.figure("spilled_total{reason=\"slow\"}") >= 2).then_some(())).await;
    assert_eq!(first.stored_to(), 2, "the first is still on its way");
    bed.line.set(Way::Open);
    until("all is stored", || (bed.figure("stored_total") == 10).then_some(())).await;
    assert_eq!(bed.stored(&first).await, [1, 2, 3, 4]);
    assert_eq!(bed.stored(&others).await, [1, 2, 3, 4, 5, 6]);
}

/// Room for two of the batches of two rows.
fn two_batches(options: &mut Options) {
    options.spool.max_bytes = 1_100;
}

#[actix_web::test]
async fn a_full_spool_that_refuses_settles_nothing_more_and_memory_is_bounded() {
    let bed = Bed::new(Way::Away, |options| {
        two_batches(options);
        options.max_rows = 6;
    })
    .await;
    let (kept, dropped) = (track_of("kept"), track_of("dropped"));
    bed.send(&kept, 1..=2);
    bed.send(&kept, 3..=4);
    until("two are spooled", || (kept.stored_to() == 4).then_some(())).await;
    bed.send(&kept, 5..=6);
    bed.send(&dropped, 1..=2);
    bed.send(&dropped, 3..=4);
    bed.until_figure("buffered_rows", 6).await;
    assert_eq!((kept.stored_to(), dropped.is_lost()), (4, false));
    bed.send(&kept, 7..=8);
    bed.until_figure("dropped_total{reason=\"buffer_full\"}", 2).await;
    assert!(dropped.is_lost(), "its device sends again");
    bed.line.set(Way::Open);
    until("the rest is stored", || (kept.stored_to() == 8).then_some(())).await;
    bed.until_figure("spool_batches", 0).await;
    assert_eq!(bed.stored(&kept).await, (1..=8).collect::<Vec<_>>());
    assert_eq!(bed.stored(&dropped).await, [3, 4]);
}

#[actix_web::test]
async fn a_full_spool_that_drops_loses_the_oldest_and_counts_them() {
    let bed = Bed::new(Way::Away, |options| {
        two_batches(options);
        options.spool.when_full = WhenFull::DropOldest;
    })
    .await;
    let track = track_of("d");
    for first in [1, 3, 5, 7] {
        bed.send(&track, first..=first + 1);
        until("it is spooled", || (track.stored_to() == first + 1).then_some(())).await;
    }
    let gone = bed.figure("dropped_total{reason=\"spool_full\"}");
    assert_eq!((gone, bed.figure("spool_rows")), (4, 4));
    bed.line.set(Way::Open);
    bed.until_figure("spool_batches", 0).await;
    // Which of the old ones had to go depends on which one was being tried; the newest is never it.
    let stored = bed.stored(&track).await;
    assert!(stored.len() == 4 && stored.ends_with(&[7, 8]), "{stored:?}");
}

#[actix_web::test]
async fn what_the_database_refuses_is_set_aside_and_holds_up_nobody() {
    let bed = Bed::new(Way::Away, |_| {}).await;
    let (good, poison) = (track_of("d"), track_of("a\0b"));
    bed.send(&good, 1..=2);
    bed.send(&poison, 1..=2);
    bed.send(&good, 3..=4);
    until("all is spooled", || (bed.figure("spool_rows") == 6).then_some(())).await;
    bed.line.set(Way::Open);
    bed.until_figure("spool_batches", 0).await;
    assert_eq!(bed.stored(&good).await, [1, 2, 3, 4]);
    assert_eq!(bed.figure("dropped_total{reason=\"refused\"}"), 2);
    // The same with live points.
    bed.send(&poison, 3..=4);
    bed.send(&good, 5..=6);
    bed.until_figure("set_aside_total{reason=\"refused\"}", 2).await;
    bed.until_figure("stored_total", 6).await;
    assert_eq!(bed.stored(&good).await, [1, 2, 3, 4, 5, 6]);
    assert_eq!(
        (poison.stored_to(), poison.is_lost()),
        (4, false),
        "it is kept, and the device need not send it for ever"
    );
    assert_eq!(files(bed.folder.path(), "refused").len(), 2);
    assert!(bed.figure("spool_bytes") > 0, "what lies aside takes room");
}

#[actix_web::test]
async fn a_batch_that_the_disk_damaged_is_set_aside() {
    let bed = Bed::new(Way::Away, |_| {}).await;
    let track = track_of("d");
    for first in [1, 3, 5] {
        bed.send(&track, first..=first + 1);
    }
    bed.until_figure("spool_rows", 6).await;
    let second = &files(bed.folder.path(), "points")[1];
    let mut bytes = std::fs::read(second).unwrap();
    *bytes.last_mut().unwrap() ^= 1;
    std::fs::write(second, bytes).unwrap();
    bed.line.set(Way::Open);
    bed.until_figure("spool_batches", 0).await;
    assert_eq!(bed.stored(&track).await, [1, 2, 5, 6]);
    assert_eq!(bed.figure("dropped_total{reason=\"damaged\"}"), 2);
    assert_eq!(files(bed.folder.path(), "damaged").len(), 1);
}

#[actix_web::test]
async fn one_folder_is_for_one_engine() {
    let bed = Bed::new(Way::Open, |_| {}).await;
    let second = start(bed.line.pool(), Clock::system(), &Metrics::new(), options(bed.folder.path())).await;
    assert!(matches!(second, Err(SpoolError::InUse { .. })));
}

#[actix_web::test]
async fn thinned_points_are_not_stored() {
    let bed = Bed::new(Way::Open, |_| {}).await;
    let track = track_of("d");
    let mut mixed = points(&track, 1..=4);
    (mixed[1].store, mixed[2].store) = (false, false);
    bed.log.append(mixed.into());
    bed.until_figure("stored_total", 2).await;
    assert_eq!(bed.stored(&track).await, [1, 4]);
}

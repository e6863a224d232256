//! Crashes at every byte of a write and disks that change what they hold: what was synced is found again, what was not is
//! recognised, and nothing else is taken for a batch.

use std::{collections::BTreeSet, path::Path};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use uuid::Uuid;

use super::{
    super::{
        super::{
            buffer::{Bounds, Buffer},
            test_points::*,
        },
        files::{probe, size},
        ledger::WhenFull,
    },
    *,
};

const NOW: Timestamp = Timestamp::from_millis(1_900_000_000_000);

fn rows(rider: u128, seqs: std::ops::RangeInclusive<u64>) -> CopyBatch {
    let bounds = Bounds { flush_rows: 1_000, flush_age: Duration::ZERO, max_points: 1_000 };
    let mut buffer = Buffer::new(bounds);
    buffer.push(Duration::ZERO, points(&track(rider), seqs).into());
    buffer.form(Uuid::nil).unwrap().encode()
}

fn options(dir: &Path) -> SpoolOptions {
    SpoolOptions { dir: dir.to_owned(), ..SpoolOptions::default() }
}

fn recovered(dir: &Path) -> Recovered {
    recover(&Folder::open(dir).unwrap(), &options(dir), NOW).unwrap()
}

/// The numbers of the batches in line.
fn line(ledger: &mut Ledger) -> Vec<u64> {
    (0..ledger.len()).map(|place| ledger.take(place).unwrap().number).collect()
}

fn id(number: u64) -> Uuid {
    Uuid::from_u128(number.into())
}

fn seqs(tracks: &SpooledTracks, rider: u128) -> Vec<u64> {
    let run = tracks
        .iter()
        .find(|run| (run.rider.0, run.device, run.boot.0) == (Uuid::from_u128(rider), "d", Uuid::from_u128(5)));
    run.into_iter().flat_map(|run| run.numbers.iter().flat_map(|(first, last)| first..=last)).collect()
}

#[test]
fn what_was_synced_is_found_again_in_order_with_its_points() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    for (number, first) in [(1, 1), (2, 4), (3, 7)] {
        let synced = folder.put(number, id(number), &rows(1, first..=first + 2), NOW, None).unwrap();
        assert_eq!(synced.bytes, size(&rows(1, first..=first + 2)));
    }
    drop(folder);
    let mut found = recovered(dir.path());
    assert_eq!(line(&mut found.ledger), [1, 2, 3]);
    assert_eq!((found.ledger.rows(), found.ledger.admit(1).unwrap().number), (9, 4));
    assert_eq!(seqs(&found.tracks, 1), (1..=9).collect::<Vec<_>>());
    assert!(found.aside.is_empty());
    let folder = Folder::open(dir.path()).unwrap();
    let first = found.ledger.take(0).unwrap();
    assert_eq!(folder.read(&first).unwrap().encoded(), rows(1, 1..=3).encoded());
    folder.remove(&first).unwrap();
    drop(folder);
    assert_eq!(line(&mut recovered(dir.path()).ledger), [2, 3]);
}

#[test]
fn a_write_that_was_cut_short_anywhere_is_no_batch() {
    let dir = tempfile::tempdir().unwrap();
    let batch = rows(1, 1..=3);
    let whole = [&Header::of(id(2), &batch, NOW).encode()[..], batch.encoded()].concat();
    let folder = Folder::open(dir.path()).unwrap();
    folder.put(1, id(1), &rows(2, 1..=1), NOW, None).unwrap();
    for length in 0..=whole.len() {
        let unfinished = dir.path().join(format!("{:016}-{}.unfinished", 2, id(2)));
        fs::write(&unfinished, &whole[..length]).unwrap();
        let mut found = recover(&folder, &options(dir.path()), NOW).unwrap();
        assert!(!unfinished.exists() && found.aside.is_empty());
        if length < whole.len() {
            assert_eq!(line(&mut found.ledger), [1], "{length}");
            assert!(seqs(&found.tracks, 1).is_empty());
        } else {
            // Whole, and the crash came before it had its name: it may as well be drained.
            assert_eq!(line(&mut found.ledger), [1, 2]);
            assert_eq!(seqs(&found.tracks, 1), [1, 2, 3]);
        }
    }
}

#[test]
fn a_damaged_batch_is_set_aside_and_the_others_go_on() {
    let mut rng = ChaCha8Rng::seed_from_u64(5);
    for round in 0..60 {
        let dir = tempfile::tempdir().unwrap();
        let folder = Folder::open(dir.path()).unwrap();
        let numbers: Vec<u64> = (1..=rng.random_range(1..6)).collect();
        let mut damaged = BTreeSet::new();
        for number in &numbers {
            folder.put(*number, id(*number), &rows(u128::from(*number), 1..=4), NOW, None).unwrap();
            if rng.random_bool(0.4) {
                damaged.insert(*number);
                let path = dir.path().join(format!("{number:016}-{}.points", id(*number)));
                let mut bytes = fs::read(&path).unwrap();
                let at = rng.random_range(0..bytes.len());
                if rng.random_bool(0.5) {
                    bytes.truncate(at)
                } else {
                    bytes[at] ^= 1 << rng.random_range(0..8)
                }
                fs::write(&path, bytes).unwrap();
            }
        }
        let mut found = recover(&folder, &options(dir.path()), NOW).unwrap();
        let whole: Vec<u64> = numbers.iter().copied().filter(|number| !damaged.contains(number)).collect();
        assert_eq!(line(&mut found.ledger), whole, "round {round}");
        assert_eq!(found.aside.len(), damaged.len());
        assert_eq!(found.tracks.len(), whole.len());
        let kept = fs::read_dir(dir.path())
            .unwrap()
            .filter(|entry| entry.as_ref().unwrap().path().extension().is_some_and(|end| end == "damaged"));
        assert_eq!(kept.count(), damaged.len(), "nothing is deleted");
        // A second start finds the same and sets nothing aside again.
        let mut again = recover(&folder, &options(dir.path()), NOW).unwrap();
        assert_eq!((line(&mut again.ledger), again.aside.len()), (whole, 0));
        assert_eq!(again.ledger.bytes(), found.ledger.bytes(), "they take their room");
    }
}

#[test]
fn a_file_that_cannot_be_read_is_no_damage_and_is_tried_again_at_the_next_start() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    for number in [1, 2] {
        folder.put(number, id(number), &rows(1, number..=number), NOW, None).unwrap();
    }
    // What the disk refuses to read: a folder stands in the place of the file for a while.
    let (path, away) = (dir.path().join(format!("{:016}-{}.points", 1, id(1))), dir.path().join("away"));
    fs::rename(&path, &away).unwrap();
    fs::create_dir(&path).unwrap();
    let mut found = recover(&folder, &options(dir.path()), NOW).unwrap();
    assert_eq!((line(&mut found.ledger), found.aside), (vec![2], vec![]));
    assert!(path.exists(), "it keeps its name");
    fs::remove_dir(&path).unwrap();
    fs::rename(&away, &path).unwrap();
    let mut found = recover(&folder, &options(dir.path()), NOW).unwrap();
    assert_eq!(line(&mut found.ledger), [1, 2]);
    assert_eq!(seqs(&found.tracks, 1), [1, 2]);
}

#[test]
fn a_file_under_another_name_is_not_taken_for_its_batch() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    folder.put(1, id(1), &rows(1, 1..=1), NOW, None).unwrap();
    let of = |number: u64| dir.path().join(format!("{:016}-{}.points", 1, id(number)));
    fs::rename(of(1), of(2)).unwrap();
    fs::write(dir.path().join("notes.txt"), "not ours").unwrap();
    let found = recover(&folder, &options(dir.path()), NOW).unwrap();
    assert_eq!((found.ledger.len(), found.aside), (0, vec![(Aside::Damaged, 1)]));
    assert!(dir.path().join("notes.txt").exists());
}

#[test]
fn a_batch_that_the_database_may_have_forgotten_is_not_stored_a_second_time() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    let week = Duration::from_secs(7 * 86_400);
    folder.put(1, id(1), &rows(1, 1..=2), NOW - week - Duration::from_millis(1), None).unwrap();
    folder.put(2, id(2), &rows(1, 3..=4), NOW - week, None).unwrap();
    let mut found = recover(&folder, &options(dir.path()), NOW).unwrap();
    assert_eq!((line(&mut found.ledger), found.aside), (vec![2], vec![(Aside::Expired, 2)]));
}

#[test]
fn what_lies_aside_is_not_drained_until_it_is_renamed_back() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    let synced = folder.put(1, id(1), &rows(1, 1..=2), NOW, Some(Aside::Refused)).unwrap();
    let found = recover(&folder, &options(dir.path()), NOW).unwrap();
    assert_eq!((found.ledger.len(), found.ledger.bytes()), (0, synced.bytes));
    let of = |end: &str| dir.path().join(format!("{:016}-{}.{end}", 1, id(1)));
    fs::rename(of("refused"), of("points")).unwrap();
    assert_eq!(recover(&folder, &options(dir.path()), NOW).unwrap().ledger.rows(), 2);
}

#[test]
fn a_folder_has_one_engine_and_must_be_writable() {
    let dir = tempfile::tempdir().unwrap();
    let folder = Folder::open(dir.path()).unwrap();
    let refused = Folder::open(dir.path()).unwrap_err().to_string();
    assert!(refused.contains("another engine") && refused.contains(&std::process::id().to_string()), "{refused}");
    drop(folder);
    Folder::open(dir.path()).unwrap();
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    let refused = probe(&file.join("below")).unwrap_err().to_string();
    assert!(refused.contains("location_log.spool.dir") && refused.contains("below"), "{refused}");
    assert_eq!(SpoolOptions::default().when_full, WhenFull::Refuse);
}

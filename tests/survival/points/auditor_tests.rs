//! An auditor who finds nothing wrong with a broken store would prove nothing.

use dispatch_engine::{replay::device::keeper::Tally, wire::rider::Ping};

use super::*;
use crate::points::kinds::Kind;

const RIDER: Uuid = Uuid::from_u128(1);
const BOOT: Uuid = Uuid::from_u128(2);

fn entry(seq: u64) -> Entry {
    let ping = Ping {
        seq,
        at: 1_000 + seq as i64,
        lat: 12.9,
        lon: 77.6,
        accuracy_m: Some(4.0),
        speed_mps: None,
        heading_deg: Some(0.5),
        mock: seq == 2,
    };
    Entry { ping, true_at: 1_000, lie: None, sends: 1, duplicates: 0, settled: true, refused: None }
}

fn row(seq: i64) -> Row {
    Row {
        rider_id: RIDER,
        boot_id: BOOT,
        device_id: format!("device-{}", RIDER.simple()),
        seq,
        lat: 12.9,
        lon: 77.6,
        accuracy_m: Some(4.0),
        speed_mps: None,
        heading_deg: Some(0.5),
        device_at: DateTime::from_timestamp_millis(1_000 + seq).unwrap(),
        recorded_at: DateTime::from_timestamp_millis(1_030).unwrap(),
        flags: if seq == 2 { MOCK | 1 } else { 0 },
    }
}

fn diary(entries: Vec<Entry>) -> Diary {
    Diary { rider: RIDER, boot: BOOT, kind: Kind::of(0), entries, kept: 0, tally: Tally::default() }
}

fn found(entries: Vec<Entry>, rows: Vec<Row>) -> [usize; 5] {
    let findings = audit(rows, &[diary(entries)]);
    let Findings { lost, missing, doubled, changed, broken, .. } = findings;
    [lost, missing, doubled, changed, broken].map(|list| list.len())
}

#[test]
fn every_point_has_one_row_that_says_the_same() {
    assert_eq!(found(vec![entry(1), entry(2)], vec![row(1), row(2)]), [0; 5]);
    assert_eq!(found(vec![entry(1)], vec![]), [1, 0, 0, 0, 0]);
    assert_eq!(found(vec![Entry { settled: false, ..entry(1) }], vec![]), [0, 1, 0, 0, 0]);
    assert_eq!(found(vec![entry(1)], vec![row(1), row(1)]), [0, 0, 1, 0, 0]);
    assert_eq!(found(vec![entry(1)], vec![row(1), row(9)]), [0, 0, 0, 0, 1]);
    assert_eq!(audit(vec![row(1)], &[diary(vec![entry(1)])]).worst_time_ms, 30);
}

#[test]
fn each_change_is_seen() {
    let changed = [
        Row { lat: 12.900_000_1, ..row(1) },
        Row { lon: 77.5, ..row(1) },
        Row { accuracy_m: None, ..row(1) },
        Row { speed_mps: Some(0.0), ..row(1) },
        Row { heading_deg: Some(0.6), ..row(1) },
        Row { device_at: DateTime::from_timestamp_millis(1_002).unwrap(), ..row(1) },
        Row { device_id: "another".into(), ..row(1) },
        Row { flags: MOCK, ..row(1) },
    ];
    for row in changed {
        assert_eq!(found(vec![entry(1)], vec![row.clone()]), [0, 0, 0, 1, 0], "{row:?}");
    }
}

#[test]
fn a_refused_point_is_not_stored_and_a_device_ends_with_nothing() {
    let lie = Entry { lie: Some("null_island"), ..entry(1) };
    assert_eq!(found(vec![lie.clone()], vec![]), [0; 5]);
    assert_eq!(found(vec![lie], vec![row(1)]), [0, 0, 0, 0, 1]);
    let refused = Entry { refused: Some("too_old".into()), ..entry(1) };
    assert_eq!(found(vec![refused], vec![row(1)]), [0, 0, 0, 0, 1]);
    let strange = Diary { kept: 1, tally: Tally { strange: 1, ..Tally::default() }, ..diary(vec![]) };
    assert_eq!(audit(vec![], &[strange]).broken.len(), 2);
}

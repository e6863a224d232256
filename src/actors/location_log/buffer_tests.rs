//! Batches are sorted, what is not to be stored is left out, and past the bound the oldest go.

use super::{super::test_points::*, *};

const NOW: Duration = Duration::from_secs(1);

fn buffer(flush_rows: usize, max_points: usize) -> Buffer {
    Buffer::new(Bounds { flush_rows, flush_age: Duration::from_secs(5), max_points })
}

fn id() -> Uuid {
    Uuid::from_u128(7)
}

#[test]
fn a_batch_is_sorted_by_rider_and_holds_what_is_to_be_stored() {
    let (first, second) = (track(1), track(2));
    let mut buffer = buffer(4, 100);
    let mut mixed = points(&second, [9, 8, 7]);
    mixed[1].store = false;
    assert_eq!(buffer.push(NOW, mixed.into()), 0);
    assert_eq!(buffer.due_at(), Some(Duration::from_secs(6)));
    assert!(!buffer.is_full());
    buffer.push(NOW, points(&first, [5, 3]).into());
    assert!(buffer.is_full());
    let batch = buffer.form(id).unwrap();
    assert_eq!((batch.rows(), buffer.held(), buffer.waiting()), (4, 5, 0));
    let encoded = batch.encode();
    let names: Vec<_> = encoded.names().map(|name| (name.rider.0.as_u128(), name.seq)).collect();
    assert_eq!(names, [(1, 3), (1, 5), (2, 7), (2, 9)]);
    batch.settle();
    assert_eq!((first.stored_to(), second.stored_to()), (5, 9));
    buffer.release(&batch);
    assert_eq!(buffer.held(), 0);
}

#[test]
fn points_that_nobody_wants_stored_do_not_wait() {
    let track = track(1);
    let mut buffer = buffer(4, 100);
    let mut thinned = points(&track, [1, 2]);
    thinned.iter_mut().for_each(|point| point.store = false);
    buffer.push(NOW, thinned.into());
    assert!(buffer.held() == 0 && buffer.due_at().is_none() && buffer.form(id).is_none());
}

#[test]
fn past_the_bound_the_oldest_go_and_their_track_stops() {
    let (kept, dropped) = (track(1), track(2));
    let mut buffer = buffer(2, 4);
    buffer.push(NOW, points(&dropped, [1]).into());
    buffer.push(NOW, points(&dropped, [2]).into());
    assert_eq!(buffer.push(NOW, points(&kept, [1, 2, 3]).into()), 2);
    assert!(dropped.is_lost() && !kept.is_lost());
    let batch = buffer.form(id).unwrap();
    assert_eq!(batch.rows(), 3, "a lane's points stay together");
    batch.settle();
    assert_eq!(kept.stored_to(), 3);
}

#[test]
fn what_is_on_its_way_counts_and_is_not_dropped() {
    let (away, dropped) = (track(1), track(2));
    let mut buffer = buffer(2, 3);
    buffer.push(NOW, points(&away, [1, 2]).into());
    let batch = buffer.form(id).unwrap();
    assert_eq!(buffer.push(NOW, points(&dropped, [1]).into()), 0);
    assert_eq!(buffer.push(NOW, points(&dropped, [2]).into()), 2);
    assert!(!away.is_lost() && dropped.is_lost());
    batch.lose();
    assert!(away.is_lost());
}

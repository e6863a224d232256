//! The memory of answers is bounded, and what is stored reads back.

use super::*;
use uuid::Uuid;

fn known(n: u8, at: i64) -> Known {
    let key = FrameKey { id: n.to_string(), digest: [n; 32] };
    Known { key, given: Given::First(FirstAnswer::Declined), at: Timestamp::from_millis(at) }
}

#[test]
fn the_memory_is_bounded_in_number_and_in_time() {
    let mut answered = Answered::default();
    let rider = RiderId(Uuid::from_u128(1));
    for n in 0..=200 {
        answered.remember(rider, known(n, i64::from(n)));
    }
    assert_eq!(answered.known[&rider].len(), PER_RIDER);
    let key = FrameKey { id: "200".into(), digest: [200; 32] };
    assert!(matches!(answered.meet(rider, &key, ReplyTo(1)), Met::Answered(_)));
    assert!(matches!(answered.meet(rider, &FrameKey { digest: [0; 32], ..key.clone() }, ReplyTo(1)), Met::Reused));
    answered.forget(Timestamp::from_millis(199) + MEMORY + std::time::Duration::from_millis(1));
    assert_eq!(answered.known[&rider].len(), 1);
    answered.forget(Timestamp::FAR_FUTURE);
    assert!(answered.known.is_empty() && answered.line.is_empty());
    assert!(matches!(answered.meet(rider, &key, ReplyTo(1)), Met::New));
}

#[test]
fn stored_answers_read_back() {
    for answer in [
        FirstAnswer::Duty { duty: Duty::On, next: Some(Duty::Off) },
        FirstAnswer::Accepted { order: OrderId(Uuid::from_u128(7)), version: 3 },
        FirstAnswer::Stepped { order: OrderId(Uuid::from_u128(7)), status: OrderStatus::Delivered, version: 9 },
        FirstAnswer::Declined,
        FirstAnswer::OtpLocked,
    ] {
        let stored = serde_json::to_value(answer).unwrap();
        assert_eq!(FirstAnswer::deserialize(&stored).unwrap(), answer, "{stored}");
    }
}

//! Frames of devices and disputes in the journal's transaction, against a real PostgreSQL.

use std::time::Duration;

use dispatch_engine::{
    domain::{
        dispute::DisputeKind,
        duty::{Duty, DutyReason},
        ids::{DisputeId, RiderId},
        order::{Actor, OrderStatus, Step},
        otp::OtpDigest,
    },
    engine::{
        answered::{FirstAnswer, FrameKey, FrameRecord},
        command::RejectReason,
        effect::{DisputeRecord, DisputeWrite, DutyWrite, OrderEvent, Write},
    },
    store::{frames, recovery, riders},
};
use serde_json::{Map, json};

use super::journal::{Bed, NOW, REPORT_AGE, change, event, id, plain, transition};

fn frame(rider: RiderId, name: &str, content: u8, answer: FirstAnswer) -> Option<Box<FrameRecord>> {
    let key = FrameKey { id: name.into(), digest: [content; 32] };
    Some(Box::new(FrameRecord { rider, key, answer, at: NOW, expires_at: NOW + Duration::from_secs(86_400) }))
}

fn duty(bed: &Bed, rider: RiderId, next: Option<Duty>, frame: Option<Box<FrameRecord>>) -> DutyWrite {
    let (city, reason) = (bed.city.clone(), DutyReason::Silent);
    DutyWrite { transition: transition(), rider, city, duty: Duty::On, reason, at: NOW, next, frame }
}

#[tokio::test]
async fn a_frame_is_stored_once_with_its_first_answer() {
    let bed = Bed::new().await;
    let rider = bed.rider().await;
    let answer = FirstAnswer::Duty { duty: Duty::On, next: None };
    let first = duty(&bed, rider, None, frame(rider, "a", 1, answer));
    // The second time is a retry whose first answer was lost.
    for _ in 0..2 {
        assert_eq!(bed.commit(vec![Write::Duty(first.clone())]).await, [Ok(())]);
    }
    let again = duty(&bed, rider, Some(Duty::Off), frame(rider, "a", 1, FirstAnswer::Declined));
    let other = duty(&bed, rider, Some(Duty::Off), frame(rider, "a", 2, FirstAnswer::Declined));
    // In one batch: two writes of one frame do not meet in one statement.
    let answers = bed.commit(vec![Write::Duty(again), Write::Duty(other)]).await;
    let stored = serde_json::to_value(answer).unwrap();
    assert_eq!(answers, [Err(RejectReason::Replay(stored)), Err(RejectReason::KeyReused)]);
    let image = recovery::load_city(&bed.db, &bed.city, NOW, REPORT_AGE).await.unwrap();
    assert_eq!((image.riders[0].next_duty, image.riders[0].duty_why), (None, Some(DutyReason::Silent)));
    assert_eq!((image.frames.len(), image.frames[0].answer, image.frames[0].key.id.as_str()), (1, answer, "a"));
    let found = frames::find(&bed.db, rider, "a", NOW).await.unwrap().unwrap();
    assert_eq!((found.answer, found.digest), (answer, vec![1; 32]));
    // What follows the duty changes neither the duty nor its log.
    let plan = duty(&bed, rider, Some(Duty::Break), None);
    assert_eq!(bed.commit(vec![Write::Duty(plan)]).await, [Ok(())]);
    let image = recovery::load_city(&bed.db, &bed.city, NOW, REPORT_AGE).await.unwrap();
    assert_eq!((image.riders[0].duty, image.riders[0].next_duty), (Duty::On, Some(Duty::Break)));
    assert_eq!(bed.count("SELECT count(*) FROM duty_logs").await, 1);
    let stored = riders::profiles(&bed.db, &[rider]).await.unwrap();
    assert_eq!(stored[&rider].as_ref().unwrap().1.why, Some(DutyReason::Silent));
    // Not for ever.
    let late = NOW + Duration::from_secs(86_400);
    assert_eq!(frames::find(&bed.db, rider, "a", late).await.unwrap(), None);
    assert_eq!(frames::delete_expired(&bed.db, late).await.unwrap(), 1);
}

#[tokio::test]
async fn a_refused_change_gives_its_frame_back() {
    let bed = Bed::new().await;
    let (rider, place) = (bed.rider().await, plain(None));
    bed.commit(vec![Write::Place(place.clone())]).await;
    let mut write = change(place.spec.id, &place.state, OrderStatus::Offered, "offered");
    write.frame = frame(rider, "b", 1, FirstAnswer::Declined);
    let mut stale = write.clone();
    (stale.transition, stale.expected_version) = (transition(), 7);
    assert_eq!(bed.commit(vec![Write::Order(stale)]).await, [Err(RejectReason::Conflict)]);
    assert_eq!(frames::find(&bed.db, rider, "b", NOW).await.unwrap(), None);
    for _ in 0..2 {
        assert_eq!(bed.commit(vec![Write::Order(write.clone())]).await, [Ok(())]);
    }
    assert!(frames::find(&bed.db, rider, "b", NOW).await.unwrap().is_some());
}

pub(super) fn dispute(
    rider: RiderId,
    order: dispatch_engine::domain::ids::OrderId,
    id: DisputeId,
    step: Step,
) -> DisputeWrite {
    let report = json!({ "step": step, "recorded_at": NOW.to_string() });
    let record = DisputeRecord {
        id,
        order,
        rider,
        kind: DisputeKind::AfterEnd,
        step,
        report: report.as_object().cloned().unwrap(),
        at: NOW,
        transition: transition(),
    };
    let (kind, actor, data) = ("disputed", Actor::rider(rider), Map::new());
    DisputeWrite {
        record,
        event: OrderEvent { seq: 0, version: 0, kind, actor, reason: None, data, at: NOW },
        frame: None,
    }
}

#[tokio::test]
async fn an_ended_order_is_disputed_and_remembers_who_lost_it() {
    let bed = Bed::new().await;
    let (lost, rider, place) = (bed.rider().await, bed.rider().await, plain(None));
    let order = place.spec.id;
    let mut unassigned = change(order, &place.state, OrderStatus::Queued, "unassigned");
    unassigned.events[0].data.insert("rider".into(), lost.to_string().into());
    bed.commit(vec![Write::Place(place.clone()), Write::Order(unassigned.clone())]).await;
    let image = recovery::load_city(&bed.db, &bed.city, NOW, REPORT_AGE).await.unwrap();
    assert_eq!((image.claims[0].end, image.claims[0].riders.as_slice()), (None, &[lost][..]));

    let disputed = dispute(rider, order, DisputeId(id(NOW)), Step::PickedUp);
    let live = bed.commit(vec![Write::Dispute(disputed.clone())]).await;
    assert!(matches!(live[..], [Err(RejectReason::Invalid(_))]), "a live order goes through its own write");
    let mut cancelled = change(order, &unassigned.state, OrderStatus::Cancelled, "cancelled");
    (cancelled.state.rider, cancelled.state.ended_at) = (Some(rider), Some(NOW));
    bed.commit(vec![Write::Order(cancelled)]).await;
    for _ in 0..2 {
        assert_eq!(bed.commit(vec![Write::Dispute(disputed.clone())]).await, [Ok(())]);
    }
    let further = dispute(rider, order, disputed.record.id, Step::Delivered);
    assert_eq!(bed.commit(vec![Write::Dispute(further)]).await, [Ok(())]);
    assert_eq!(bed.count("SELECT count(*) FROM disputes").await, 1);
    assert_eq!(bed.count("SELECT count(*) FROM order_events WHERE kind = 'disputed'").await, 2);

    let image = recovery::load_city(&bed.db, &bed.city, NOW, REPORT_AGE).await.unwrap();
    assert_eq!((image.disputes[0].id, image.disputes[0].step), (disputed.record.id, Step::Delivered));
    let mut riders = image.claims[0].riders.clone();
    riders.sort_unstable();
    let mut both = [lost, rider];
    both.sort_unstable();
    assert_eq!((image.claims[0].end, riders.as_slice()), (Some((OrderStatus::Cancelled, NOW)), &both[..]));
    let later = NOW + REPORT_AGE + Duration::from_secs(1);
    assert!(recovery::load_city(&bed.db, &bed.city, later, REPORT_AGE).await.unwrap().claims.is_empty());
}

#[tokio::test]
async fn codes_and_wrong_tries_are_found_again() {
    let bed = Bed::new().await;
    let mut place = plain(None);
    place.spec.otp_digest = Some(OtpDigest([7; 32]));
    let mut wrong = change(place.spec.id, &place.state, OrderStatus::Queued, "otp_wrong");
    wrong.events.push(event(wrong.state.next_seq, wrong.state.version, "otp_wrong"));
    wrong.state.next_seq += 1;
    bed.commit(vec![Write::Place(place.clone()), Write::Order(wrong)]).await;
    let image = recovery::load_city(&bed.db, &bed.city, NOW, REPORT_AGE).await.unwrap();
    assert_eq!(image.orders[0].0.otp_digest, place.spec.otp_digest);
    assert_eq!(image.wrong_codes, [(place.spec.id, 2)]);
}

//! What operators do, as PostgreSQL keeps it: with its key and its line in the audit log, in one transaction or not at all.

use std::time::Duration;

use dispatch_engine::{
    domain::{
        ids::{OrderId, TransitionId},
        order::{Actor, ActorKind, OrderStatus},
        steering::{Hold, Priority},
    },
    engine::{
        audit::AuditRecord,
        command::{IdempotencyRecord, RejectReason},
        effect::{OrderWrite, PlaceWrite, Write},
    },
    store::{audit, checks, idempotency, recovery},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::journal::{Bed, NOW, REPORT_AGE, change, id, plain, transition};

fn key(name: &str, digest: u8, answer: Value) -> Option<IdempotencyRecord> {
    let expires_at = NOW + Duration::from_secs(86_400);
    Some(IdempotencyRecord {
        caller: "operator:olga".into(),
        key: name.into(),
        digest: vec![digest; 32],
        answer,
        expires_at,
    })
}

/// An operator's hold of an order as it was placed, under a key.
fn held(place: &PlaceWrite, name: &str, digest: u8) -> OrderWrite {
    let mut write = change(place.spec.id, &place.state, OrderStatus::Queued, "held");
    let until = NOW + Duration::from_secs(900);
    write.state.hold = Some(Hold { by: "olga".into(), until, reason: "no answer at the shop".into() });
    write.audit = Some(AuditRecord {
        id: id(NOW),
        at: NOW,
        actor: Actor { kind: ActorKind::Operator, id: Some("olga".into()) },
        action: "hold",
        rider: None,
        reason: Some("no answer at the shop".into()),
        detail: json!({ "until": until.to_string() }).as_object().cloned().unwrap(),
    });
    write.idempotency = key(name, digest, json!({ "id": place.spec.id.to_string(), "status": "queued", "version": 2 }));
    write
}

async fn acts(bed: &Bed, order: OrderId) -> Vec<String> {
    audit::of_order(&bed.db, order, 10).await.unwrap().into_iter().map(|act| act.action).collect()
}

#[tokio::test]
async fn an_act_its_audit_line_and_its_key_are_stored_together() {
    let bed = Bed::new().await;
    let place = plain(None);
    bed.commit(vec![Write::Place(place.clone())]).await;
    let mut write = held(&place, "k-1", 1);
    write.state.priority = Priority::new(2).unwrap();
    assert_eq!(bed.commit(vec![Write::Order(write.clone())]).await, [Ok(())]);

    let image = recovery::load_city(&bed.db, &bed.city, NOW, REPORT_AGE).await.unwrap();
    assert_eq!(image.orders, [(place.spec.clone(), write.state.clone())], "the next incarnation knows of the hold");
    let lines = audit::of_order(&bed.db, place.spec.id, 10).await.unwrap();
    assert_eq!(lines.len(), 1);
    assert_eq!(
        (lines[0].actor_id.as_deref(), lines[0].action.as_str(), lines[0].reason.as_deref()),
        (Some("olga"), "hold", Some("no answer at the shop"))
    );
    let names: (String, Uuid) =
        sqlx::query_as("SELECT city, transition_id FROM audit_log").fetch_one(&bed.db).await.unwrap();
    assert_eq!(names, ("pune".into(), write.transition.0));
    let answered = idempotency::find(&bed.db, "operator:olga", "k-1", NOW).await.unwrap().unwrap();
    assert_eq!(answered.answer["version"], 2);

    // The answer to the COMMIT was lost: the very same write again is found stored, and nothing is there twice.
    assert_eq!(bed.commit(vec![Write::Order(write)]).await, [Ok(())]);
    assert_eq!(acts(&bed, place.spec.id).await, ["hold"]);
    assert!(checks::run(&bed.db).await.unwrap().iter().all(|check| check.broken == 0));
}

#[tokio::test]
async fn a_repeated_key_is_answered_and_changes_nothing() {
    let bed = Bed::new().await;
    let (a, b) = (plain(None), plain(None));
    bed.commit(vec![Write::Place(a.clone()), Write::Place(b.clone())]).await;
    let first = held(&a, "k-1", 1);
    let answer = first.idempotency.clone().unwrap().answer;
    // A repetition of another transition, even at a good version; another request under the same key; a key of its own.
    let mut again = change(a.spec.id, &first.state, OrderStatus::Queued, "held");
    again.idempotency.clone_from(&first.idempotency);
    let other = held(&b, "k-1", 2);
    let own = OrderWrite { idempotency: key("k-2", 2, json!({})), ..held(&b, "k-1", 2) };
    let answers = bed.commit([first, again, other, own].into_iter().map(Write::Order).collect()).await;
    assert_eq!(answers, [Ok(()), Err(RejectReason::Replay(answer)), Err(RejectReason::KeyReused), Ok(())]);
    assert_eq!(bed.count("SELECT count(*) FROM orders WHERE version = 2").await, 2);
    assert_eq!(bed.count("SELECT count(*) FROM audit_log").await, 2);
}

#[tokio::test]
async fn a_refused_act_leaves_neither_key_nor_line() {
    let bed = Bed::new().await;
    let (a, b) = (plain(None), plain(None));
    bed.commit(vec![Write::Place(a.clone()), Write::Place(b.clone())]).await;
    let stale = OrderWrite { expected_version: 7, ..held(&a, "k-1", 1) };
    // A hold is for waiting orders: the table itself says so.
    let mut wrong = held(&b, "k-2", 1);
    wrong.state.status = OrderStatus::Offered;
    let answers = bed.commit(vec![Write::Order(stale), Write::Order(wrong)]).await;
    let [Err(RejectReason::Conflict), Err(RejectReason::Invalid(why))] = answers.as_slice() else {
        panic!("{answers:?}")
    };
    assert!(why.ends_with("orders_hold_check"), "{why}");
    assert_eq!(bed.count("SELECT count(*) FROM idempotency_keys").await, 0);
    assert_eq!(bed.count("SELECT count(*) FROM audit_log").await, 0);
    // The key is free for the same request once more.
    assert_eq!(bed.commit(vec![Write::Order(held(&a, "k-1", 1))]).await, [Ok(())]);
}

#[tokio::test]
async fn a_key_past_its_time_is_free() {
    let bed = Bed::new().await;
    let place = plain(None);
    bed.commit(vec![Write::Place(place.clone())]).await;
    let first = held(&place, "k-1", 1);
    bed.commit(vec![Write::Order(first.clone())]).await;
    let mut later = change(place.spec.id, &first.state, OrderStatus::Queued, "released");
    later.transition = TransitionId(transition().0);
    later.state.hold = None;
    later.state.updated_at = NOW + Duration::from_secs(86_400);
    later.idempotency = key("k-1", 9, json!({ "version": 3 }));
    assert_eq!(bed.commit(vec![Write::Order(later)]).await, [Ok(())]);
}

//! An auditor who finds nothing wrong with a broken store would prove nothing.

use std::collections::BTreeMap;

use chrono::DateTime;
use uuid::Uuid;

use super::{Event, Findings, Order, Stored, capacity, histories, receipts, refusals, words};
use crate::ledger::{Notes, Receipt, Refused, Told};

const ORDER: Uuid = Uuid::from_u128(1);
const ANNA: Uuid = Uuid::from_u128(11);
const RAVI: Uuid = Uuid::from_u128(12);

fn events(order: Uuid, from_s: i64, kinds: &[(&str, Option<Uuid>)]) -> Vec<Event> {
    (1..)
        .zip(kinds)
        .map(|(seq, (kind, actor))| Event {
            order_id: order,
            seq,
            version: seq,
            kind: (*kind).to_owned(),
            actor_id: actor.map(|actor| actor.to_string()),
            created_at: DateTime::from_timestamp(from_s + i64::from(seq), 0).unwrap(),
        })
        .collect()
}

fn stored(histories: Vec<Vec<Event>>) -> Stored {
    let order = |history: &Vec<Event>| {
        let last = history.last().unwrap();
        Order {
            id: last.order_id,
            status: last.kind.clone(),
            version: last.version,
            rider_id: None,
            external_ref: Some("a".into()),
            merchant_id: Uuid::nil(),
            payout_minor: 1,
        }
    };
    Stored {
        orders: histories.iter().map(order).map(|order| (order.id, order)).collect(),
        history: histories.into_iter().map(|history| (history[0].order_id, history)).collect(),
    }
}

fn delivered() -> Stored {
    stored(vec![events(
        ORDER,
        0,
        &[("placed", None), ("assigned", Some(ANNA)), ("picked_up", Some(ANNA)), ("delivered", Some(ANNA))],
    )])
}

fn told(status: &str, version: i32, holder: Option<Uuid>) -> Notes {
    let told = Told { order: ORDER, status: status.into(), version: Some(version), holder, by: "a frame" };
    Notes { told: vec![told], ..Notes::default() }
}

fn found(look: impl FnOnce(&mut Findings)) -> usize {
    let mut findings = Findings::default();
    look(&mut findings);
    findings.all().len()
}

#[test]
fn what_was_told_must_be_stored_and_what_is_stored_must_follow_from_it() {
    let cases = [
        (told("assigned", 2, Some(ANNA)), 0, "true"),
        (told("delivered", 4, None), 0, "true"),
        (told("assigned", 2, Some(RAVI)), 1, "another rider had it"),
        (told("returned", 4, None), 1, "it was never that"),
        (told("delivered", 5, None), 1, "that version is not stored"),
        (told("cancelled", 4, None), 1, "and a word that was given is lost"),
    ];
    for (notes, wrong, why) in cases {
        assert_eq!(found(|findings| words(&delivered(), &notes, findings)), wrong, "{why}");
    }
    let back = stored(vec![events(ORDER, 0, &[("placed", None), ("picked_up", Some(ANNA)), ("cancelled", None)])]);
    assert_eq!(found(|findings| words(&back, &told("picked_up", 2, None), findings)), 1, "goods do not vanish");
    assert_eq!(found(|findings| words(&stored(vec![]), &told("placed", 1, None), findings)), 1, "no such order");
}

#[test]
fn receipts_and_orders_are_the_same_set() {
    let receipt = |order: Uuid| {
        let receipt = Receipt { merchant: Uuid::nil(), reference: "a".into() };
        Notes { receipts: BTreeMap::from([(order, receipt)]), ..Notes::default() }
    };
    assert_eq!(found(|findings| receipts(&delivered(), &receipt(ORDER), findings)), 0);
    assert_eq!(found(|findings| receipts(&delivered(), &Notes::default(), findings)), 1, "stored, not acknowledged");
    assert_eq!(found(|findings| receipts(&delivered(), &receipt(RAVI), findings)), 2, "one lost, one doubled");
}

#[test]
fn an_order_is_in_one_pair_of_hands_and_a_rider_holds_one_order() {
    let two_hands = stored(vec![events(
        ORDER,
        0,
        &[("placed", None), ("assigned", Some(ANNA)), ("assigned", Some(RAVI)), ("delivered", Some(RAVI))],
    )]);
    assert_eq!(found(|findings| histories(&two_hands, findings)), 1);
    let work = [("placed", None), ("assigned", Some(ANNA)), ("delivered", Some(ANNA))];
    let after = |from_s| stored(vec![events(ORDER, 0, &work), events(RAVI, from_s, &work)]);
    assert_eq!(found(|findings| capacity(&after(1), findings)), 0, "one after the other");
    assert_eq!(found(|findings| capacity(&after(0), findings)), 1, "both at a time");
}

#[test]
fn histories_have_no_gaps_and_one_end() {
    assert_eq!(found(|findings| histories(&delivered(), findings)), 0);
    let mut gap = delivered();
    gap.history.get_mut(&ORDER).unwrap().remove(1);
    assert!(found(|findings| histories(&gap, findings)) > 0);
    let twice = stored(vec![events(ORDER, 0, &[("placed", None), ("delivered", None), ("cancelled", None)])]);
    assert_eq!(found(|findings| histories(&twice, findings)), 1);
}

#[test]
fn a_stored_step_is_not_refused_to_its_rider() {
    let refused = |rider| {
        let refused = Refused { rider, order: ORDER, step: "delivered".into(), code: "unknown_order".into() };
        Notes { refused: vec![refused], ..Notes::default() }
    };
    assert_eq!(found(|findings| refusals(&delivered(), &refused(ANNA), findings)), 1);
    assert_eq!(found(|findings| refusals(&delivered(), &refused(RAVI), findings)), 0);
}

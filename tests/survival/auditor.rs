//! Compares what clients wrote down with what is stored, once everything is quiet.

use std::collections::{BTreeMap, BTreeSet};

use chrono::{DateTime, Utc};
use dispatch_engine::store::{Db, checks};
use uuid::Uuid;

use crate::{
    belief::Belief,
    ledger::{Notes, Told},
};

/// What was found; every list is empty when the promises were kept.
#[derive(Debug, Default)]
pub struct Findings {
    /// What was acknowledged to a client and is not stored.
    pub lost: Vec<String>,
    /// What is stored twice, or was given to two.
    pub doubled: Vec<String>,
    /// Devices that believe something else than what is stored.
    pub diverged: Vec<String>,
    /// Everything else that is wrong.
    pub broken: Vec<String>,
    /// Orders stored.
    pub orders: usize,
    /// Of them delivered.
    pub delivered: usize,
}

impl Findings {
    /// Every broken promise, with its kind.
    pub fn all(&self) -> Vec<String> {
        let kinds =
            [("lost", &self.lost), ("doubled", &self.doubled), ("diverged", &self.diverged), ("broken", &self.broken)];
        kinds.iter().flat_map(|(kind, list)| list.iter().map(move |what| format!("{kind}: {what}"))).collect()
    }
}

#[derive(sqlx::FromRow)]
struct Order {
    id: Uuid,
    status: String,
    version: i32,
    rider_id: Option<Uuid>,
    external_ref: Option<String>,
    merchant_id: Uuid,
    payout_minor: i64,
}

#[derive(sqlx::FromRow)]
struct Event {
    order_id: Uuid,
    seq: i32,
    version: i32,
    kind: String,
    actor_id: Option<String>,
    created_at: DateTime<Utc>,
}

impl Event {
    fn actor(&self) -> Option<Uuid> {
        self.actor_id.as_deref()?.parse().ok()
    }
}

/// What the store holds.
struct Stored {
    orders: BTreeMap<Uuid, Order>,
    history: BTreeMap<Uuid, Vec<Event>>,
}

/// Reads the store and compares.
pub async fn audit(db: &Db, notes: &Notes, beliefs: &BTreeMap<Uuid, Belief>) -> Findings {
    let orders: Vec<Order> = sqlx::query_as(
        "SELECT id, status, version, rider_id, external_ref, merchant_id, payout_minor FROM orders ORDER BY id",
    )
    .fetch_all(db)
    .await
    .unwrap();
    let events: Vec<Event> = sqlx::query_as(
        "SELECT order_id, seq, version, kind, actor_id, created_at FROM order_events ORDER BY order_id, seq",
    )
    .fetch_all(db)
    .await
    .unwrap();
    let mut stored =
        Stored { orders: orders.into_iter().map(|order| (order.id, order)).collect(), history: BTreeMap::new() };
    for event in events {
        stored.history.entry(event.order_id).or_default().push(event);
    }
    let mut findings = Findings { orders: stored.orders.len(), ..Findings::default() };
    findings.delivered = stored.orders.values().filter(|order| order.status == "delivered").count();
    receipts(&stored, notes, &mut findings);
    words(&stored, notes, &mut findings);
    histories(&stored, &mut findings);
    capacity(&stored, &mut findings);
    ledgers(db, &stored, &mut findings).await;
    refusals(&stored, notes, &mut findings);
    devices(db, &stored, beliefs, &mut findings).await;
    findings.broken.extend(notes.complaints.iter().cloned());
    for check in checks::run(db).await.unwrap() {
        if check.broken != 0 {
            findings.broken.push(format!("{} rows contradict: {}", check.broken, check.promise));
        }
    }
    findings
}

/// Every receipt is an order, and every order has one receipt: merchants ask until they have it.
fn receipts(stored: &Stored, notes: &Notes, findings: &mut Findings) {
    for (id, receipt) in &notes.receipts {
        match stored.orders.get(id) {
            None => findings.lost.push(format!("{} ({id}) is not stored", receipt.reference)),
            Some(order) if order.external_ref.as_ref() != Some(&receipt.reference) => {
                findings.lost.push(format!("{} ({id}) is stored as {:?}", receipt.reference, order.external_ref));
            }
            Some(order) if order.merchant_id != receipt.merchant => {
                findings.broken.push(format!("{} ({id}) is stored for another merchant", receipt.reference));
            }
            Some(_) => {}
        }
    }
    let unknown = stored.orders.values().filter(|order| !notes.receipts.contains_key(&order.id));
    findings.doubled.extend(
        unknown
            .map(|order| format!("{} ({:?}) is stored and nobody has a receipt for it", order.id, order.external_ref)),
    );
}

/// Every state that anybody was told of stands in the order's history, and where the order ended follows from it.
fn words(stored: &Stored, notes: &Notes, findings: &mut Findings) {
    for told in &notes.told {
        let Some(order) = stored.orders.get(&told.order) else {
            findings.lost.push(format!("{told} is of no stored order"));
            continue;
        };
        let history = stored.history.get(&told.order).map_or(&[][..], Vec::as_slice);
        if told.version.is_some_and(|version| version > order.version || !history.iter().any(|e| e.version == version))
        {
            findings.lost.push(format!("{told}, stored is version {} ({})", order.version, order.status));
        } else if !history.iter().any(|event| leads_to(&event.kind, &told.status)) {
            let kinds: Vec<&str> = history.iter().map(|event| event.kind.as_str()).collect();
            findings.lost.push(format!("{told}, its history is {kinds:?}"));
        } else if !follows(&told.status, &order.status) {
            findings.lost.push(format!("{told}, stored is {}", order.status));
        }
        if let Some(wrong) = wrong_holder(told, history) {
            findings.doubled.push(format!("{told}, but by the history it was in the hands of {wrong:?}"));
        }
    }
}

/// Whether an event of this kind can have brought an order to a status.
fn leads_to(kind: &str, status: &str) -> bool {
    match status {
        "cancelled" => kind == "cancelled",
        "returning" => kind == "returning" || kind == "cancelled_after_pickup",
        "queued" => true,
        status => kind == status,
    }
}

/// Whether an order of which somebody was told that it stands here may stand there at last. Before the pickup it may go
/// back into the queue; after it the goods are somebody's, and an end is for ever.
fn follows(told: &str, at_last: &str) -> bool {
    match told {
        "delivered" | "returned" | "cancelled" | "expired" => told == at_last,
        "picked_up" | "at_dropoff" | "attempt_failed" | "returning" => {
            !matches!(at_last, "placed" | "cancelled" | "expired")
        }
        _ => true,
    }
}

/// Who held the order at the version that a rider was told of, when that was not this rider.
fn wrong_holder(told: &Told, history: &[Event]) -> Option<Option<Uuid>> {
    let (rider, version) = (told.holder?, told.version?);
    let mut holder = None;
    for event in history.iter().take_while(|event| event.version <= version) {
        match event.kind.as_str() {
            "assigned" => holder = event.actor(),
            "unassigned" | "handover" => holder = None,
            _ => {}
        }
    }
    (holder != Some(rider)).then_some(holder)
}

/// Events are numbered without gaps, versions go up by one, nobody is given what another one holds.
fn histories(stored: &Stored, findings: &mut Findings) {
    for (id, order) in &stored.orders {
        let history = stored.history.get(id).map_or(&[][..], Vec::as_slice);
        let (mut holder, mut version, mut ended) = (None, 0, false);
        for (at, event) in history.iter().enumerate() {
            if usize::try_from(event.seq).ok() != Some(at + 1) {
                findings.broken.push(format!("event {} of {id} has the number {}", at + 1, event.seq));
            }
            if !(version..=version + 1).contains(&event.version) {
                findings.broken.push(format!("version {} of {id} follows {version}", event.version));
            }
            version = event.version;
            match event.kind.as_str() {
                "assigned" => {
                    if let Some(first) = holder.filter(|_| holder != event.actor()) {
                        findings
                            .doubled
                            .push(format!("{id} was in the hands of {first} and given to {:?}", event.actor()));
                    }
                    if ended {
                        findings.doubled.push(format!("{id} had ended and was given to {:?}", event.actor()));
                    }
                    holder = event.actor();
                }
                "unassigned" | "handover" => holder = None,
                "delivered" | "returned" | "cancelled" | "expired" => {
                    if ended {
                        findings.doubled.push(format!("{id} ended twice"));
                    }
                    (ended, holder) = (true, None);
                }
                _ => {}
            }
        }
        if version != order.version {
            findings.broken.push(format!("{id} has version {} and its last event {version}", order.version));
        }
    }
}

/// No rider holds two orders at a time: the policy of the test allows one.
fn capacity(stored: &Stored, findings: &mut Findings) {
    let mut changes: BTreeMap<Uuid, Vec<(DateTime<Utc>, i8, Uuid)>> = BTreeMap::new();
    for history in stored.history.values() {
        let mut holder = None;
        for event in history {
            match event.kind.as_str() {
                "assigned" => {
                    holder = event.actor();
                    let Some(rider) = holder else { continue };
                    changes.entry(rider).or_default().push((event.created_at, 1, event.order_id));
                }
                "unassigned" | "handover" | "delivered" | "returned" | "cancelled" | "expired" => {
                    if let Some(rider) = holder.take() {
                        changes.entry(rider).or_default().push((event.created_at, -1, event.order_id));
                    }
                }
                _ => {}
            }
        }
    }
    for (rider, mut changes) in changes {
        // Within a millisecond ends come first.
        changes.sort();
        let mut held = BTreeSet::new();
        for (at, change, order) in changes {
            if change > 0 {
                held.insert(order)
            } else {
                held.remove(&order)
            };
            if held.len() > 1 {
                findings.doubled.push(format!("{rider} held {held:?} at {at}"));
            }
        }
    }
}

/// Every delivered or returned order has paid its rider once, in a transaction that sums to zero.
async fn ledgers(db: &Db, stored: &Stored, findings: &mut Findings) {
    let earnings: Vec<(Uuid, Uuid, i64)> = sqlx::query_as(
        "SELECT order_id, rider_id, amount FROM wallet_ledger WHERE entry_type = 'earning' AND account = 'earnings'",
    )
    .fetch_all(db)
    .await
    .unwrap();
    let mut paid: BTreeMap<Uuid, Vec<(Uuid, i64)>> = BTreeMap::new();
    for (order, rider, amount) in earnings {
        paid.entry(order).or_default().push((rider, amount));
    }
    for (id, order) in &stored.orders {
        let paid = paid.remove(id).unwrap_or_default();
        let due = matches!(order.status.as_str(), "delivered" | "returned");
        match (due, paid.as_slice()) {
            (true, []) => findings.lost.push(format!("{id} is {} and nobody was paid", order.status)),
            (true, [(rider, amount)]) if Some(*rider) == order.rider_id && *amount == order.payout_minor => {}
            (false, []) => {}
            _ => findings.doubled.push(format!("{id} is {} and was paid to {paid:?}", order.status)),
        }
    }
    if !paid.is_empty() {
        findings.broken.push(format!("earnings of no stored order: {paid:?}"));
    }
    let unbalanced: Vec<(Uuid, i64)> = sqlx::query_as(
        "SELECT transaction_id, sum(amount)::int8 FROM (
             SELECT transaction_id, amount FROM wallet_ledger
             UNION ALL SELECT transaction_id, amount FROM platform_ledger) AS entries
         GROUP BY transaction_id HAVING sum(amount) <> 0",
    )
    .fetch_all(db)
    .await
    .unwrap();
    findings.broken.extend(unbalanced.iter().map(|(id, sum)| format!("the transaction {id} sums to {sum}")));
}

/// A step that is stored was not refused to the rider who took it: a repeated report has the first answer.
fn refusals(stored: &Stored, notes: &Notes, findings: &mut Findings) {
    for refused in &notes.refused {
        let history = stored.history.get(&refused.order).map_or(&[][..], Vec::as_slice);
        let lasting = matches!(refused.step.as_str(), "picked_up" | "delivered" | "returned");
        if lasting && history.iter().any(|e| e.kind == refused.step && e.actor() == Some(refused.rider)) {
            findings.broken.push(format!("{refused}, and it is stored"));
        }
    }
}

/// Every device believes what is stored of its rider.
async fn devices(db: &Db, stored: &Stored, beliefs: &BTreeMap<Uuid, Belief>, findings: &mut Findings) {
    let duties: Vec<(Uuid, String)> = sqlx::query_as("SELECT id, duty FROM riders").fetch_all(db).await.unwrap();
    let offers: Vec<(Uuid, Uuid)> =
        sqlx::query_as("SELECT rider_id, id FROM offers WHERE state IN ('sent', 'seen')").fetch_all(db).await.unwrap();
    let open = ["assigned", "at_pickup", "picked_up", "at_dropoff", "attempt_failed", "returning"];
    for (rider, duty) in duties {
        let Some(belief) = beliefs.get(&rider) else { continue };
        let orders: Vec<(Uuid, String)> = stored
            .orders
            .values()
            .filter(|order| order.rider_id == Some(rider) && open.contains(&order.status.as_str()))
            .map(|order| (order.id, order.status.clone()))
            .collect();
        let offer = offers.iter().find(|(of, _)| *of == rider).map(|(_, offer)| *offer);
        let truth = (duty, orders, offer);
        if belief.bare() != truth {
            findings.diverged.push(format!("{rider} believes {:?}, stored is {truth:?}", belief.bare()));
        }
    }
}

#[path = "auditor_tests.rs"]
mod tests;

//! What must hold of every change that is stored, written down here once more on purpose, for an outsider to judge by.

use dispatch_engine::{
    domain::{
        ids::OrderId,
        order::{ActorKind, Custody, OrderStatus},
        policy::DispatchPolicy,
        wallet::{Account, EntryType, Posting},
    },
    engine::effect::{OrderEvent, OrderState, OrderWrite},
};

use super::{Checked, ensure, store::Row};

/// The history of an order has no gap, its events belong to their version, and none is long.
pub fn numbers_follow(id: OrderId, from: &OrderState, events: &[OrderEvent], version: i32) -> Checked {
    for (event, seq) in events.iter().zip(from.next_seq..) {
        ensure(event.seq == seq, || format!("event {} of {id} should be {seq}", event.seq))?;
        ensure(event.version == version, || format!("event {seq} of {id} is of version {}", event.version))?;
        let size = serde_json::to_string(&event.data).map_or(usize::MAX, |text| text.len());
        ensure(size < 2_048, || format!("event {seq} of {id} takes {size} bytes"))?;
    }
    Ok(())
}

/// Which status may follow which, written down here once more on purpose.
pub fn follows(from: OrderStatus, to: OrderStatus) -> bool {
    use OrderStatus as S;
    let next: &[S] = match from {
        S::Placed => &[S::Placed, S::Queued, S::Assigned, S::Cancelled],
        S::Queued => &[S::Queued, S::Offered, S::Assigned, S::Cancelled, S::Expired],
        S::Offered => &[S::Offered, S::Queued, S::Assigned, S::Cancelled],
        S::Assigned => &[S::Assigned, S::AtPickup, S::PickedUp, S::Placed, S::Queued, S::Cancelled],
        S::AtPickup => &[S::AtPickup, S::PickedUp, S::Assigned, S::Placed, S::Queued, S::Cancelled],
        S::PickedUp => &[S::AtDropoff, S::Delivered, S::AttemptFailed, S::Returning, S::Queued],
        S::AtDropoff => &[S::Delivered, S::AttemptFailed, S::Returning, S::Queued],
        S::AttemptFailed => &[S::AtDropoff, S::Returning, S::Queued],
        S::Returning => &[S::Delivered, S::Returned],
        S::Delivered | S::Returned | S::Cancelled | S::Expired => &[],
    };
    next.contains(&to)
}

/// What an operator did is audited, and nothing else; a hold has an owner and an end, and only its end or a word ends it.
pub fn steered_well(write: &OrderWrite, from: &OrderState) -> Checked {
    let (id, to) = (write.order, &write.state);
    let by_operator = write.events.iter().any(|event| event.actor.kind == ActorKind::Operator);
    ensure(by_operator == write.audit.is_some(), || format!("{id}: audited is {:?}", write.audit))?;
    let kinds: Vec<&str> = write.events.iter().map(|event| event.kind).collect();
    let told = |words: &[&str]| words.iter().any(|word| kinds.contains(word));
    ensure(from.priority == to.priority || told(&["priority_changed"]), || format!("{id} has another priority"))?;
    match (&from.hold, &to.hold) {
        (before, Some(hold)) if before.as_ref() != Some(hold) => {
            let span = hold.until.since(to.updated_at);
            ensure(told(&["held"]) && span <= std::time::Duration::from_secs(3_600), || {
                format!("{id} is held for {span:?} by {kinds:?}")
            })?;
            let mine = before.as_ref().is_none_or(|before| before.by == hold.by);
            ensure(mine, || format!("{id} was {before:?}, and {hold:?} took it over"))
        }
        (Some(hold), None) => {
            let over = told(&["hold_expired"]) && hold.until <= to.updated_at;
            ensure(over || told(&["released", "assigned", "cancelled"]), || {
                format!("{id}: {hold:?} ended by {kinds:?}")
            })
        }
        (Some(_), Some(_)) => ensure(to.status.is_waiting() && to.status != OrderStatus::Offered, || {
            format!("{id} is held and {}", to.status)
        }),
        (None, _) => Ok(()),
    }
}

/// Goods change hands in front of witnesses only: at the counter, at a handover, at the door.
pub fn custody_follows(id: OrderId, from: &OrderState, to: &OrderState) -> Checked {
    let fits = match (from.custody, to.custody) {
        (before, after) if before == after => matches!(after, Custody::Rider(_)) == to.status.is_carried(),
        (Custody::Store | Custody::Handover { .. }, Custody::Rider(rider)) => {
            to.status == OrderStatus::PickedUp && to.rider == Some(rider)
        }
        (Custody::Rider(rider), Custody::Handover { holder, .. }) => {
            rider == holder && to.status == OrderStatus::Queued
        }
        (Custody::Rider(_), Custody::Recipient) => to.status == OrderStatus::Delivered,
        (Custody::Rider(_), Custody::Merchant) => to.status == OrderStatus::Returned,
        _ => false,
    };
    let words =
        || format!("{id} ({} to {}): goods from {:?} to {:?}", from.status, to.status, from.custody, to.custody);
    ensure(fits, words)
}

/// What an offer pays beyond the order's own payout, reckoned here once more on purpose.
pub fn bonus_minor(terms: &DispatchPolicy, round: u32) -> i64 {
    (i64::from(round) * i64::from(terms.round_bonus_minor)).min(i64::from(terms.max_bonus_minor))
}

/// Money moves once, at the end of the work, as it was promised.
pub fn books_balance(row: &Row, write: &OrderWrite) -> Checked {
    let (id, status) = (write.order, write.state.status);
    let sum: i64 = write.postings.iter().map(|posting| posting.amount_minor).sum();
    ensure(sum == 0, || format!("the postings of {id} sum to {sum}"))?;
    let due = matches!(status, OrderStatus::Delivered | OrderStatus::Returned);
    ensure(due != write.postings.is_empty(), || format!("{id} is {status} with {} postings", write.postings.len()))?;
    if !due {
        return Ok(());
    }
    ensure(!row.paid, || format!("{id} is paid twice"))?;
    let amount = |kind: EntryType| -> i64 {
        write.postings.iter().filter(|posting| posting.entry_type == kind).map(|posting| posting.amount_minor).sum()
    };
    let cash = if status == OrderStatus::Delivered { row.spec.cash_to_collect_minor } else { 0 };
    let (earned, collected) = (amount(EntryType::Earning), -amount(EntryType::CashCollected));
    ensure(Some(earned) == row.accepted_minor, || format!("{id} earned {earned}, promised {:?}", row.accepted_minor))?;
    ensure(collected == cash, || format!("{id}: {collected} of {cash} in cash"))?;
    let rider = write.state.rider;
    let his = |posting: &Posting| match posting.account {
        Account::RiderEarnings(id) | Account::RiderCashInHand(id) => Some(id) == rider,
        Account::Platform | Account::Merchant(_) => true,
    };
    ensure(write.postings.iter().all(his), || format!("{id} of {rider:?} paid somebody else"))
}

//! The order journal's statements: a batch of writes of many cities in one transaction (group commit).
//!
//! A batch commits what can be committed. Each write gets an answer of its own: stored, or refused for good with a
//! reason. Only when the database itself is away does the whole batch fail, and then it may be given again as it is,
//! as often as it takes: a write that was stored before is recognised by its transition id.

mod audit;
mod claims;
mod disputes;
mod duty;
mod events;
mod frames;
mod keys;
mod ledger;
mod notes;
mod offers;
mod orders;
mod otps;

use std::{
    collections::{BTreeMap, BTreeSet},
    ops::Range,
};

use sqlx::PgConnection;

pub(super) use ledger::id_at;

use super::{Db, StoreError, partitions};
use crate::{
    domain::{
        ids::{CityCode, MerchantId, OrderId, RiderId},
        time::Timestamp,
    },
    engine::{
        command::RejectReason,
        effect::{NoteWrite, OrderWrite, PlaceWrite, Write},
    },
};

/// A write with the incarnation of the city that decided it.
#[derive(Clone, Debug, PartialEq)]
pub struct JournalEntry {
    /// The city.
    pub city: CityCode,
    /// The epoch under which it decided.
    pub epoch: i64,
    /// What to store.
    pub write: Write,
}

/// What became of one write: stored, or refused for good.
pub type Answer = Result<(), RejectReason>;

/// A write with its place in the batch and its city.
pub(crate) struct Numbered<'a, W> {
    pub(crate) at: usize,
    pub(crate) entry: &'a JournalEntry,
    pub(crate) write: &'a W,
}

/// Stores a batch and answers each of its writes, in order. Entries of a city whose epoch has moved on are `Fenced`.
///
/// # Errors
/// [`StoreError::Unavailable`] when the database is away: the same batch may be given again. Other errors of the
/// database do not come out here: they are the `Invalid` answer of the one write that causes them.
pub async fn commit(db: &Db, batch: &[JournalEntry]) -> Result<Vec<Answer>, StoreError> {
    match attempt_with_months(db, batch).await {
        Ok(answers) => Ok(answers),
        Err(error) if error.is_transient() => Err(error),
        Err(error) if batch.len() <= 1 => Ok(vec![Err(RejectReason::Invalid(describe(&error))); batch.len()]),
        // One of them spoils the batch: each on its own, in the same order.
        Err(_) => {
            let mut answers = Vec::with_capacity(batch.len());
            for entry in batch {
                answers.push(match attempt_with_months(db, std::slice::from_ref(entry)).await {
                    Ok(one) => one.into_iter().next().unwrap_or(Ok(())),
                    Err(error) if error.is_transient() => return Err(error),
                    Err(error) => Err(RejectReason::Invalid(describe(&error))),
                });
            }
            Ok(answers)
        }
    }
}

/// Tries a batch; where a month has no partition yet, makes it and tries once more.
async fn attempt_with_months(db: &Db, batch: &[JournalEntry]) -> Result<Vec<Answer>, StoreError> {
    match attempt(db, batch).await {
        Err(StoreError::Refused(error)) if is_missing_partition(&error) => {
            let times: BTreeMap<_, _> = batch
                .iter()
                .map(|entry| entry.write.partition_time())
                .map(|at| (partitions::month_of(at), at))
                .collect();
            for at in times.into_values() {
                partitions::create_month(db, at).await?;
            }
            attempt(db, batch).await
        }
        other => other,
    }
}

async fn attempt(db: &Db, batch: &[JournalEntry]) -> Result<Vec<Answer>, StoreError> {
    let mut tx = db.begin().await?;
    let mut answers = fence(&mut tx, batch).await?;
    for wave in waves(batch) {
        store_wave(&mut tx, batch, wave, &mut answers).await?;
    }
    tx.commit().await?;
    Ok(answers)
}

/// Locks the epochs of the batch's cities and refuses the entries of incarnations that were superseded. The share lock
/// is what fences: with a plain read a new owner could claim and read before this commit became visible.
async fn fence(tx: &mut PgConnection, batch: &[JournalEntry]) -> Result<Vec<Answer>, StoreError> {
    let cities: BTreeSet<&str> = batch.iter().map(|entry| entry.city.as_str()).collect();
    let cities: Vec<&str> = cities.into_iter().collect();
    let rows = sqlx::query!(
        "SELECT city, epoch FROM city_epochs WHERE city = ANY($1) ORDER BY city FOR SHARE",
        &cities as &[&str]
    )
    .fetch_all(tx)
    .await?;
    let epochs: BTreeMap<&str, i64> = rows.iter().map(|row| (row.city.as_str(), row.epoch)).collect();
    let holds = |entry: &JournalEntry| epochs.get(entry.city.as_str()) == Some(&entry.epoch);
    Ok(batch.iter().map(|entry| if holds(entry) { Ok(()) } else { Err(RejectReason::Fenced) }).collect())
}

/// What two writes of one statement must not share: a set-based statement would drop one of them silently.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
enum Claim<'a> {
    Order(OrderId),
    Reference(MerchantId, &'a str),
    Key(&'a str, &'a str),
    Frame(RiderId, &'a str),
}

/// Cuts a batch into runs whose writes do not meet; nearly always one.
fn waves(batch: &[JournalEntry]) -> Vec<Range<usize>> {
    let mut waves = Vec::new();
    let mut seen = BTreeSet::new();
    let mut start = 0;
    for (at, entry) in batch.iter().enumerate() {
        let claims = claims_of(&entry.write);
        if claims.iter().any(|claim| seen.contains(claim)) {
            waves.push(start..at);
            start = at;
            seen.clear();
        }
        seen.extend(claims);
    }
    if start < batch.len() {
        waves.push(start..batch.len());
    }
    waves
}

fn claims_of(write: &Write) -> Vec<Claim<'_>> {
    let mut claims = subjects_of(write);
    claims.extend(frames::of(write).map(|frame| Claim::Frame(frame.rider, &frame.key.id)));
    claims
}

fn subjects_of(write: &Write) -> Vec<Claim<'_>> {
    match write {
        Write::Place(place) => {
            let mut claims = vec![Claim::Order(place.spec.id)];
            if let Some(reference) = &place.spec.external_ref {
                claims.push(Claim::Reference(place.spec.merchant, reference));
            }
            if let Some(record) = &place.extras.idempotency {
                claims.push(Claim::Key(&record.caller, &record.key));
            }
            claims
        }
        Write::Order(change) => {
            let mut claims = vec![Claim::Order(change.order)];
            if let Some(record) = &change.idempotency {
                claims.push(Claim::Key(&record.caller, &record.key));
            }
            claims
        }
        Write::Note(note) => vec![Claim::Order(note.order)],
        Write::Dispute(dispute) => vec![Claim::Order(dispute.record.order)],
        Write::Offer { .. } | Write::Duty(_) => vec![],
    }
}

async fn store_wave(
    tx: &mut PgConnection,
    batch: &[JournalEntry],
    wave: Range<usize>,
    answers: &mut [Answer],
) -> Result<(), StoreError> {
    let settled = frames::take(tx, batch, wave.clone(), answers).await?;
    let (mut places, mut changes, mut notes) = (vec![], vec![], vec![]);
    let (mut duties, mut offers, mut disputes) = (vec![], vec![], vec![]);
    for at in wave.clone().filter(|at| !settled.contains(at)) {
        let Some(entry) = batch.get(at).filter(|_| answers[at].is_ok()) else { continue };
        match &entry.write {
            Write::Place(write) => places.push(Numbered { at, entry, write }),
            Write::Order(write) => changes.push(Numbered { at, entry, write }),
            Write::Duty(write) => duties.push(Numbered { at, entry, write }),
            Write::Note(write) => notes.push(Numbered { at, entry, write }),
            Write::Offer { offer, .. } => offers.push((at, &entry.city, offer)),
            Write::Dispute(write) => disputes.push(Numbered { at, entry, write }),
        }
    }

    claims::take(tx, &mut places, &mut changes, answers).await?;
    orders::insert(tx, &mut places, answers).await?;
    claims::contacts(tx, &places).await?;
    otps::insert(tx, &places).await?;
    let asked: Vec<usize> = changes.iter().map(|change| change.at).chain(disputes.iter().map(|d| d.at)).collect();
    orders::update(tx, &mut changes, answers).await?;
    notes::take_numbers(tx, &mut notes, answers).await?;
    disputes::open_ended(tx, &disputes, answers).await?;
    disputes::change(tx, &changes).await?;
    let refused: Vec<_> = asked.iter().filter(|at| answers[**at].is_err()).filter_map(|at| batch.get(*at)).collect();
    frames::give_back(tx, &refused).await?;

    // What is left in `places`, `changes` and `notes` was stored just now; the rest was refused, or was stored before.
    let placed = places.iter().map(|p| (p.write.spec.id, p.write.transition, p.write.events.as_slice()));
    let changed = changes.iter().map(|c| (c.write.order, c.write.transition, c.write.events.as_slice()));
    let noted = notes.iter().map(|n| (n.write.order, n.write.transition, std::slice::from_ref(&n.write.event)));
    events::insert(tx, placed.chain(changed).chain(noted)).await?;
    audit::insert(tx, &changes).await?;
    offers.extend(changes.iter().flat_map(|c| c.write.offers.iter().map(|offer| (c.at, &c.entry.city, offer))));
    // Back into the order in which the city decided: the last word on an offer counts.
    offers.sort_by_key(|(at, ..)| *at);
    offers::upsert(tx, offers.into_iter().map(|(_, city, offer)| (city, offer))).await?;
    ledger::insert(tx, &changes).await?;
    duty::set(tx, &duties).await
}

impl Write {
    /// The time that names the partition a write goes to.
    fn partition_time(&self) -> Timestamp {
        match self {
            Self::Place(PlaceWrite { spec, .. }) => spec.id.placed_at(),
            Self::Order(OrderWrite { order, .. }) | Self::Note(NoteWrite { order, .. }) => order.placed_at(),
            Self::Offer { offer, .. } => offer.sent_at,
            Self::Duty(duty) => duty.at,
            Self::Dispute(dispute) => dispute.record.order.placed_at(),
        }
    }
}

/// Whether a row found no partition. A violated check names its constraint; a missing partition has none, only a table.
fn is_missing_partition(error: &sqlx::Error) -> bool {
    error.as_database_error().is_some_and(|refusal| {
        refusal.code().as_deref() == Some("23514") && refusal.constraint().is_none() && refusal.table().is_some()
    })
}

/// What was wrong, without the values: they may be a customer's.
fn describe(error: &StoreError) -> String {
    let StoreError::Refused(error) = error else { return error.to_string() };
    match error.as_database_error() {
        Some(refusal) => {
            let code = refusal.code().unwrap_or_default();
            match refusal.constraint().or(refusal.table()) {
                Some(place) => format!("SQLSTATE {code} at {place}"),
                None => format!("SQLSTATE {code}"),
            }
        }
        None => "the driver cannot express it".to_owned(),
    }
}

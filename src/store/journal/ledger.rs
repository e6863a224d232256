//! Money that moves with a transition: rider accounts in `wallet_ledger`, all others in `platform_ledger`, under the
//! transition's id as the transaction.

use chrono::{DateTime, Utc};
use sqlx::PgConnection;
use uuid::Uuid;

use super::Numbered;
use crate::{
    domain::{
        time::Timestamp,
        wallet::{Account, Posting},
    },
    engine::effect::OrderWrite,
    store::StoreError,
};

/// Stores the postings of transitions that are stored in this transaction; an entry whose key is there already stays.
pub(super) async fn insert(tx: &mut PgConnection, changes: &[Numbered<'_, OrderWrite>]) -> Result<(), StoreError> {
    let rows = || changes.iter().flat_map(|change| change.write.postings.iter().map(|posting| (change.write, posting)));
    let mut wallet = Columns::default();
    let mut platform = Columns::default();
    for (write, posting) in rows() {
        match posting.account {
            Account::RiderEarnings(rider) => wallet.push(write, posting, "earnings", Some(rider.0)),
            Account::RiderCashInHand(rider) => wallet.push(write, posting, "cash_in_hand", Some(rider.0)),
            Account::Platform => platform.push(write, posting, "platform", None),
            Account::Merchant(merchant) => platform.push(write, posting, "merchant", Some(merchant.0)),
        }
    }
    if !wallet.ids.is_empty() {
        sqlx::query!(
            "INSERT INTO wallet_ledger (id, rider_id, account, amount, currency, transaction_id, entry_type, order_id,
                                        idempotency_key, created_at)
             SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::text[], $4::int8[], $5::text[], $6::uuid[], $7::text[],
                                  $8::uuid[], $9::text[], $10::timestamptz[])
             ON CONFLICT (rider_id, idempotency_key) DO NOTHING",
            &wallet.ids,
            &wallet.owners as &[Option<Uuid>],
            &wallet.accounts as &[&str],
            &wallet.amounts,
            &wallet.currencies as &[&str],
            &wallet.transactions,
            &wallet.entry_types as &[&str],
            &wallet.orders,
            &wallet.keys as &[&str],
            &wallet.times,
        )
        .execute(&mut *tx)
        .await?;
    }
    if !platform.ids.is_empty() {
        sqlx::query!(
            "INSERT INTO platform_ledger (id, merchant_id, account, amount, currency, transaction_id, entry_type, order_id,
                                          idempotency_key, created_at)
             SELECT * FROM UNNEST($1::uuid[], $2::uuid[], $3::text[], $4::int8[], $5::text[], $6::uuid[], $7::text[],
                                  $8::uuid[], $9::text[], $10::timestamptz[])
             ON CONFLICT (idempotency_key) DO NOTHING",
            &platform.ids,
            &platform.owners as &[Option<Uuid>],
            &platform.accounts as &[&str],
            &platform.amounts,
            &platform.currencies as &[&str],
            &platform.transactions,
            &platform.entry_types as &[&str],
            &platform.orders,
            &platform.keys as &[&str],
            &platform.times,
        )
        .execute(tx)
        .await?;
    }
    Ok(())
}

#[derive(Default)]
struct Columns<'a> {
    ids: Vec<Uuid>,
    owners: Vec<Option<Uuid>>,
    accounts: Vec<&'static str>,
    amounts: Vec<i64>,
    currencies: Vec<&'a str>,
    transactions: Vec<Uuid>,
    entry_types: Vec<&'static str>,
    orders: Vec<Uuid>,
    keys: Vec<&'a str>,
    times: Vec<DateTime<Utc>>,
}

impl<'a> Columns<'a> {
    fn push(&mut self, write: &'a OrderWrite, posting: &'a Posting, account: &'static str, owner: Option<Uuid>) {
        self.ids.push(id_at(write.state.updated_at));
        self.owners.push(owner);
        self.accounts.push(account);
        self.amounts.push(posting.amount_minor);
        self.currencies.push(write.currency.as_str());
        self.transactions.push(write.transition.0);
        self.entry_types.push(posting.entry_type.as_str());
        self.orders.push(write.order.0);
        self.keys.push(&posting.idempotency_key);
        self.times.push(write.state.updated_at.to_datetime());
    }
}

/// A new UUIDv7 of the time of the transition, so that entries sort by it whatever the clock of this machine says.
pub(in crate::store) fn id_at(time: Timestamp) -> Uuid {
    let millis = u64::try_from(time.as_millis()).unwrap_or(0);
    let mut tail = [0_u8; 10];
    tail.copy_from_slice(&Uuid::new_v4().as_bytes()[..10]);
    uuid::Builder::from_unix_timestamp_millis(millis, &tail).into_uuid()
}

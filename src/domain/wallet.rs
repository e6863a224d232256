//! Money that moves with an order: postings that sum to zero under one transaction.

use super::{
    ids::{MerchantId, OrderId, RiderId},
    text::named_enum,
};

named_enum! {
    /// Why money moved, as in `ledger_entry_types.code`.
    pub enum EntryType as "ledger entry type" {
        /// Payout of a delivered or returned order.
        Earning = "earning",
        /// Cash taken from a recipient, held by the rider.
        CashCollected = "cash_collected",
        /// What the platform owes for a delivery.
        DeliveryFee = "delivery_fee",
        /// Cash that the platform owes a merchant.
        CashDue = "cash_due",
    }
}

/// Whose money it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Account {
    /// What a rider has earned (credit positive).
    RiderEarnings(RiderId),
    /// Cash of others that a rider holds (held cash negative: the rider owes it).
    RiderCashInHand(RiderId),
    /// The platform's own account.
    Platform,
    /// What a merchant is owed.
    Merchant(MerchantId),
}

/// One entry: a signed amount on one account.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Posting {
    /// Whose.
    pub account: Account,
    /// Signed minor units.
    pub amount_minor: i64,
    /// Why.
    pub entry_type: EntryType,
    /// The same entry is never stored twice.
    pub idempotency_key: String,
}

/// The postings of an order that ended with its rider: payout from the platform to the rider, and, when it was
/// delivered, the cash that the rider now holds for the merchant. They sum to zero; zero amounts are left out.
#[must_use]
pub fn settle_order(
    order: OrderId,
    rider: RiderId,
    merchant: MerchantId,
    payout_minor: i64,
    cash_collected_minor: i64,
) -> Vec<Posting> {
    let moves = [
        (Account::RiderEarnings(rider), payout_minor, EntryType::Earning),
        (Account::Platform, -payout_minor, EntryType::DeliveryFee),
        (Account::RiderCashInHand(rider), -cash_collected_minor, EntryType::CashCollected),
        (Account::Merchant(merchant), cash_collected_minor, EntryType::CashDue),
    ];
    moves
        .into_iter()
        .filter(|(_, amount_minor, _)| *amount_minor != 0)
        .map(|(account, amount_minor, entry_type)| Posting {
            account,
            amount_minor,
            entry_type,
            idempotency_key: format!("order:{order}:{entry_type}"),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn every_settlement_sums_to_zero() {
        let (order, rider, merchant) =
            (OrderId(Uuid::from_u128(1)), RiderId(Uuid::from_u128(2)), MerchantId(Uuid::from_u128(3)));
        for (payout, cash, entries) in [(4_000, 0, 2), (4_000, 25_050, 4), (0, 0, 0)] {
            let postings = settle_order(order, rider, merchant, payout, cash);
            assert_eq!(postings.len(), entries);
            assert_eq!(postings.iter().map(|p| p.amount_minor).sum::<i64>(), 0);
        }
    }
}

//! Disputes: what a rider reports contradicts what is stored, and people decide which of them holds.

use super::{order::Step, text::named_enum};

named_enum! {
    /// What contradicts what, as in `disputes.kind`.
    pub enum DisputeKind as "dispute kind" {
        /// Delivered without proof, while the goods are on their way back.
        UnprovenDelivery = "unproven_delivery",
        /// A rider from whom the order was taken says that the goods are, or were, with him.
        GoodsClaimed = "goods_claimed",
        /// A rider goes on with an order that was called off, or expired, before its pickup.
        AfterEnd = "after_end",
        /// The code of the recipient was taken without a network, and turned out wrong when the rider had left the door.
        OtpOffline = "otp_offline",
        /// Wrong codes were tried too often.
        OtpLocked = "otp_locked",
    }
}

named_enum! {
    /// Where a dispute stands, as in `disputes.status`.
    pub enum DisputeStatus as "dispute status" {
        /// Nobody has decided.
        Open = "open",
        /// The rider's report holds.
        Upheld = "upheld",
        /// What was stored holds.
        Dismissed = "dismissed",
    }
}

/// Whether a step says that its rider holds the goods, or has handed them over.
#[must_use]
pub const fn claims_goods(step: Step) -> bool {
    !matches!(step, Step::AtPickup)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn whoever_is_at_the_counter_claims_nothing() {
        let harmless: Vec<_> = Step::ALL.iter().filter(|step| !claims_goods(**step)).collect();
        assert_eq!(harmless, [&Step::AtPickup]);
    }
}

//! Duty: the rider's intent to work. Presence (the socket) and the age of the last fix are two other clocks.

use super::text::named_enum;

named_enum! {
    /// The committed duty of a rider, as in `riders.duty` and `duty_logs`.
    pub enum Duty as "duty" {
        /// Wants work.
        On = "ON",
        /// Pauses; the shift goes on.
        Break = "BREAK",
        /// Not at work.
        Off = "OFF",
        /// Taken off duty by policy, after a silence.
        AutoOff = "AUTO_OFF",
    }
}

named_enum! {
    /// Why a duty changed, as in `duty_logs.reason`.
    pub enum DutyReason as "duty reason" {
        /// The rider asked for it.
        Rider = "rider",
        /// The rider had asked to stop and has now finished the work in hand.
        Finished = "finished",
        /// Nothing was heard of the rider for longer than the policy allows.
        Silent = "silent",
        /// The rider handed goods over after a breakdown.
        Breakdown = "breakdown",
        /// The rider may no longer work (status or documents changed).
        NotAllowed = "not_allowed",
        /// The rider saw offer after offer and answered none.
        IgnoredOffers = "ignored_offers",
    }
}

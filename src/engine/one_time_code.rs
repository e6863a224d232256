//! The recipient's one-time code: a delivery that needs one is proven by it and by nothing else. Codes are compared as
//! keyed digests, and wrong ones are counted in the order's events, so that a restart forgives nothing.

use serde_json::{Value, json};

use crate::domain::{
    dispute::DisputeKind,
    ids::{OrderId, ReplyTo, RiderId},
    order::{Actor, OrderStatus},
    time::Timestamp,
};

use super::{
    city::City,
    command::{Refusal, StepReport},
    orders::{EventDraft, data},
    state::Then,
};

/// What is to be made of a report of a delivery.
pub(super) enum Proof {
    /// It holds.
    Holds,
    /// It is refused; nothing changes.
    Refused(Refusal),
    /// People decide.
    Disputed(DisputeKind),
    /// A wrong code at the door: counted.
    WrongCode,
}

impl City {
    /// Judges the proof of a delivery by the rider who has the order in hand. The custodian's proof wins over a
    /// cancellation; the custodian's word alone does not.
    pub(super) fn judge_proof(&self, now: Timestamp, rider: RiderId, report: &StepReport) -> Proof {
        let Some(live) = self.orders.get(&report.order) else { return Proof::Holds };
        if let Some(kind @ (DisputeKind::OtpLocked | DisputeKind::OtpOffline)) = self.dispute_of(report.order, rider) {
            // No more guesses.
            return Proof::Refused(kind.refusal());
        }
        let returning = live.state.status == OrderStatus::Returning;
        let policy = &self.settings.policy;
        match (live.spec.otp_digest, report.otp) {
            (None, _) if returning && report.proof.is_none() => Proof::Disputed(DisputeKind::UnprovenDelivery),
            (None, _) => Proof::Holds,
            (Some(_), None) if returning => Proof::Disputed(DisputeKind::UnprovenDelivery),
            (Some(_), None) => Proof::Refused(Refusal::StepNeeds("the recipient's one-time code")),
            (Some(expected), Some(given)) if expected == given => Proof::Holds,
            (Some(_), Some(_)) if now.since(report.at).as_secs() > policy.offline_after_s.into() => {
                Proof::Disputed(DisputeKind::OtpOffline)
            }
            (Some(_), Some(_)) if live.otp_tries + 1 >= policy.max_otp_tries => Proof::Disputed(DisputeKind::OtpLocked),
            (Some(_), Some(_)) => Proof::WrongCode,
        }
    }

    /// Counts a wrong code; the device hears of it once that is stored.
    pub(super) fn count_wrong_code(&mut self, now: Timestamp, order: OrderId, rider: RiderId, reply: ReplyTo) {
        let Some(live) = self.orders.get(&order) else { return };
        let next = live.state.clone();
        let tries = live.otp_tries + 1;
        let event =
            EventDraft { data: data([("tries", tries.into())]), ..EventDraft::new("otp_wrong", Actor::rider(rider)) };
        self.write_order(now, order, next, vec![event], vec![], Then::OtpWrong { reply });
    }

    pub(super) fn wrong_code_stored(&mut self, order: OrderId, reply: ReplyTo) {
        if let Some(live) = self.orders.get_mut(&order) {
            live.otp_tries += 1;
        }
        self.refuse(reply, Refusal::WrongOtp);
    }
}

/// The proof of a delivery whose code was right, as it is stored: that it was, and never which.
pub(super) fn verified(report: &StepReport) -> Option<Value> {
    if report.otp.is_none() {
        return report.proof.clone();
    }
    let mut proof = match report.proof.clone() {
        Some(Value::Object(proof)) => proof,
        Some(other) => data([("proof", other)]),
        None => serde_json::Map::new(),
    };
    proof.insert("otp".to_owned(), json!("verified"));
    Some(Value::Object(proof))
}

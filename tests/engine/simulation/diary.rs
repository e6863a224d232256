//! What is written down of a life: counts of what happened, the last steps for a report, and a digest of it all.

use std::{collections::BTreeSet, hash::Hash};

use dispatch_engine::{
    domain::{
        duty::DutyReason,
        order::{ActorKind, OfferState, OrderStatus},
    },
    engine::effect::Write,
};

use super::world::World;

/// Lines that are kept: some for each step that a report shows.
const KEPT: usize = 240;

impl World {
    pub fn count(&mut self, what: &'static str) {
        *self.tally.entry(what).or_default() += 1;
    }

    /// Counts what the store shows of the day.
    pub fn tally_stored(&mut self, write: &Write) {
        if let Write::Order(order) = write {
            for offer in &order.offers {
                if offer.reason.as_deref() == Some("taken") {
                    self.count("another was faster");
                }
                let in_hand = self.store.held.get(&offer.rider).map_or(0, BTreeSet::len);
                match offer.state {
                    OfferState::Sent if in_hand > 0 => self.count("offered ahead"),
                    OfferState::Accepted if in_hand > 1 => self.count("taken ahead"),
                    _ => {}
                }
                self.count(match offer.state {
                    OfferState::Sent | OfferState::Seen => "offered",
                    OfferState::Accepted => "accepted",
                    OfferState::Declined => "declined",
                    OfferState::Expired => "offer expired",
                    OfferState::Withdrawn => "offer withdrawn",
                });
            }
            let event = order.events.first().map(|event| event.kind);
            for event in &order.events {
                match (event.kind, event.actor.kind) {
                    ("assigned", ActorKind::Operator) if event.data.contains_key("from") => self.count("reassigned"),
                    ("assigned", ActorKind::Operator) => self.count("assigned by an operator"),
                    ("unassigned", ActorKind::Operator) if order.events.len() == 1 => {
                        self.count("unassigned by an operator");
                    }
                    ("held", _) => self.count("held"),
                    ("released", _) => self.count("released"),
                    ("hold_expired", _) => self.count("hold ended by itself"),
                    ("priority_changed", _) => self.count("priority changed"),
                    _ => {}
                }
            }
            match (event, order.state.status) {
                (Some("handover"), _) => self.count("handover"),
                (Some("unassigned"), _) if order.audit.is_none() => self.count("taken back"),
                (Some("search_resumed"), _) => self.count("search resumed"),
                (Some("attempt_failed"), _) => self.count("attempt failed"),
                (_, OrderStatus::Delivered) => self.count("delivered"),
                (_, OrderStatus::Returned) => self.count("returned"),
                (_, OrderStatus::Cancelled) => self.count("cancelled"),
                (_, OrderStatus::Expired) => self.count("order expired"),
                _ => {}
            }
        }
        if let Write::Note(_) = write {
            self.count("explained");
        }
        if let Write::Duty(duty) = write {
            self.count(match duty.reason {
                _ if duty.next.is_some() => "duty planned",
                DutyReason::Silent => "auto off",
                DutyReason::NotAllowed => "barred",
                DutyReason::Breakdown => "breakdown",
                DutyReason::Finished => "off after work",
                DutyReason::Rider => "duty changed",
                DutyReason::IgnoredOffers => "off after ignoring",
            });
        }
    }

    /// Writes a line down when the report will show it.
    pub fn trace(&mut self, line: impl FnOnce() -> String) {
        if self.steps >= self.plan.trace_from {
            let line = line();
            self.note(&line);
        }
    }

    pub fn note(&mut self, line: &str) {
        line.hash(&mut self.digest);
        self.now.hash(&mut self.digest);
        let line: String = readable(line).chars().take(600).collect();
        self.log.push_back(format!("{} {line}", self.now));
        if self.log.len() > KEPT {
            self.log.pop_front();
        }
    }
}

/// Without what every line of a report would repeat: the zeros of invented ids, and particulars nobody decides by.
fn readable(line: &str) -> String {
    let mut line = line.replace("00000000-0000-0000-0000-00000000", "");
    for noise in ["metadata: {}, ", "hint: None, ", "store: None, ", "external_ref: None, ", "currency: INR, "] {
        line = line.replace(noise, "");
    }
    line
}

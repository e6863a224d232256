//! The live records of a city: plain data, no rules.

use std::collections::BTreeMap;

use crate::domain::{
    duty::{Duty, DutyReason},
    ids::{JobId, OfferId, OrderId, ReplyTo, RiderId, SessionId, TransitionId},
    order::{Custody, OrderSpec, OrderStatus, Place, Step},
    position::Position,
    rider::RiderProfile,
    time::Timestamp,
};

use super::{
    command::{Command, Verdict},
    counts::{OrderShare, RiderShare},
    effect::{DisputeRecord, OfferRecord, OrderState},
    forward::{Outlook, Stands},
    rider_index::Ticket,
    view::{StopKind, WaitReason},
};

/// A rider who is live here. What a ping reads and writes stands first and side by side, in the order of these lines: with
/// 100,000 riders the time of a ping is that of fetching it from memory.
#[derive(Clone, Debug)]
#[repr(C)]
pub(super) struct LiveRider {
    /// The socket, while one is open.
    pub session: Option<SessionId>,
    /// When anything was last heard.
    pub heard_at: Timestamp,
    /// The live dot.
    pub fix: Option<LiveFix>,
    /// When the alarm goes off.
    pub look_at: Option<Timestamp>,
    /// Finds the rider in the index in which the rider stands.
    pub ticket: Ticket,
    /// In which index that is.
    pub stands: Stands,
    /// Whether the rider is among those who changed since the last `take_changes`.
    pub touched: Mark,
    /// Operators were told that this carrier is silent.
    pub silence_told: bool,
    /// The device was woken because its silence lasts.
    pub warned: bool,
    /// The duty decided on; it runs ahead of the store until the journal has answered.
    pub duty: Duty,
    /// The duty as stored: what the rider may be told.
    pub stored_duty: Duty,
    /// What the rider asked for and gets once the work in hand is finished.
    pub next_duty: Option<Duty>,
    pub profile: RiderProfile,
    /// The open offer; one at most.
    pub offer: Option<OfferId>,
    /// The order that an operator gives to this rider, while the journal has the assignment or the verdict.
    pub reserved: Option<OrderId>,
    /// Orders in hand, in the order in which they were taken.
    pub orders: Vec<OrderId>,
    /// What the plan comes to, for a rider who may be offered more ahead of its end.
    pub outlook: Option<Outlook>,
    /// The stops still to be made.
    pub plan: Vec<PlanStop>,
    /// Counts the duties decided on; the number of the one in force.
    pub duty_number: u32,
    /// What the tally has of this rider.
    pub counted: RiderShare,
    /// Duties that are with the journal.
    pub duties_pending: u32,
    /// Offers that were seen and let pass, one after another. A restart forgets them.
    pub ignored: u32,
    /// `next_duty` as stored.
    pub stored_next: Option<Duty>,
    /// Writes of it that are with the journal.
    pub next_pending: u32,
    /// Why the stored duty is in force.
    pub duty_why: Option<DutyReason>,
}

/// A mark that says nothing of a rider's future.
#[derive(Clone, Copy)]
pub(super) struct Mark(bool);

impl Mark {
    /// Sets it; whether it was not set.
    pub const fn set(&mut self) -> bool {
        !std::mem::replace(&mut self.0, true)
    }

    /// Takes it back.
    pub const fn unset(&mut self) {
        self.0 = false;
    }
}

impl std::fmt::Debug for Mark {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Mark(..)")
    }
}

impl LiveRider {
    /// A rider without a socket, a fix or work; silence counts from `now`.
    pub const fn away(profile: RiderProfile, duty: Duty, now: Timestamp) -> Self {
        Self {
            profile,
            session: None,
            duty,
            stored_duty: duty,
            duty_number: 0,
            next_duty: None,
            fix: None,
            heard_at: now,
            offer: None,
            orders: Vec::new(),
            plan: Vec::new(),
            silence_told: false,
            look_at: None,
            counted: RiderShare::NOTHING,
            duties_pending: 0,
            ignored: 0,
            warned: false,
            outlook: None,
            stands: Stands::Nowhere,
            reserved: None,
            stored_next: None,
            next_pending: 0,
            duty_why: None,
            ticket: Ticket::NONE,
            touched: Mark(false),
        }
    }
}

/// The live dot.
#[derive(Clone, Copy, Debug)]
pub(super) struct LiveFix {
    pub position: Position,
    pub recorded_at: Timestamp,
    pub received_at: Timestamp,
}

/// A stop of a plan.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PlanStop {
    pub kind: StopKind,
    pub order: OrderId,
}

/// An order that has not ended.
#[derive(Clone, Debug)]
pub(super) struct LiveOrder {
    pub spec: OrderSpec,
    /// As committed; only `due_at` and `round` run ahead, and are stored with the next transition.
    pub state: OrderState,
    /// Whether a write of this order is with the journal. One at a time.
    pub pending: bool,
    /// The open offers, one per rider who is asked.
    pub offers: Vec<OfferId>,
    /// Riders who are not to be asked before a time.
    pub refusals: BTreeMap<RiderId, Timestamp>,
    /// Why it waits.
    pub wait: WaitReason,
    /// Since when everybody in reach has refused.
    pub exhausted_since: Option<Timestamp>,
    /// Milliseconds between the earliest possible delivery and the promise.
    pub slack_ms: i64,
    /// What the tally has of this order.
    pub counted: OrderShare,
    /// The last write, which is with the journal while `pending`.
    pub write: Option<TransitionId>,
    /// What those of `refusals` declined who said no, minor units: for more they may be asked again.
    pub declined: BTreeMap<RiderId, i64>,
    /// When somebody was last asked; a restart knows it of open offers only.
    pub asked_at: Option<Timestamp>,
    /// The reason to wait that its events explain last, since the last offer.
    pub explained: Option<WaitReason>,
    /// When its events last explained one.
    pub explained_at: Option<Timestamp>,
    /// Wrong one-time codes that were tried at its door.
    pub otp_tries: u32,
}

impl LiveOrder {
    /// Everybody may be asked again.
    pub fn forget_refusals(&mut self) {
        self.refusals.clear();
        self.declined.clear();
    }

    /// Where it waits when it has lost its rider: for its dispatch time, when that has not come.
    pub fn waiting_status(&self, now: Timestamp) -> OrderStatus {
        let later = self.spec.dispatch_at.is_some_and(|at| at > now);
        if later { OrderStatus::Placed } else { OrderStatus::Queued }
    }

    /// The id of its job: a job of one order carries the order's id, so it is the same after a restart.
    pub const fn job(&self) -> JobId {
        JobId(self.spec.id.0)
    }

    /// Where the goods are to be fetched: at the store, or where a rider broke down.
    pub fn pickup(&self) -> Place {
        match self.state.custody {
            Custody::Handover { at, .. } => Place { position: at, hint: Some("handover".to_owned()) },
            _ => self.spec.pickup.clone(),
        }
    }

    /// The position of [`Self::pickup`].
    pub const fn pickup_position(&self) -> Position {
        match self.state.custody {
            Custody::Handover { at, .. } => at,
            _ => self.spec.pickup.position,
        }
    }
}

/// What happens once the journal has answered a write.
#[derive(Clone, Debug)]
pub(super) struct Pending {
    /// The order and its state after the commit.
    pub change: Option<(OrderId, Box<OrderState>)>,
    pub then: Then,
}

/// The second half of a transition.
#[derive(Clone, Debug)]
pub(super) enum Then {
    /// A new order joins the city.
    Placed { order: Box<LiveOrder>, reply: ReplyTo },
    /// A scheduled order's time has come.
    Queued,
    /// The devices may see the offers.
    Offered { offers: Vec<OfferId> },
    /// The rider has the order; whoever else was asked hears that it is taken.
    Accepted { offer: OfferId, others: Vec<OfferRecord>, session: SessionId, reply: ReplyTo },
    /// Offers of one order are over.
    OffersOver { records: Vec<OfferRecord>, why: &'static str, reply: Option<ReplyTo> },
    /// A step was taken.
    Progressed { rider: RiderId, step: Step, reply: ReplyTo },
    /// The order is called off, or on its way back.
    Cancelled { withdrawn: Vec<OfferRecord>, reply: ReplyTo },
    /// The goods are ready at another time.
    ReadyChanged { reply: ReplyTo },
    /// The order was taken away from a silent rider.
    TakenBack { rider: RiderId },
    /// No rider was found.
    Expired,
    /// The duty is stored. Nobody asked for what the engine decided by itself.
    Duty { rider: RiderId, number: u32, duty: Duty, reason: DutyReason, asked: Vec<(SessionId, ReplyTo)> },
    /// Nothing follows, but an offer's record that the journal could not take is given to it again.
    OfferNoted { record: Box<OfferRecord> },
    /// The order waits for an operator.
    Parked,
    /// The search begins anew.
    SearchResumed,
    /// Why the order waits is stored among its events; the order is as before.
    Explained,
    /// An operator's action is done; nobody waits for the end of a hold.
    Operated { deed: Deed, withdrawn: Vec<OfferRecord>, reply: Option<ReplyTo> },
    /// What follows the duty in force is stored; before it was another.
    NextDuty { rider: RiderId, next: Duty, before: Option<Duty>, reply: Option<ReplyTo> },
    /// A report is stored as a dispute.
    Disputed { record: Box<DisputeRecord>, reply: ReplyTo },
    /// A wrong one-time code is counted.
    OtpWrong { reply: ReplyTo },
    /// A dispute is closed; whoever had the order before, if somebody else has it now.
    DisputeClosed {
        verdict: Box<Verdict>,
        by: String,
        before: Option<RiderId>,
        withdrawn: Vec<OfferRecord>,
        reply: ReplyTo,
        /// Who goes on with the order, and is kept free for it until the verdict is stored.
        taker: Option<RiderId>,
    },
}

/// What an operator did.
#[derive(Clone, Copy, Debug)]
pub(super) enum Deed {
    /// The rider has the order, which was another one's before.
    Assigned { rider: RiderId, from: Option<RiderId> },
    /// The order waits again.
    Unassigned { rider: RiderId },
    /// The order is offered to nobody.
    Held,
    /// The hold has ended, by a word or by itself; `resumed` when the search of a parked order goes on as well.
    Released { resumed: bool },
    /// The order has another priority.
    Prioritised,
}

/// What is remembered of an order for a while after its end, so that a repeated report gets its answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct EndedOrder {
    pub status: OrderStatus,
    pub version: i32,
    pub rider: Option<RiderId>,
}

/// What is remembered of an offer for a while after its end.
#[derive(Clone, Debug)]
pub(super) struct ClosedOffer {
    pub record: OfferRecord,
}

/// A command that waits until the journal has answered for its order.
pub(super) type Deferred = std::collections::VecDeque<Command>;

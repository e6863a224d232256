//! What a small world holds and what may go wrong in it: the bounds within which every course of events is explored.

use dispatch_engine::{
    domain::{duty::Duty, order::Step, policy::DispatchPolicy},
    engine::Defect,
};

use super::action::Action;

/// Seconds that one tick of the model takes: short of what the engine holds for a pause of its own.
pub const TICK_S: u32 = 8;

/// What riders may say about an offer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reaction {
    Seen,
    Accept,
    Decline,
}

/// How often something may still happen. Whatever has no number here may happen at any time and any number of times:
/// frames that are repeated, late, or out of order among them.
#[derive(Clone, Copy, Debug)]
pub struct Budget {
    pub ticks: u8,
    pub cancels: u8,
    /// A device opens another session although it has one.
    pub takeovers: u8,
    /// The server notices that a session is gone.
    pub losses: u8,
    pub duties: u8,
    /// The city, alone or with its journal, dies.
    pub crashes: u8,
    /// A write is stored and the answer gets lost.
    pub unheard: u8,
    /// A write finds the journal full.
    pub busy: u8,
    /// The database refuses a write for itself.
    pub invalid: u8,
}

impl Budget {
    pub const NOTHING: Self =
        Self { ticks: 0, cancels: 0, takeovers: 0, losses: 0, duties: 0, crashes: 0, unheard: 0, busy: 0, invalid: 0 };
}

/// One small world.
#[derive(Clone, Debug)]
pub struct Scenario {
    pub name: &'static str,
    pub riders: usize,
    pub orders: usize,
    /// How often a merchant may place the same order; none means that it is placed before the world begins.
    pub placements: u8,
    pub budget: Budget,
    pub reactions: &'static [Reaction],
    pub steps: &'static [Step],
    pub duties: &'static [Duty],
    /// Requests of one rider, or about one order, that may wait for their answers at once.
    pub at_once: usize,
    /// Seconds of silence after which a rider is taken off duty.
    pub auto_off_after_s: u32,
    /// What the engine does wrong.
    pub defect: Option<Defect>,
    /// Whether the store knows epochs.
    pub fenced: bool,
    /// Whether the engine's own invariants are checked too, or only what an outsider sees.
    pub inside: bool,
    /// Of so many states one is drained to the end: everybody works and nothing more goes wrong.
    pub drain_one_in: u64,
    /// What happens before everything that can happen happens.
    pub opening: &'static [Action],
    /// What has to be seen on the way, by the names that [`Model::seen`](super::model::Model::seen) gives: a world in which
    /// nothing happens proves nothing.
    pub sees: &'static [&'static str],
}

impl Scenario {
    /// Two riders, one order that waits, and nothing that happens.
    pub const BASE: Self = Self {
        name: "",
        riders: 2,
        orders: 1,
        placements: 0,
        budget: Budget::NOTHING,
        reactions: &[Reaction::Accept],
        steps: &[],
        duties: &[],
        at_once: 2,
        auto_off_after_s: 3_600,
        defect: None,
        fenced: true,
        inside: true,
        drain_one_in: 16,
        opening: &[],
        sees: &[],
    };

    /// Deadlines of one and two ticks, and everybody in reach at once.
    pub fn policy(&self) -> DispatchPolicy {
        DispatchPolicy {
            offer_ttl_s: TICK_S,
            offer_hard_cap_s: 2 * TICK_S,
            ignored_cooldown_s: 2 * TICK_S,
            unseen_cooldown_s: TICK_S,
            round_every_s: TICK_S,
            radius_steps_m: vec![12_000.0],
            fix_freshness_s: 3_600,
            auto_off_after_s: self.auto_off_after_s,
            ..DispatchPolicy::default()
        }
    }
}

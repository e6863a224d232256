//! The policy under which a seed is lived: some cities ask one rider after another, some many at once, some give up early.

use dispatch_engine::domain::policy::{DispatchPolicy, WhenExhausted};
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

use crate::harness::settings;

/// Draws the policy of one seed. What an offer pays and how many may be open hold for its whole life, so that an outsider
/// can judge them.
pub fn draw(rng: &mut ChaCha8Rng) -> DispatchPolicy {
    let mut policy = settings().policy;
    policy.ping_interval_s = 15;
    if rng.random_bool(0.6) {
        policy.offer_batch = rng.random_range(2..6);
    }
    if rng.random_bool(0.4) {
        policy.offer_hold_s = rng.random_range(1..40);
    }
    if rng.random_bool(0.6) {
        policy.max_rounds = rng.random_range(1..4);
    }
    if rng.random_bool(0.5) {
        policy.round_bonus_minor = rng.random_range(1..1_000);
        policy.max_bonus_minor = policy.round_bonus_minor + rng.random_range(0..1_000);
    }
    policy.auto_off_after_ignored = rng.random_range(0..4);
    policy.when_exhausted = end(rng);
    policy
}

/// Changes what may change while a city lives: a policy that no longer parks lets parked orders go on.
pub fn vary(policy: &mut DispatchPolicy, rng: &mut ChaCha8Rng) {
    policy.offer_ttl_s = rng.random_range(15..40);
    policy.when_exhausted = end(rng);
}

fn end(rng: &mut ChaCha8Rng) -> WhenExhausted {
    if rng.random_bool(0.6) { WhenExhausted::Operator } else { WhenExhausted::Expire }
}

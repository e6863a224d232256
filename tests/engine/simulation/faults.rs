//! What goes wrong, and how often: drawn anew for every seed, so that some seeds are stormy and others leave one fault
//! out altogether.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// The probability of each fault, 0 to 1.
#[derive(Clone, Copy, Debug, Default)]
pub struct Faults {
    /// A frame, up or down, never arrives.
    pub frame_lost: f64,
    /// A frame arrives many seconds late, so behind younger ones.
    pub frame_late: f64,
    /// A frame arrives twice.
    pub frame_twice: f64,
    /// A rider's connection breaks, each time fate looks at the rider (about every 10 minutes).
    pub connection_lost: f64,
    /// The app starts anew and has forgotten everything.
    pub app_restart: f64,
    /// The rider is gone for minutes, at times for longer than the policy's auto-off.
    pub vanish: f64,
    /// An operator suspends the rider for a while, idle or carrying.
    pub suspension: f64,
    /// The journal is full and refuses a write.
    pub busy: f64,
    /// The store refuses a write for itself.
    pub invalid: f64,
    /// The journal answers many seconds late.
    pub slow: f64,
    /// The journal answers twice.
    pub answer_twice: f64,
    /// The journal stands still, each time fate looks at the city (about every 20 minutes).
    pub stall: f64,
    /// Somebody else writes an order, past the city that owns it.
    pub meddling: f64,
    /// The city's own thread stands still.
    pub pause: f64,
    /// The city dies.
    pub crash: f64,
    /// A merchant's program loses the answer and asks again.
    pub answer_lost: f64,
}

impl Faults {
    /// Faults for one seed.
    pub fn draw(rng: &mut ChaCha8Rng) -> Self {
        let mut rate = |most: f64| if rng.random_bool(0.15) { 0.0 } else { most * rng.random::<f64>() };
        Self {
            frame_lost: rate(0.10),
            frame_late: rate(0.06),
            frame_twice: rate(0.10),
            connection_lost: rate(0.20),
            app_restart: rate(0.06),
            vanish: rate(0.06),
            suspension: rate(0.02),
            busy: rate(0.03),
            invalid: rate(0.01),
            slow: rate(0.10),
            answer_twice: rate(0.05),
            stall: rate(0.10),
            meddling: rate(0.06),
            pause: rate(0.20),
            crash: rate(0.20),
            answer_lost: rate(0.08),
        }
    }
}

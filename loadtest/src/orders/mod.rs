//! Orders and the merchants who place them, over REST.

pub mod placer;
pub mod synthetic;

//! The dispatch engine.

pub mod actors;
pub mod clock;
pub mod domain;
pub mod engine;
pub mod http;
pub mod metrics;
pub mod store;
pub mod wire;

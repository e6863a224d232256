#![doc = include_str!("ARCHITECTURE.md")]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test may fail loudly"))]

pub mod actors;
pub mod cache;
pub mod clock;
pub mod domain;
pub mod engine;
pub mod http;
pub mod metrics;
pub mod store;
pub mod watch;
pub mod wire;

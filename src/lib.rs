#![doc = include_str!("ARCHITECTURE.md")]
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::float_cmp, reason = "a test may fail loudly"))]

pub mod actors;
pub mod app;
pub mod cache;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod engine;
pub mod http;
pub mod metrics;
pub mod push;
pub mod replay;
pub mod store;
pub mod supervisor;
pub mod watch;
pub mod wire;

//! The dispatch engine.

pub mod actors;
pub mod app;
pub mod cli;
pub mod clock;
pub mod config;
pub mod domain;
pub mod engine;
pub mod metrics;
pub mod store;
pub mod supervisor;
pub mod wire;

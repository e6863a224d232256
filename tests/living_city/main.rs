//! The whole engine over real sockets and a real PostgreSQL, built as production builds it.
#![allow(clippy::unwrap_used)]

#[path = "../support/mod.rs"]
mod support;

mod bad_input;
mod life;
mod operators;
mod restart;

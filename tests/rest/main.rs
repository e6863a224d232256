//! The REST interface over real HTTP and a real PostgreSQL. The city behind it is a stand-in that stores what it is told
//! or refuses it with what a test says, so that every documented code can be met.

#![allow(clippy::unwrap_used)]

mod access;
mod bad_input;
mod city;
mod harness;
mod operators;
mod orders;
mod paging;
mod positions;
mod resources;
mod sockets;
#[path = "../support/mod.rs"]
mod support;
mod track_pages;
mod tracks;

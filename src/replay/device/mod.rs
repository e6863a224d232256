//! A rider's device as far as points go: what it keeps until the server has it, how it writes frames, and what its clock
//! shows. The load tester and the tests of survival are made of the same device.

pub mod clock;
pub mod encoding;
pub mod keeper;
#[cfg(test)]
mod keeper_tests;
pub mod numbers;

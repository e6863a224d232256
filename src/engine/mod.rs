//! One city's brain. Pure: commands in, effects out, time as an argument.

pub mod city;
pub mod command;
pub mod effect;
pub mod view;

pub use city::{City, CityImage, StoredRider};

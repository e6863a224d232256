//! Positions that come one batch after another, without a list.

use dispatch_engine::{
    domain::ids::SessionId,
    engine::command::{Command, Fix},
};

use super::harness::*;

#[test]
fn locating_is_the_same_as_the_command() {
    let mut town = Town::new();
    for n in 1..=3 {
        town.on_duty(n, at(12.971, 77.591));
    }
    town.wait(secs(2));
    let fix = |n: u128, session: u64, lat: f64, late_ms: i64| Fix {
        rider: rider(n),
        session: SessionId(session),
        position: at(lat, 77.6),
        recorded_at: dispatch_engine::domain::time::Timestamp::from_millis(town.now.as_millis() - late_ms),
    };
    // A frame after another, one of a session that is over, one that is older than the dot, and nobody's.
    let fixes = vec![
        fix(1, 1, 12.972, 100),
        fix(2, 2, 12.973, 0),
        fix(3, 9, 12.974, 0),
        fix(1, 1, 12.975, 0),
        fix(1, 1, 12.976, 50),
        fix(8, 8, 12.977, 0),
    ];
    let (mut batched, mut listed) = (town.city.clone(), town.city.clone());
    let done = batched.locate(town.now, fixes.iter().copied());
    assert_eq!(done, listed.apply(town.now, Command::Fixes(fixes)));
    assert_eq!(done.capacity(), 0, "positions cost no list of effects");
    let seen = batched.snapshot(town.now);
    assert_eq!(seen, listed.snapshot(town.now));
    let lats: Vec<f64> = seen.riders.iter().filter_map(|rider| rider.fix).map(|(place, _)| place.lat()).collect();
    assert_eq!(lats, [12.975, 12.973, 12.971]);
}

#[test]
fn together_or_one_by_one_is_the_same() {
    let mut town = Town::new();
    for n in 1..=40 {
        town.on_duty(n, at(12.971, 77.591));
    }
    town.wait(secs(2));
    // More than are looked up together, some riders several times, every seventh nobody's.
    let fixes: Vec<Fix> = (0..100_u32)
        .map(|n| Fix {
            rider: rider(if n % 7 == 0 { 900 } else { u128::from(n * 17 % 40 + 1) }),
            session: SessionId(u64::from(n * 17 % 40 + 1)),
            position: at(12.90 + f64::from(n) * 0.001, 77.6),
            recorded_at: town.now,
        })
        .collect();
    let (mut together, mut alone) = (town.city.clone(), town.city.clone());
    together.locate(town.now, fixes.iter().copied());
    for fix in &fixes {
        alone.locate(town.now, [*fix]);
    }
    assert_eq!(together.snapshot(town.now), alone.snapshot(town.now));
    dispatch_engine::engine::invariants::check(&together, town.now).unwrap();
}

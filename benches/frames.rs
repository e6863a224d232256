//! What it costs to read a device's points and to write the answer, in nanoseconds per frame: the slow way of serde for a
//! tagged enum, and the way the server goes. `cargo bench --bench frames`.

use std::{
    hint::black_box,
    time::{Duration, Instant},
};

use dispatch_engine::wire::{
    frames::{Encoding, up_from_json, up_from_msgpack},
    msgpack,
    rider::{Down, Ping, Up},
};

/// Series of calls per figure.
const SERIES: usize = 500;
/// Calls per series: a fraction of what a scheduler gives a program at a time.
const CALLS: u32 = 200;

/// A frame of points as a device sends it.
fn frame(points: u64) -> Up {
    let ping = |seq: u64| Ping {
        seq,
        at: 1_900_000_000_123,
        lat: 12.934_533,
        lon: 77.610_116,
        accuracy_m: Some(4.7),
        speed_mps: Some(6.12),
        heading_deg: Some(271.5),
        mock: false,
    };
    Up::Pings { pings: (1..=points).map(|n| ping(100_000 + n)).collect(), oldest: Some(100_001), sent_at: None }
}

/// Nanoseconds per call, the best of many short series, so that what else the machine does counts little.
fn nanoseconds(mut call: impl FnMut()) -> f64 {
    let mut best = Duration::MAX;
    for _ in 0..SERIES {
        let begun = Instant::now();
        (0..CALLS).for_each(|_| call());
        best = best.min(begun.elapsed());
    }
    best.as_secs_f64() * 1e9 / f64::from(CALLS)
}

fn main() -> Result<(), Box<dyn std::error::Error>> {
    println!("{:<34} {:>7} {:>10} {:>10}", "frame", "bytes", "tagged, ns", "ours, ns");
    for points in [1, 10] {
        let text = serde_json::to_string(&frame(points))?;
        let slow = nanoseconds(|| drop(black_box(serde_json::from_str::<Up>(black_box(&text)))));
        let fast = nanoseconds(|| drop(black_box(up_from_json(black_box(&text)))));
        println!("{:<34} {:>7} {slow:>10.0} {fast:>10.0}", format!("JSON, {points} points"), text.len());
        let bytes = msgpack::to_vec(&frame(points))?;
        let slow = nanoseconds(|| drop(black_box(msgpack::from_slice::<Up>(black_box(&bytes)))));
        let fast = nanoseconds(|| drop(black_box(up_from_msgpack(black_box(&bytes)))));
        println!("{:<34} {:>7} {slow:>10.0} {fast:>10.0}", format!("MessagePack, {points} points"), bytes.len());
    }
    let ack = Down::PingsAck { received_to: 100_017, stored_to: 100_012, refused: Vec::new() };
    for (name, encoding) in [("JSON", Encoding::Json), ("MessagePack", Encoding::Msgpack)] {
        let ns = nanoseconds(|| drop(black_box(encoding.encode(black_box(&ack)))));
        println!("{:<34} {:>7} {:>10} {ns:>10.0}", format!("{name}, pings_ack"), "", "");
    }
    Ok(())
}

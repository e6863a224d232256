//! The tables.

use std::time::Duration;

use crate::{
    common::{table, verdict},
    measure::{Measured, Steady},
};

/// Of the echo's cost of one frame: what the engine may take for a point that comes alone, and for one of ten.
const AIMS: [(u32, f64); 2] = [(1, 1.0), (10, 0.2)];
/// Bytes per idle connected rider.
const AIM_MEMORY: f64 = 16_384.0;

/// A pair of the same connections and frames.
pub type Pair = (Measured, Measured);

#[expect(clippy::cast_precision_loss, reason = "counts and times of a bench")]
fn us_per(time: Duration, count: u64) -> f64 {
    time.as_nanos() as f64 / 1_000.0 / count.max(1) as f64
}

/// What is left of a measurement's time without what its connections cost while nothing comes.
fn net(measured: &Measured, steady: &Steady) -> Duration {
    steady.cpu.total().saturating_sub(measured.idle_in(steady.span))
}

/// Processor time per point and per frame; whether every aim was met.
pub fn cost(pairs: &[Pair]) -> bool {
    let mut all_met = true;
    let mut made = table(&[
        "connections",
        "encoding",
        "points/frame",
        "bytes/frame",
        "frames/s",
        "engine us/point",
        "user+sys",
        "net",
        "Postgres us/point",
        "echo us/frame",
        "user+sys",
        "net",
        "engine/echo",
        "aim",
        "",
    ]);
    for (engine, echo) in pairs {
        let alone = &echo.steady[0];
        let echo_alone = us_per(net(echo, alone), alone.frames);
        for (ours, theirs) in engine.steady.iter().zip(&echo.steady) {
            let points = ours.frames * u64::from(ours.points_per_frame);
            let per_point = us_per(net(engine, ours), points);
            let ratio = per_point / echo_alone;
            let aim = AIMS.iter().find(|(shape, _)| *shape == ours.points_per_frame).map_or(1.0, |(_, aim)| *aim);
            all_met &= ratio <= aim;
            made.add_row([
                engine.riders.to_string(),
                engine.encoding.name().to_owned(),
                ours.points_per_frame.to_string(),
                ours.frame_bytes.to_string(),
                format!("{:.0}", per_second(ours.frames, ours.span)),
                format!("{:.2}", us_per(ours.cpu.total(), points)),
                format!("{:.1}+{:.1}", us_per(ours.cpu.user, points), us_per(ours.cpu.system, points)),
                format!("{per_point:.2}"),
                format!("{:.2}", us_per(ours.postgres, ours.points)),
                format!("{:.2}", us_per(theirs.cpu.total(), theirs.frames)),
                format!(
                    "{:.1}+{:.1}",
                    us_per(theirs.cpu.user, theirs.frames),
                    us_per(theirs.cpu.system, theirs.frames)
                ),
                format!("{:.2}", us_per(net(echo, theirs), theirs.frames)),
                format!("{ratio:.2}"),
                format!("<= {aim}"),
                verdict(ratio <= aim).to_owned(),
            ]);
        }
    }
    println!("{made}");
    println!(
        "net: without what the open connections cost while nothing comes; engine/echo: net, a point of ours against a frame \
         with one point of the echo's"
    );
    all_met
}

/// What idle connections cost; whether the aim was met.
pub fn idle(pairs: &[Pair]) -> bool {
    let mut all_met = true;
    let mut made = table(&[
        "connections",
        "encoding",
        "server",
        "anon RSS empty MiB",
        "anon RSS idle MiB",
        "bytes/connection",
        "aim",
        "",
        "anon RSS after load MiB",
        "idle CPU %",
    ]);
    for (engine, echo) in pairs {
        for (name, measured) in [("engine", engine), ("echo", echo)] {
            #[expect(clippy::cast_precision_loss, reason = "bytes of memory")]
            let mib = |bytes: u64| bytes as f64 / 1_048_576.0;
            let grown = mib(measured.resident_idle) - mib(measured.resident_empty);
            let each = grown * 1_048_576.0 / f64::from(measured.riders);
            // An allocator's first steps weigh on few connections.
            let judged = name == "engine" && measured.riders >= 10_000;
            let met = each <= AIM_MEMORY;
            all_met &= met || !judged;
            made.add_row([
                measured.riders.to_string(),
                measured.encoding.name().to_owned(),
                name.to_owned(),
                format!("{:.1}", mib(measured.resident_empty)),
                format!("{:.1}", mib(measured.resident_idle)),
                format!("{each:.0}"),
                if judged { format!("<= {AIM_MEMORY}") } else { String::new() },
                if judged { verdict(met).to_owned() } else { String::new() },
                format!("{:.1}", mib(measured.resident_loaded)),
                format!("{:.2}", 100.0 * measured.idle.total().as_secs_f64() / measured.idle_span.as_secs_f64()),
            ]);
        }
    }
    println!("{made}");
    all_met
}

/// What was sent is stored, and the riders hear of it.
pub fn stored(pairs: &[Pair]) -> bool {
    let mut whole = true;
    let mut made =
        table(&["connections", "encoding", "points sent", "rows stored", "", "acks per frame, 1 point", "10 points"]);
    for (engine, _) in pairs {
        let Some((sent, rows)) = engine.stored else { continue };
        whole &= sent == rows;
        #[expect(clippy::cast_precision_loss, reason = "counts")]
        let acks = |steady: &Steady| format!("{:.2}", steady.heard as f64 / steady.frames.max(1) as f64);
        let [one, ten] = [0, 1].map(|shape| engine.steady.get(shape).map_or_else(String::new, acks));
        made.add_row([
            engine.riders.to_string(),
            engine.encoding.name().to_owned(),
            sent.to_string(),
            rows.to_string(),
            if sent == rows { "all".to_owned() } else { "LOST".to_owned() },
            one,
            ten,
        ]);
    }
    println!("{made}");
    whole
}

/// What the engine measured on its own way.
pub fn latencies(pairs: &[Pair]) {
    let mut made =
        table(&["histogram (engine's own)", "connections", "encoding", "points/frame", "count", "p50", "p99"]);
    for (engine, _) in pairs {
        for steady in &engine.steady {
            for seen in &steady.latencies {
                let value = |value: f64| {
                    if seen.name.contains("_seconds") {
                        format!("{:.2} ms", value * 1_000.0)
                    } else {
                        format!("{value:.1}")
                    }
                };
                made.add_row([
                    seen.name.clone(),
                    engine.riders.to_string(),
                    engine.encoding.name().to_owned(),
                    steady.points_per_frame.to_string(),
                    format!("{:.0}", seen.count),
                    value(seen.p50),
                    value(seen.p99),
                ]);
            }
        }
    }
    println!("{made}");
}

#[expect(clippy::cast_precision_loss, reason = "counts of a bench")]
fn per_second(count: u64, span: Duration) -> f64 {
    count as f64 / span.as_secs_f64()
}

//! The two demo cities, set up over REST as an administrator would.

use std::time::Duration;

use anyhow::{Context, ensure};
use serde_json::json;

use crate::wire::{LatLon, rest::NewCity};

/// A city by its corners, `(lat, lon)`.
struct Sketch {
    code: &'static str,
    name: &'static str,
    corners: &'static [(f64, f64)],
}

/// Roughly the built-up areas.
const CITIES: [Sketch; 2] = [
    Sketch {
        code: "blr",
        name: "Bengaluru",
        corners: &[
            (13.110, 77.580),
            (13.090, 77.650),
            (13.020, 77.710),
            (12.960, 77.750),
            (12.890, 77.710),
            (12.840, 77.660),
            (12.860, 77.570),
            (12.905, 77.500),
            (12.980, 77.490),
            (13.060, 77.510),
        ],
    },
    Sketch {
        code: "pnq",
        name: "Pune",
        corners: &[
            (18.640, 73.770),
            (18.650, 73.840),
            (18.600, 73.920),
            (18.550, 73.960),
            (18.490, 73.945),
            (18.445, 73.885),
            (18.455, 73.810),
            (18.500, 73.765),
            (18.570, 73.735),
        ],
    },
];

/// The codes, for the load tester.
pub fn codes() -> impl Iterator<Item = &'static str> {
    CITIES.iter().map(|city| city.code)
}

/// Makes the cities, or sets them as they should be. The time between pings is of the engine's clock.
///
/// # Errors
/// When the engine refuses or does not answer.
pub async fn seed(url: &str, admin_token: &str, ping_every: Duration) -> anyhow::Result<()> {
    let client = reqwest::Client::new();
    let ping_interval_s = ping_every.as_secs().max(1);
    // A rider who missed two pings is still a fresh one, at every speed of the clock.
    let policy = json!({ "ping_interval_s": ping_interval_s, "fix_freshness_s": (3 * ping_interval_s).max(60) });
    for city in &CITIES {
        let body = NewCity {
            code: city.code.into(),
            name: city.name.into(),
            status: Some("live".into()),
            boundary: city.corners.iter().map(|&(lat, lon)| LatLon { lat, lon }).collect(),
            time_zone: "Asia/Kolkata".into(),
            day_cutover_min: 240,
            currency: "INR".into(),
            policy: policy.clone(),
            pay_base_minor: Some(3_000),
            pay_per_km_minor: Some(800),
        };
        let sent = client.post(format!("{url}/v1/cities")).bearer_auth(admin_token).json(&body).send().await;
        let answer = sent.with_context(|| format!("{} cannot be set up", city.name))?;
        let status = answer.status();
        let text = answer.text().await.unwrap_or_default();
        ensure!(status.is_success(), "{} cannot be set up: {status} {text}", city.name);
    }
    Ok(())
}

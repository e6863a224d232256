//! What the engine itself measured, read from its `/metrics`: histograms of the ping path between two looks.

use std::{collections::BTreeMap, net::SocketAddr};

use anyhow::Result;

use crate::support::token;

/// What belongs to a ping's way; those that this engine does not have are left out.
const PARTS: [&str; 2] = ["dispatch_ping_", "dispatch_location_log_write_seconds"];

/// The buckets of the histograms, each by its upper bound.
#[derive(Clone, Debug, Default)]
pub struct Look(BTreeMap<String, Vec<(f64, f64)>>);

/// One histogram's doing between two looks.
#[derive(Clone, Debug)]
pub struct Seen {
    pub name: String,
    pub count: f64,
    pub p50: f64,
    pub p99: f64,
}

/// Reads the histograms.
pub async fn look(address: SocketAddr) -> Result<Look> {
    let request = reqwest::Client::new().get(format!("http://{address}/metrics")).bearer_auth(token("admin", "bench"));
    Ok(Look::parse(&request.send().await?.error_for_status()?.text().await?))
}

impl Look {
    fn parse(text: &str) -> Self {
        let mut found = BTreeMap::<String, Vec<(f64, f64)>>::new();
        for line in text.lines().filter(|line| PARTS.iter().any(|part| line.starts_with(part))) {
            let Some((name, labels)) = line.split_once("_bucket{") else { continue };
            let Some((labels, count)) = labels.rsplit_once("} ") else { continue };
            let bound = labels.split(',').find_map(|label| label.strip_prefix("le=\"")?.strip_suffix('"'));
            let others: Vec<&str> = labels.split(',').filter(|label| !label.starts_with("le=")).collect();
            let (Some(bound), Ok(count)) = (bound, count.parse()) else { continue };
            let bound = if bound == "+Inf" { f64::INFINITY } else { bound.parse().unwrap_or(f64::INFINITY) };
            let name = [&[name][..], &others].concat().join(" ");
            found.entry(name).or_default().push((bound, count));
        }
        Self(found)
    }

    /// What happened since an earlier look.
    pub fn since(&self, before: &Self) -> Vec<Seen> {
        let mut all = Vec::new();
        for (name, buckets) in &self.0 {
            let old = before.0.get(name);
            let at = |index: usize| old.and_then(|old| old.get(index)).map_or(0.0, |bucket| bucket.1);
            let grown: Vec<(f64, f64)> =
                buckets.iter().enumerate().map(|(index, (bound, count))| (*bound, count - at(index))).collect();
            let count = grown.last().map_or(0.0, |bucket| bucket.1);
            if count > 0.0 {
                let [p50, p99] = [0.5, 0.99].map(|share| quantile(&grown, share * count));
                all.push(Seen { name: name.clone(), count, p50, p99 });
            }
        }
        all
    }
}

/// As Prometheus reckons it: evenly spread within a bucket.
fn quantile(buckets: &[(f64, f64)], rank: f64) -> f64 {
    let (mut lower, mut below) = (0.0, 0.0);
    for (bound, count) in buckets {
        if *count >= rank {
            return if bound.is_finite() { lower + (bound - lower) * (rank - below) / (count - below) } else { lower };
        }
        (lower, below) = (*bound, *count);
    }
    lower
}

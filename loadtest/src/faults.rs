//! Panics on purpose: told to a city at their time, and how long its clients could not reach it for that. The engine
//! must be built with the feature `fault-injection`.

use std::{sync::Arc, time::Duration};

use anyhow::{bail, ensure};
use dispatch_engine::replay::day;
use serde::Serialize;
use tokio::{sync::watch, task::JoinSet, time::Instant};

use crate::{
    api::{Api, ApiError},
    cli::Mode,
    clock::millis,
    device::Shared,
};

/// Real time between two questions to a city that failed, or should.
const ASK_EVERY: Duration = Duration::from_millis(20);

/// Real time in which a city that was told to panic must be seen to fail.
const FAILS_WITHIN: Duration = Duration::from_secs(5);

/// A panic from the command line.
#[derive(Clone, Debug, PartialEq)]
pub struct Wish {
    city: String,
    /// Milliseconds of the engine's clock: from the start in a made-up run, from midnight in a replayed day.
    at: i64,
}

fn wish(text: &str, when: impl Fn(&str) -> Option<i64>) -> Option<Wish> {
    let (city, at) = text.split_once('@')?;
    (!city.is_empty()).then_some(Wish { city: city.to_owned(), at: when(at)? })
}

/// `CODE@DURATION`, as in `blr@90s`.
pub fn after_start(text: &str) -> Result<Wish, String> {
    let parsed = wish(text, |at| humantime::parse_duration(at).ok().map(millis));
    parsed.ok_or_else(|| "must be CODE@DURATION, as in blr@90s".to_owned())
}

/// `CODE@HH:MM`, as in `blr@12:30`; seconds may follow.
pub fn time_of_day(text: &str) -> Result<Wish, String> {
    let parsed = wish(text, |at| day::time_of_day(at).ok().map(|s| i64::from(s) * 1_000));
    parsed.ok_or_else(|| "must be CODE@HH:MM, as in blr@12:30".to_owned())
}

/// The panics that are asked for, their times from the start of the plan.
///
/// # Errors
/// When one is to come before the start or in a city that takes no part, and when the engine cannot do it.
pub async fn plan(mode: &Mode, cities: &[String], api: &Api) -> anyhow::Result<Vec<Wish>> {
    let (wishes, from) = match mode {
        Mode::Synthetic(args) => (&args.panics, 0),
        Mode::Replay(args) => (&args.panics, i64::from(args.from) * 1_000),
    };
    let wishes: Vec<Wish> = wishes.iter().map(|wish| Wish { at: wish.at - from, ..wish.clone() }).collect();
    for wish in &wishes {
        ensure!(cities.contains(&wish.city), "--panic: the city `{}` takes no part in the run", wish.city);
        ensure!(wish.at >= 0, "--panic: the time for `{}` is before the start of the run", wish.city);
    }
    if let Some(wish) = wishes.first() {
        // A kind that no engine knows: one that could do the real thing refuses the field, and another has no such path.
        match api.inject(&wish.city, "none").await {
            Err(ApiError::Refused { code, .. }) if code == "invalid_field" => {}
            Err(ApiError::Refused { code, .. }) if code == "no_such_route" => {
                bail!("--panic: this server was not built with `fault-injection`; nothing was started")
            }
            Err(error) => return Err(error.into()),
            Ok(()) => bail!("--panic: the server took a fault that nobody knows"),
        }
    }
    Ok(wishes)
}

/// What came of a panic.
#[derive(Clone, Debug, Serialize)]
pub struct Injected {
    city: String,
    /// When it was told, seconds of the engine's clock from the start.
    at_clock_s: f64,
    /// The code with which the engine refused it, if it did.
    refused: Option<String>,
    /// Whether a client was refused for it.
    seen: bool,
    /// Whether the city answered again before the end of the run.
    back: bool,
    /// From the first refused request to the first good one, or to the end: seconds of the engine's clock.
    unavailable_clock_s: f64,
    /// The same in real milliseconds.
    unavailable_real_ms: f64,
}

impl Injected {
    /// For people.
    pub fn line(&self) -> String {
        let Self { city, at_clock_s, unavailable_clock_s: clock, unavailable_real_ms: real, .. } = self;
        let came = match (&self.refused, self.seen, self.back) {
            (Some(code), ..) => format!("refused: {code}"),
            (None, false, _) => "no client was refused".to_owned(),
            (None, true, true) => format!("unavailable for {clock:.1} s, real {real:.0} ms"),
            (None, true, false) => format!("unavailable for {clock:.1} s, real {real:.0} ms, and not back at the end"),
        };
        format!("{city} after {at_clock_s:.0} s: {came}")
    }
}

/// The panics of a running plan.
#[derive(Debug)]
pub struct Drills {
    over: watch::Sender<bool>,
    tasks: JoinSet<Injected>,
}

impl Drills {
    /// Tells each city to panic at its time; `t0` is the start of the plan.
    pub fn start(wishes: Vec<Wish>, api: &Api, shared: &Arc<Shared>, t0: i64) -> Self {
        let (over, told) = watch::channel(false);
        let mut tasks = JoinSet::new();
        for wish in wishes {
            let (api, shared, mut over) = (api.clone(), Arc::clone(shared), told.clone());
            tasks.spawn(async move {
                tokio::select! {
                    () = shared.clock.sleep_until(t0 + wish.at) => {}
                    // A sender that is gone means the same.
                    _ = over.wait_for(|over| *over) => {}
                }
                drill(&api, &shared, wish, t0, over).await
            });
        }
        Self { over, tasks }
    }

    /// The run is over: what came of them, oldest first, goes to the figures.
    pub async fn finish(mut self, shared: &Shared) {
        self.over.send_replace(true);
        let mut all = vec![];
        while let Some(done) = self.tasks.join_next().await {
            all.extend(done.ok());
        }
        all.sort_by(|a, b| a.at_clock_s.total_cmp(&b.at_clock_s));
        shared.stats.sums().panics = all;
    }
}

async fn drill(api: &Api, shared: &Shared, wish: Wish, t0: i64, over: watch::Receiver<bool>) -> Injected {
    let Wish { city, .. } = wish;
    let mut injected = Injected {
        at_clock_s: (shared.clock.now() - t0) as f64 / 1_000.0,
        city,
        refused: None,
        seen: false,
        back: false,
        unavailable_clock_s: 0.0,
        unavailable_real_ms: 0.0,
    };
    if *over.borrow() {
        injected.refused = Some("run_over".to_owned());
        return injected;
    }
    if let Err(error) = api.inject(&injected.city, "panic").await {
        injected.refused = Some(error.code().to_owned());
        return injected;
    }
    shared.stats.event(&format!("panic_{}", injected.city));
    let told = Instant::now();
    let mut gone: Option<Instant> = None;
    loop {
        let asked = Instant::now();
        let answers = api.snapshot(&injected.city).await.is_ok();
        match gone {
            Some(_) if answers => injected.back = true,
            None if !answers => gone = Some(asked),
            _ => {}
        }
        let unseen = gone.is_none() && told.elapsed() > FAILS_WITHIN;
        if injected.back || unseen || *over.borrow() {
            break;
        }
        tokio::time::sleep(ASK_EVERY).await;
    }
    if let Some(gone) = gone {
        injected.seen = true;
        injected.unavailable_real_ms = gone.elapsed().as_secs_f64() * 1_000.0;
        injected.unavailable_clock_s = shared.clock.ms_in(gone.elapsed()) as f64 / 1_000.0;
    }
    injected
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_has_a_city_and_a_time() {
        assert_eq!(after_start("blr@90s"), Ok(Wish { city: "blr".into(), at: 90_000 }));
        assert_eq!(time_of_day("rappi-3@12:30"), Ok(Wish { city: "rappi-3".into(), at: 45_000_000 }));
        for bad in ["blr", "@90s", "blr@", "blr@25:00", "blr@noon"] {
            assert!(after_start(bad).is_err() && time_of_day(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn the_report_says_what_came_of_it() {
        let injected = Injected {
            city: "blr".into(),
            at_clock_s: 90.0,
            refused: None,
            seen: true,
            back: true,
            unavailable_clock_s: 4.2,
            unavailable_real_ms: 210.0,
        };
        assert_eq!(injected.line(), "blr after 90 s: unavailable for 4.2 s, real 210 ms");
        assert!(Injected { back: false, ..injected.clone() }.line().ends_with("not back at the end"));
        assert!(Injected { refused: Some("city_busy".into()), ..injected }.line().ends_with("refused: city_busy"));
    }
}

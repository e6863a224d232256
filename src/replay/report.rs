//! The figures of several cities and dispatchers with what must be known to read them. The JSON form of a report, and what
//! the page ([`super::page`]) and the table ([`super::table`]) are made from.

use serde::Serialize;

use super::{outcome::Outcomes, quality::Quality};

/// What was lived through, by whom, and how good it was.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Report {
    /// What it is about.
    pub title: String,
    /// How the figures came about: data, window, fleet, seed, machine, versions, commands.
    pub notes: Vec<Note>,
    /// The cities, in the order in which they are shown.
    pub cities: Vec<CityRuns>,
}

/// A fact that the figures depend on.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Note {
    /// What it is about.
    pub label: String,
    /// The fact; lines are kept.
    pub text: String,
}

/// One city's day, as several dispatchers lived it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CityRuns {
    /// The city's code.
    pub code: String,
    /// The first is the one that the others are compared with.
    pub runs: Vec<Run>,
}

/// One dispatcher's day. Its JSON holds the figures, without the single orders.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Run {
    dispatcher: String,
    quality: Quality,
    #[serde(skip)]
    outcomes: Outcomes,
}

impl Note {
    /// A fact under its label.
    pub fn new(label: impl Into<String>, text: impl Into<String>) -> Self {
        Self { label: label.into(), text: text.into() }
    }
}

impl Run {
    /// What became of the day, with its figures.
    #[must_use]
    pub fn new(outcomes: Outcomes) -> Self {
        Self { dispatcher: outcomes.dispatcher.clone(), quality: Quality::of(&outcomes), outcomes }
    }

    /// Who dispatched.
    #[must_use]
    pub fn dispatcher(&self) -> &str {
        &self.dispatcher
    }

    /// How good it was.
    #[must_use]
    pub const fn quality(&self) -> &Quality {
        &self.quality
    }

    /// What became of every order and rider.
    #[must_use]
    pub const fn outcomes(&self) -> &Outcomes {
        &self.outcomes
    }
}

#[cfg(test)]
pub(super) mod tests {
    use serde_json::json;

    use super::*;
    use crate::replay::quality::tests::small_day;

    /// Two cities; the second dispatcher of the first did nothing.
    pub fn report() -> Report {
        let idle =
            Outcomes { dispatcher: "oracle <at placement>".into(), orders: vec![], riders: vec![], ..small_day() };
        Report {
            title: "A day & its figures".into(),
            notes: vec![Note::new("command", "simulate --seed 1\n& look"), Note::new("seed", "1")],
            cities: vec![
                CityRuns { code: "blr".into(), runs: vec![Run::new(small_day()), Run::new(idle)] },
                CityRuns { code: "del".into(), runs: vec![Run::new(small_day())] },
            ],
        }
    }

    #[test]
    fn the_json_form_names_figures_with_their_units() {
        let json = serde_json::to_value(report()).unwrap();
        assert_eq!(json["notes"][1], json!({"label": "seed", "text": "1"}));
        let runs = &json["cities"][0]["runs"];
        assert_eq!(runs[0]["dispatcher"], "live engine");
        assert_eq!(runs[0]["quality"]["click_to_door_minutes"]["p50"], 30.0);
        assert_eq!(
            runs[1]["quality"]["click_to_door_minutes"],
            json!({"count": 0, "mean": null, "p50": null, "p90": null, "p99": null, "max": null})
        );
        assert_eq!(runs[0].get("outcomes"), None);
    }
}

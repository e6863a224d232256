//! Breadth first through everything that can happen, so that the first way into a broken state is a shortest one.
//!
//! A state is kept as its fingerprint and the action that first led to it. When its turn comes it is lived again from the
//! beginning: that costs less than it saves, for a state is a thousand times larger than an action.

use std::{
    collections::{BTreeMap, HashSet},
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    rc::Rc,
};

use super::{action::Action, model::Model, scenario::Scenario};

/// What there was to see.
#[derive(Debug)]
pub struct Explored {
    pub states: usize,
    pub transitions: u64,
    /// Actions on the longest way that was needed.
    pub depth: usize,
    /// States from which everything was brought to its end.
    pub drained: u64,
    /// How often each thing happened.
    pub seen: BTreeMap<&'static str, u64>,
}

/// A way into a broken state. Up to the last fault in it no way is shorter; from there on everybody works.
#[derive(Debug)]
pub struct Counterexample {
    pub scenario: &'static str,
    pub what: String,
    pub path: Vec<Action>,
}

impl fmt::Display for Counterexample {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(f, "the world `{}` breaks after {} actions: {}", self.scenario, self.path.len(), self.what)?;
        let mut number = 0;
        self.path.chunk_by(|one, next| one == next).try_for_each(|run| {
            let (first, times) = (number + 1, run.len());
            number += times;
            let words = run[0].to_string();
            if times == 1 {
                writeln!(f, "{first:>4}. {words}")
            } else {
                writeln!(f, "{first:>4}. {words}, {times} times")
            }
        })
    }
}

/// How a state was first reached.
struct Step {
    before: usize,
    action: Action,
    depth: usize,
}

struct Explorer {
    scenario: Rc<Scenario>,
    start: Model,
    /// The way to each state but the first, whose number is 0.
    steps: Vec<Step>,
    known: HashSet<u64>,
    seen: BTreeMap<&'static str, u64>,
    transitions: u64,
    drained: u64,
}

/// Explores a world to its bounds.
pub fn explore(scenario: Scenario) -> Result<Explored, Counterexample> {
    let (name, scenario) = (scenario.name, Rc::new(scenario));
    let broken = |what| Counterexample { scenario: name, what, path: vec![] };
    let start = Model::new(scenario.clone()).map_err(broken)?;
    let known = HashSet::from([start.fingerprint().map_err(broken)?]);
    let mut explorer =
        Explorer { scenario, start, steps: vec![], known, seen: BTreeMap::new(), transitions: 0, drained: 0 };
    let mut state = 0;
    while state <= explorer.steps.len() {
        explorer.expand(state)?;
        state += 1;
    }
    let Explorer { steps, transitions, drained, seen, .. } = explorer;
    let depth = steps.last().map_or(0, |step| step.depth);
    Ok(Explored { states: steps.len() + 1, transitions, depth, drained, seen })
}

impl Explorer {
    /// Does everything that can happen in a state.
    fn expand(&mut self, state: usize) -> Result<(), Counterexample> {
        let (scenario, path) = (self.scenario.clone(), self.path(state));
        let broken = |what, rest: &[Action]| Counterexample {
            scenario: scenario.name,
            what,
            path: [path.as_slice(), rest].concat(),
        };
        let mut before = self.start.clone();
        before.judging = false;
        path.iter().try_for_each(|action| before.perform(*action)).map_err(|what| broken(what, &[]))?;
        before.judging = true;
        before.trail.clear();
        let mut found = Vec::new();
        for action in before.enabled(&scenario) {
            let mut after = before.clone();
            let fingerprint = guarded(|| {
                after.perform(action)?;
                after.check()?;
                after.fingerprint()
            })
            .map_err(|what| broken(what, &after.trail))?;
            self.transitions += 1;
            after.seen.iter().for_each(|what| *self.seen.entry(what).or_default() += 1);
            if self.known.insert(fingerprint) {
                let drains = fingerprint.is_multiple_of(scenario.drain_one_in);
                self.drained += u64::from(drains);
                guarded(|| {
                    after.settle()?;
                    if drains { after.drain() } else { Ok(()) }
                })
                .map_err(|what| broken(what, &after.trail))?;
                found.push(Step { before: state, action, depth: path.len() + 1 });
            }
        }
        self.steps.extend(found);
        Ok(())
    }

    fn path(&self, mut state: usize) -> Vec<Action> {
        let mut path = Vec::new();
        while let Some(step) = state.checked_sub(1).and_then(|at| self.steps.get(at)) {
            path.push(step.action);
            state = step.before;
        }
        path.reverse();
        path
    }
}

/// The engine itself may panic: that is a find like any other.
fn guarded<T>(act: impl FnOnce() -> Result<T, String>) -> Result<T, String> {
    catch_unwind(AssertUnwindSafe(act)).unwrap_or_else(|panic| {
        let words = panic.downcast_ref::<String>().cloned();
        let words = words.or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()));
        Err(format!("a panic: {}", words.unwrap_or_default()))
    })
}

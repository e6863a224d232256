//! What a city's future depends on, as text: two cities of one description do the same from now on, up to the names of
//! the ids that they make. The exhaustive model recognises by it where it has been before; for tests only.

use std::fmt;

use super::City;

impl City {
    /// Writes the city down, in an order that depends on nothing but what is written. Left out are its settings, and what
    /// only figures and displays are made of.
    ///
    /// # Errors
    /// Those of the writer.
    pub fn describe(&self, out: &mut impl fmt::Write) -> fmt::Result {
        // Every field by name: whoever adds one has to say here whether it matters.
        let Self {
            settings: _,
            brain: _,
            ids: _,
            defects: _,
            riders,
            orders,
            offers,
            scheduled,
            queue,
            index,
            // Where the riders stand, which they know themselves.
            aside: _,
            ahead: _,
            most_active,
            // Counts within a tick.
            explained: _,
            rider_alarms,
            offer_alarms,
            round_alarms,
            wake_alarms,
            pending,
            // The pending duties, found by their riders.
            duty_writes: _,
            unsaved,
            answered,
            contested,
            hold_alarms,
            displacing,
            placing,
            deferred,
            closed_offers,
            ended_orders,
            memory,
            duty_unsaved,
            last_tick,
            grace_until,
            delivered: _,
            ended_otherwise: _,
            touched: _,
            tally: _,
            out: effects,
        } = self;
        for (id, live) in riders.iter() {
            // A rider stands in the index where the last fix was.
            write!(out, "{id} indexed {} {live:?}", index.contains(*id))?;
        }
        write!(
            out,
            "{orders:?}{offers:?}{scheduled:?}{queue:?}{rider_alarms:?}{offer_alarms:?}{round_alarms:?}{wake_alarms:?}"
        )?;
        write!(
            out,
            "{pending:?}{placing}{deferred:?}{closed_offers:?}{ended_orders:?}{memory:?}{duty_unsaved:?}{unsaved:?}"
        )?;
        write!(out, "{last_tick:?}{grace_until:?}{effects:?}{most_active}{hold_alarms:?}{displacing:?}{contested:?}")?;
        answered.describe(out)
    }
}

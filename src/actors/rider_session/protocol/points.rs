//! A session's points: by which rules they are judged, and what becomes of them where something begins or ends.

use std::sync::Arc;

use super::{Protocol, Step};
use crate::{
    actors::{
        city::PingRules,
        location_log::LogPoint,
        rider_session::{
            convert,
            pings::{Judged, log_point},
        },
    },
    domain::{duty::Duty, ping::point::Situation, rider::Vehicle, time::Timestamp},
    wire::{
        codes::frame,
        rider::{Ping, RefusedPing},
    },
};

impl Protocol {
    /// How the rider moves.
    pub const fn rides(&mut self, vehicle: Vehicle) {
        self.judge.rides(vehicle);
    }

    /// The city's rules about points.
    pub fn judge_by(&mut self, rules: &Arc<PingRules>) {
        self.judge.judge_by(rules);
    }

    pub(super) fn situation(&self) -> Situation {
        let busy = !self.in_hand.is_empty();
        Situation { reporting: busy || matches!(self.duty, Duty::On | Duty::Break), busy }
    }

    /// Judges the points of a frame; `None` as long as there is no city.
    pub(super) fn judged(
        &mut self,
        now: Timestamp,
        pings: &[Ping],
        oldest: Option<u64>,
        sent_at: Option<i64>,
    ) -> Option<Judged> {
        let situation = self.situation();
        let track = self.track.as_ref()?;
        track.expect(oldest);
        let mut judged = self.judge.judge(pings, sent_at, now, situation, track);
        judged.given_up = oldest.map_or(0, |_| track.take_given_up());
        let told = judged.refused.iter();
        let told = told.map(|(seq, reason)| RefusedPing { seq: *seq, reason: reason.as_str().to_owned() });
        self.acks.took(pings.len(), told);
        Some(judged)
    }

    /// Points before `welcome`: a device whose app does not wait for it sends them at its usual pace, for as long as the
    /// city takes. It is told once, and keeps them: they are not acknowledged.
    pub(super) fn points_came_early(&mut self) -> Step {
        if std::mem::replace(&mut self.told_to_wait, true) {
            return Step::Nothing;
        }
        Step::Say(convert::error(None, frame::NOT_WELCOME_YET, "wait for welcome"))
    }

    /// What the rider does may have changed.
    pub(super) fn note_situation(&mut self, now: Timestamp) {
        let situation = self.situation();
        let Some(track) = &self.track else { return };
        let kept = track.hygiene().situation(now, situation);
        self.boundary.extend(kept.map(|point| log_point(track, &point)));
    }

    /// The last point of the run before, which had been left out and keeps its name.
    pub fn store_left_out(&mut self, point: Option<LogPoint>) {
        self.boundary.extend(point);
    }

    /// Points that are to be stored after all, because a duty or an order begins or ends at them.
    pub fn take_boundary(&mut self) -> Vec<LogPoint> {
        std::mem::take(&mut self.boundary)
    }
}

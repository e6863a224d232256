//! What a device is told about its points, and how soon. An ack costs as much as a message from the device, so the usual
//! one is told with the keep-alive; soon is told what a device acts upon: refusals, and how far its backlog is. Pure.

use crate::{
    actors::location_log::Track,
    wire::rider::{Down, RefusedPing},
};

/// Points since the last ack that make a backlog: its device waits to go on, or to be rid of it.
const BACKLOG: usize = 50;

/// Refusals that are not gathered any longer.
const MOST_REFUSED: usize = 500;

/// When an ack is due.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Due {
    /// There will be nothing to tell.
    Never,
    /// With the next regular one.
    Regular,
    /// In a moment.
    Soon,
    /// At once.
    Now,
}

/// The acks of one session.
#[derive(Debug, Default)]
pub struct Acks {
    /// `received_to` and `stored_to`, as told.
    told: (u64, u64),
    /// Points since then.
    since: usize,
    /// The device has sent many points at once, and not all of them are settled.
    backlog: bool,
    refused: Vec<RefusedPing>,
}

impl Acks {
    /// Points came; some of them were refused.
    pub fn took(&mut self, points: usize, refused: impl IntoIterator<Item = RefusedPing>) {
        self.since = self.since.saturating_add(points);
        self.backlog |= self.since >= BACKLOG;
        self.refused.extend(refused);
    }

    /// When an ack is due. Points that were dropped are never settled; the device keeps them and sends them again when it
    /// next connects.
    #[must_use]
    pub fn due(&self, track: &Track) -> Due {
        let (stored_to, received_to) = (track.stored_to(), track.received_to());
        if self.refused.len() >= MOST_REFUSED {
            Due::Now
        } else if !self.refused.is_empty() || (self.backlog && !track.is_lost()) {
            Due::Soon
        } else if self.told != (received_to, stored_to) || (stored_to < received_to && !track.is_lost()) {
            Due::Regular
        } else {
            Due::Never
        }
    }

    /// What the device does not know yet.
    pub fn take(&mut self, track: &Track) -> Option<Down> {
        let stored_to = track.stored_to();
        let received_to = track.received_to();
        self.since = 0;
        self.backlog &= stored_to < received_to;
        if self.told == (received_to, stored_to) && self.refused.is_empty() {
            return None;
        }
        self.told = (received_to, stored_to);
        Some(Down::PingsAck { received_to, stored_to, refused: std::mem::take(&mut self.refused) })
    }
}

#[cfg(test)]
mod tests {
    use uuid::Uuid;

    use super::*;
    use crate::domain::{
        ids::{BootId, CityCode, RiderId},
        time::Timestamp,
    };

    fn track() -> Track {
        let city = CityCode::parse("blr").unwrap();
        Track::new(RiderId(Uuid::nil()), city, BootId(Uuid::nil()), "d", 0, Timestamp::default())
    }

    fn took(acks: &mut Acks, track: &Track, seqs: std::ops::RangeInclusive<u64>) {
        acks.took(seqs.clone().count(), []);
        seqs.for_each(|seq| track.note_accepted(seq, None));
    }

    #[test]
    fn a_few_points_wait_for_the_regular_ack() {
        let (mut acks, track) = (Acks::default(), track());
        assert_eq!((acks.due(&track), acks.take(&track)), (Due::Never, None));
        took(&mut acks, &track, 1..=3);
        assert_eq!(acks.due(&track), Due::Regular);
        assert!(matches!(acks.take(&track), Some(Down::PingsAck { received_to: 3, stored_to: 0, .. })));
        assert_eq!((acks.due(&track), acks.take(&track)), (Due::Regular, None), "stored is still to be told");
        (1..=3).for_each(|seq| track.note_stored(seq));
        assert!(matches!(acks.take(&track), Some(Down::PingsAck { stored_to: 3, .. })));
        assert_eq!(acks.due(&track), Due::Never);
    }

    #[test]
    fn a_backlog_is_told_soon_until_all_of_it_is_settled() {
        let (mut acks, track) = (Acks::default(), track());
        took(&mut acks, &track, 1..=60);
        assert_eq!(acks.due(&track), Due::Soon);
        assert!(acks.take(&track).is_some());
        assert_eq!((acks.due(&track), acks.take(&track)), (Due::Soon, None));
        (1..=60).for_each(|seq| track.note_stored(seq));
        assert!(acks.take(&track).is_some());
        assert_eq!(acks.due(&track), Due::Never);
        took(&mut acks, &track, 61..=61);
        assert_eq!(acks.due(&track), Due::Regular);
    }

    #[test]
    fn refusals_are_told_soon_and_many_at_once() {
        let (mut acks, track) = (Acks::default(), track());
        let refused = RefusedPing { seq: 1, reason: "future".into() };
        track.note_received(1);
        acks.took(1, [refused.clone()]);
        assert_eq!(acks.due(&track), Due::Soon);
        acks.took(MOST_REFUSED, vec![refused; MOST_REFUSED]);
        assert_eq!(acks.due(&track), Due::Now);
        let Some(Down::PingsAck { received_to: 1, stored_to: 1, refused }) = acks.take(&track) else { panic!() };
        assert_eq!((refused.len(), acks.due(&track)), (MOST_REFUSED + 1, Due::Never));
    }

    #[test]
    fn nothing_follows_when_points_were_dropped() {
        let (mut acks, track) = (Acks::default(), track());
        took(&mut acks, &track, 1..=60);
        (1..=60).for_each(|seq| track.note_dropped(seq));
        assert_eq!(acks.due(&track), Due::Regular);
        assert!(acks.take(&track).is_some());
        assert_eq!(acks.due(&track), Due::Never);
    }
}

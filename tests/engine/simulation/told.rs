//! What the model of Postgres holds of frames and of disputes.

use std::{collections::BTreeMap, fmt};

use dispatch_engine::{
    domain::{
        ids::{OrderId, RiderId},
        time::Timestamp,
    },
    engine::{
        StoredDispute, StoredFrame,
        answered::FrameRecord,
        command::RejectReason,
        effect::{DisputeRecord, Write},
    },
};

use super::{Checked, ensure};

/// First answers by rider and frame.
#[derive(Clone, Debug, Default)]
pub struct Frames(BTreeMap<(RiderId, String), FrameRecord>);

fn frame_of(write: &Write) -> Option<&FrameRecord> {
    match write {
        Write::Order(order) => order.frame.as_deref(),
        Write::Duty(duty) => duty.frame.as_deref(),
        Write::Dispute(dispute) => dispute.frame.as_deref(),
        Write::Place(_) | Write::Offer { .. } | Write::Note(_) => None,
    }
}

impl Frames {
    /// Takes the key of a write's frame; says why the write is refused, when the frame was answered before.
    pub fn take(&mut self, write: &Write) -> Option<RejectReason> {
        let frame = frame_of(write)?;
        let name = (frame.rider, frame.key.id.clone());
        match self.0.get(&name).filter(|held| held.expires_at > frame.at) {
            Some(held) if held.key.digest == frame.key.digest => {
                Some(RejectReason::Replay(serde_json::to_value(held.answer).unwrap()))
            }
            Some(_) => Some(RejectReason::KeyReused),
            None => {
                self.0.insert(name, frame.clone());
                None
            }
        }
    }

    /// Writes down what later answers depend on.
    pub fn describe(&self, out: &mut impl fmt::Write) -> fmt::Result {
        self.0.iter().try_for_each(|((rider, id), frame)| write!(out, "{rider}{id}{:?}", frame.answer))
    }

    pub fn give_back(&mut self, write: &Write) {
        if let Some(frame) = frame_of(write) {
            self.0.remove(&(frame.rider, frame.key.id.clone()));
        }
    }

    /// The answer that is stored for a frame.
    pub fn answer(&self, rider: RiderId, id: &str) -> Option<&FrameRecord> {
        self.0.get(&(rider, id.to_owned()))
    }

    pub fn image(&self, since: Timestamp) -> Vec<StoredFrame> {
        let lately = self.0.values().filter(|frame| frame.at >= since);
        let mut frames: Vec<_> = lately
            .map(|frame| StoredFrame { rider: frame.rider, key: frame.key.clone(), answer: frame.answer, at: frame.at })
            .collect();
        frames.sort_by_key(|frame| frame.at);
        frames
    }
}

/// Open disputes; nobody closes one here.
#[derive(Clone, Debug, Default)]
pub struct Disputes(pub BTreeMap<(OrderId, RiderId), DisputeRecord>);

impl Disputes {
    /// A rider has one dispute about an order.
    pub fn open(&mut self, record: &DisputeRecord) -> Checked {
        let first = self.0.insert((record.order, record.rider), record.clone());
        ensure(first.is_none_or(|first| first.id == record.id), || format!("{record:?} is a second dispute"))
    }

    pub fn image(&self) -> Vec<StoredDispute> {
        let stored = |record: &DisputeRecord| StoredDispute {
            id: record.id,
            order: record.order,
            rider: record.rider,
            kind: record.kind,
            step: record.step,
        };
        self.0.values().map(stored).collect()
    }
}

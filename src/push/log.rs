//! The provider for development: a line in the log.

use super::{PushMessage, PushProvider, Sending, Sent};
use crate::domain::device::PushToken;

/// Writes down what would be sent.
#[derive(Clone, Copy, Debug)]
pub struct Log;

impl PushProvider for Log {
    fn name(&self) -> &'static str {
        "log"
    }

    fn takes(&self, _: &str) -> bool {
        true
    }

    fn send<'a>(&'a self, token: &'a PushToken, message: &'a PushMessage) -> Sending<'a> {
        Box::pin(async move {
            let offer = message.offer.map(|offer| offer.to_string());
            let left_ms = u64::try_from(message.time_left.as_millis()).unwrap_or(u64::MAX);
            tracing::info!(?token, purpose = message.purpose(), offer, left_ms, "a push");
            Ok(Sent { id: "log".to_owned() })
        })
    }
}

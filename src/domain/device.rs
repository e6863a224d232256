//! The device of a rider, as far as somebody must be able to reach it.

use std::fmt;

use super::{ids::RiderId, time::Timestamp};

/// A push provider's name for one installation of the app. Whoever has it can wake the device, so it never shows whole.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct PushToken(String);

impl PushToken {
    /// Wraps a token.
    #[must_use]
    pub const fn new(token: String) -> Self {
        Self(token)
    }

    /// The token itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for PushToken {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // Enough to tell two of them apart, in a log of people who look for one device. A short token shows nothing.
        let shown = if self.0.len() >= 32 { self.0.get(..6).unwrap_or_default() } else { "" };
        write!(f, "{shown}***")
    }
}

/// A device that can be woken, as it last introduced itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PushDevice {
    /// Whose.
    pub rider: RiderId,
    /// The device's own lasting id.
    pub device: String,
    /// Who carries its pushes.
    pub provider: String,
    /// The provider's name for it.
    pub token: PushToken,
    /// The version of the app.
    pub app_version: String,
    /// When it said so.
    pub seen_at: Timestamp,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_never_shows_whole() {
        let long = format!("{:?}", PushToken::new("abcdefgh".repeat(20)));
        assert_eq!(long, "abcdef***");
        assert_eq!(format!("{:?}", PushToken::new("hunter2".into())), "***");
    }
}

//! The code that a recipient gives to the rider at the door. The engine sees keyed digests of codes and never a code: who
//! reads its memory, its events or its logs learns none.

use std::fmt;

/// A code of 4 to 8 digits, as a merchant or a device gives it. It does not show in a log.
#[derive(Clone, PartialEq, Eq)]
pub struct Otp(String);

/// A text that is no one-time code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("a one-time code has 4 to 8 digits")]
pub struct BadOtp;

impl Otp {
    /// Reads a code.
    ///
    /// # Errors
    /// [`BadOtp`].
    pub fn parse(text: &str) -> Result<Self, BadOtp> {
        let fits = (4..=8).contains(&text.len()) && text.bytes().all(|byte| byte.is_ascii_digit());
        if fits { Ok(Self(text.to_owned())) } else { Err(BadOtp) }
    }

    /// Its digits, for the function that makes the digest and for nobody else.
    #[must_use]
    pub fn digits(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Otp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Otp(..)")
    }
}

/// The digest of a code for one order, under a key that only the edge of the program has.
#[derive(Clone, Copy, PartialEq, Eq)]
pub struct OtpDigest(pub [u8; 32]);

impl fmt::Debug for OtpDigest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("OtpDigest(..)")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_code_is_4_to_8_digits_and_shows_nowhere() {
        for good in ["0000", "4711", "12345678"] {
            assert_eq!(Otp::parse(good).unwrap().digits(), good);
        }
        for bad in ["", "471", "123456789", "47 1", "abcd", "४७११"] {
            assert_eq!(Otp::parse(bad), Err(BadOtp), "{bad}");
        }
        assert!(!format!("{:?}", Otp::parse("4711").unwrap()).contains("4711"));
        assert!(!format!("{:?}", OtpDigest([7; 32])).contains('7'));
    }
}

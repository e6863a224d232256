//! Identifiers. Rows are named by UUIDv7, so that an id carries its month; live things of one process by a counter.

use std::{fmt, str::FromStr, sync::Arc};

use serde::{Deserialize, Serialize};
use uuid::Uuid;

use super::time::Timestamp;

macro_rules! uuid_id {
    ($($(#[$doc:meta])* $name:ident;)*) => {$(
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(transparent)]
        pub struct $name(pub Uuid);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, concat!(stringify!($name), "({})"), self.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.fmt(f)
            }
        }

        impl FromStr for $name {
            type Err = uuid::Error;

            fn from_str(text: &str) -> Result<Self, Self::Err> {
                Uuid::parse_str(text).map(Self)
            }
        }

        impl From<Uuid> for $name {
            fn from(id: Uuid) -> Self {
                Self(id)
            }
        }
    )*};
}

uuid_id! {
    /// A rider.
    RiderId;
    /// An order. Its leading 48 bits are the time of placement, which also names its partition.
    OrderId;
    /// One offer of one job to one rider.
    OfferId;
    /// The work that an offer is about: one or more orders taken together.
    JobId;
    /// A merchant or a 3PL partner.
    MerchantId;
    /// One change that the journal stores exactly once, however often it is tried.
    TransitionId;
    /// What a device draws anew at each start of its app; ping numbers count within it.
    BootId;
    /// A report of a rider that contradicts what is stored.
    DisputeId;
}

impl OrderId {
    /// The time of placement that the id carries.
    #[must_use]
    pub fn placed_at(self) -> Timestamp {
        let millis = self.0.as_u128() >> 80;
        // 48 bits always fit.
        Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
    }
}

/// A connected rider socket of this process. Numbers are never used again, so a superseded session can be told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SessionId(pub u64);

/// Names the caller who waits for the answer to a command; the shell of the city knows who that is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ReplyTo(pub u64);

/// The code of a city, as in `cities.code`: 2 to 32 of `a-z`, `0-9` and `-`, beginning with a letter or a digit.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct CityCode(Arc<str>);

/// A text that is no city code.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{0}` is not a city code: 2 to 32 of a-z, 0-9 and -, beginning with a letter or a digit")]
pub struct BadCityCode(pub String);

impl CityCode {
    /// Checks the form of a code; whether the city exists is for the store to say.
    ///
    /// # Errors
    /// [`BadCityCode`] when the text has another form.
    pub fn parse(text: &str) -> Result<Self, BadCityCode> {
        let fits = (2..=32).contains(&text.len())
            && !text.starts_with('-')
            && text.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'-');
        if fits { Ok(Self(text.into())) } else { Err(BadCityCode(text.chars().take(64).collect())) }
    }

    /// The code as text.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for CityCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "CityCode({})", self.0)
    }
}

impl fmt::Display for CityCode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl TryFrom<String> for CityCode {
    type Error = BadCityCode;

    fn try_from(text: String) -> Result<Self, Self::Error> {
        Self::parse(&text)
    }
}

impl From<CityCode> for String {
    fn from(code: CityCode) -> Self {
        code.0.to_string()
    }
}

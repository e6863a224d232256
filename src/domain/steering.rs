//! What operators set on a waiting order: a hold with an owner and an end, and a priority.

use super::time::Timestamp;

/// An order that is held is offered to nobody. Every hold has an owner and an end, because a shift change forgets holds.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Hold {
    /// The name of the operator who holds it.
    pub by: String,
    /// When it ends by itself.
    pub until: Timestamp,
    /// Why.
    pub reason: String,
}

/// How an order stands to the others that are due: the higher one goes first, whatever their times. 0 is normal.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Priority(i8);

/// A level that no order has.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("must lie in {least}..={most}", least = Priority::LEAST, most = Priority::MOST)]
pub struct BadPriority;

impl Priority {
    /// The lowest level.
    pub const LEAST: i8 = -2;
    /// The highest level.
    pub const MOST: i8 = 2;

    /// A priority of a level.
    ///
    /// # Errors
    /// [`BadPriority`] beyond [`Self::LEAST`] and [`Self::MOST`].
    pub fn new(level: i64) -> Result<Self, BadPriority> {
        let level = i8::try_from(level).map_err(|_| BadPriority)?;
        if (Self::LEAST..=Self::MOST).contains(&level) { Ok(Self(level)) } else { Err(BadPriority) }
    }

    /// Its level.
    #[must_use]
    pub const fn level(self) -> i8 {
        self.0
    }

    /// Every priority, the highest first.
    pub fn all() -> impl Iterator<Item = Self> {
        (Self::LEAST..=Self::MOST).rev().map(Self)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn there_are_five_levels() {
        assert_eq!(Priority::all().map(Priority::level).collect::<Vec<_>>(), [2, 1, 0, -1, -2]);
        for level in [i64::MIN, -3, 3, 256] {
            assert_eq!(Priority::new(level), Err(BadPriority));
        }
        assert!(Priority::all().all(|priority| Priority::new(priority.level().into()) == Ok(priority)));
        assert_eq!(BadPriority.to_string(), "must lie in -2..=2");
    }
}

//! Enumerations that stand as text in the database and on the wire: one table of names per type, read in both directions.

/// A text that none of a type's names equals.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a {what}; known: {}", .known.join(", "))]
pub struct UnknownName {
    /// The type that was expected.
    pub what: &'static str,
    /// What was read, cut to 64 characters.
    pub given: String,
    /// What would have been one, in order of declaration.
    pub known: &'static [&'static str],
}

/// Declares an enum with its stable names: `as_str`, `parse`, `ALL`, `Display`, and serde by name.
macro_rules! named_enum {
    ($(#[$doc:meta])* $vis:vis enum $name:ident as $what:literal { $($(#[$vdoc:meta])* $variant:ident = $text:literal,)* }) => {
        $(#[$doc])*
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, serde::Serialize, serde::Deserialize)]
        $vis enum $name { $($(#[$vdoc])* #[serde(rename = $text)] $variant,)* }

        impl $name {
            /// Every value, in order of declaration.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The stable name, as in the database and on the wire.
            #[must_use]
            pub const fn as_str(self) -> &'static str {
                match self { $(Self::$variant => $text,)* }
            }

            /// Reads a stable name.
            ///
            /// # Errors
            /// [`UnknownName`](crate::domain::text::UnknownName) when no value has that name.
            pub fn parse(text: &str) -> Result<Self, $crate::domain::text::UnknownName> {
                match text {
                    $($text => Ok(Self::$variant),)*
                    other => Err($crate::domain::text::UnknownName {
                        what: $what,
                        given: other.chars().take(64).collect(),
                        known: &[$($text,)*],
                    }),
                }
            }
        }

        impl std::fmt::Display for $name {
            fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str(self.as_str())
            }
        }
    };
}

pub(crate) use named_enum;

#[cfg(test)]
mod tests {
    named_enum! {
        /// For the test.
        enum Fruit as "fruit" {
            /// Red.
            Apple = "apple",
            /// Yellow.
            Pear = "pear",
        }
    }

    #[test]
    fn an_unknown_name_is_told_the_known_ones() {
        assert_eq!(
            Fruit::ALL.iter().map(|fruit| Fruit::parse(fruit.as_str())).collect::<Result<Vec<_>, _>>().unwrap(),
            Fruit::ALL
        );
        let error = Fruit::parse(&"plum".repeat(20)).unwrap_err();
        assert_eq!(error.to_string(), format!("`{}` is not a fruit; known: apple, pear", "plum".repeat(16)));
    }
}

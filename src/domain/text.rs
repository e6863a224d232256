//! Enumerations that stand as text in the database and on the wire: one table of names per type, read in both directions.

/// A text that none of a type's names equals.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("`{given}` is not a {what}")]
pub struct UnknownName {
    /// The type that was expected.
    pub what: &'static str,
    /// What was read, cut to 64 characters.
    pub given: String,
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

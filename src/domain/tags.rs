//! Tags: short words that say what riders bring along or may carry (`thermal_bag`, `cod`, `alcohol`), and which of them an
//! order needs. What they mean is agreed upon between a fleet and its merchants.

use std::{fmt, sync::Arc};

/// The most tags of one rider or one order.
pub const MOST_TAGS: usize = 8;

/// The longest tag, in characters.
pub const LONGEST_TAG: usize = 32;

/// A set of tags, in alphabetical order. Most sets are empty and take no memory of their own; copies share theirs.
#[derive(Clone, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Tags(Option<Arc<[Box<str>]>>);

/// Why words are no tags.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum BadTags {
    /// More than [`MOST_TAGS`].
    #[error("takes at most {MOST_TAGS} different tags")]
    TooMany,
    /// A word of another form, cut to 64 characters.
    #[error("`{0}` is not a tag: 1 to {LONGEST_TAG} of a-z, 0-9 and _")]
    Word(String),
}

impl Tags {
    /// No tags.
    pub const NONE: Self = Self(None);

    /// Reads tags; the same one twice counts once.
    ///
    /// # Errors
    /// [`BadTags`].
    pub fn parse<W: AsRef<str>>(words: impl IntoIterator<Item = W>) -> Result<Self, BadTags> {
        let mut tags: Vec<Box<str>> = Vec::new();
        for word in words {
            let word = word.as_ref();
            let known = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_';
            if !(1..=LONGEST_TAG).contains(&word.len()) || !word.bytes().all(known) {
                return Err(BadTags::Word(word.chars().take(64).collect()));
            }
            if let Err(place) = tags.binary_search_by(|tag| (**tag).cmp(word)) {
                if tags.len() == MOST_TAGS {
                    return Err(BadTags::TooMany);
                }
                tags.insert(place, word.into());
            }
        }
        Ok(Self((!tags.is_empty()).then(|| tags.into())))
    }

    /// The tags, in alphabetical order.
    pub fn iter(&self) -> impl Iterator<Item = &str> + '_ {
        self.0.iter().flat_map(|tags| tags.iter()).map(|tag| &**tag)
    }

    /// Whether there are none.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_none()
    }

    /// Whether a tag is among them.
    #[must_use]
    pub fn has(&self, tag: &str) -> bool {
        self.0.as_ref().is_some_and(|tags| tags.binary_search_by(|known| (**known).cmp(tag)).is_ok())
    }

    /// Whether all that are needed are among them.
    #[must_use]
    pub fn cover(&self, needed: &Self) -> bool {
        needed.iter().all(|tag| self.has(tag))
    }

    /// As owned texts, for the store and the wire.
    #[must_use]
    pub fn to_texts(&self) -> Vec<String> {
        self.iter().map(str::to_owned).collect()
    }
}

impl fmt::Debug for Tags {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter()).finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_are_a_sorted_set_of_short_words() {
        let tags = Tags::parse(["thermal_bag", "cod", "cod", "v2"]).unwrap();
        assert_eq!(tags.to_texts(), ["cod", "thermal_bag", "v2"]);
        assert_eq!(tags, Tags::parse(["v2", "thermal_bag", "cod"]).unwrap());
        assert!(tags.has("cod") && !tags.has("co") && !tags.is_empty());
        assert_eq!(format!("{tags:?}"), r#"{"cod", "thermal_bag", "v2"}"#);
        assert_eq!(Tags::parse::<&str>([]), Ok(Tags::default()));
    }

    #[test]
    fn what_is_needed_must_all_be_there() {
        let tags = |words: &[&str]| Tags::parse(words).unwrap();
        assert!(tags(&["a", "b", "c"]).cover(&tags(&["a", "c"])));
        assert!(!tags(&["a", "b"]).cover(&tags(&["a", "c"])));
        assert!(tags(&[]).cover(&tags(&[])) && tags(&["a"]).cover(&tags(&[])) && !tags(&[]).cover(&tags(&["a"])));
    }

    #[test]
    fn other_words_and_too_many_are_refused() {
        for bad in ["", "Cod", "thermal bag", "thermal-bag", "ü", "{cod}", &"x".repeat(33)] {
            assert!(matches!(Tags::parse([bad]), Err(BadTags::Word(_))), "{bad}");
        }
        assert!(Tags::parse(["x".repeat(32)]).is_ok());
        let numbered = |n: usize| (0..n).map(|n| format!("t{n}")).collect::<Vec<_>>();
        assert!(Tags::parse(numbered(8)).is_ok());
        assert_eq!(Tags::parse(numbered(9)), Err(BadTags::TooMany));
        // The same ones again are not more.
        assert!(Tags::parse(numbered(8).into_iter().chain(numbered(8))).is_ok());
    }
}

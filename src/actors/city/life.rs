//! The life of one incarnation. Everyone who holds a handle can wait for its end and learns why it came; nothing has to
//! be sent for that, so it works for a city that panics too: it drops its side, and whoever waits wakes up.

use tokio::sync::watch;

/// Why an incarnation ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// It was told to.
    Stopped,
    /// Another process holds the city.
    Fenced,
    /// The store holds another version of an order than this incarnation: somebody else wrote.
    Diverged,
    /// A handler panicked.
    Panicked,
}

impl Ending {
    /// A stable word, as a metric label.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Stopped => "stopped",
            Self::Fenced => "fenced",
            Self::Diverged => "diverged",
            Self::Panicked => "panicked",
        }
    }
}

/// The city's own side: its drop ends the life, as [`Ending::Panicked`] unless the city said otherwise before.
#[derive(Debug)]
pub struct Life(watch::Sender<Ending>);

/// The side of everyone else. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Lifeline(watch::Receiver<Ending>);

impl Life {
    /// A new life.
    #[must_use]
    pub fn begin() -> Self {
        Self(watch::Sender::new(Ending::Panicked))
    }

    /// The line that hears of its end.
    #[must_use]
    pub fn line(&self) -> Lifeline {
        Lifeline(self.0.subscribe())
    }

    /// Says why it is about to end.
    pub fn ends(&self, why: Ending) {
        self.0.send_replace(why);
    }

    /// Why it ends, as far as it was said.
    #[must_use]
    pub fn why(&self) -> Ending {
        *self.0.borrow()
    }
}

impl Lifeline {
    /// Whether both are of one life.
    #[must_use]
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.0.same_channel(&other.0)
    }

    /// Waits for the end.
    pub async fn ended(mut self) -> Ending {
        while self.0.changed().await.is_ok() {}
        *self.0.borrow()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn whoever_waits_learns_why() {
        let life = Life::begin();
        let line = life.line();
        let waiting = tokio::spawn(line.clone().ended());
        life.ends(Ending::Fenced);
        tokio::task::yield_now().await;
        assert!(!waiting.is_finished(), "it was announced, and has not come");
        drop(life);
        assert_eq!((waiting.await.unwrap(), line.ended().await), (Ending::Fenced, Ending::Fenced));
    }

    #[tokio::test]
    async fn an_end_without_a_word_is_a_panic() {
        let life = Life::begin();
        let line = life.line();
        let city = std::thread::spawn(move || {
            let _life = life;
            panic!("as the test wants");
        });
        assert!(city.join().is_err());
        assert_eq!(line.ended().await, Ending::Panicked);
    }
}

//! Whether the database answers the journal: what everybody goes by who has to tell a client why an answer takes so long.

use prometheus::IntGauge;

/// The state of the journal's database. Cheap to clone; all clones see the same.
///
/// It is as fresh as it must be: while the database is away the journal holds a batch and tries it again and again, so
/// the end of an outage shows within one retry; and as long as nothing is to be committed nobody waits for it.
#[derive(Clone, Debug)]
pub struct Availability(IntGauge);

impl Availability {
    /// Shown as a gauge that is 1 while the database does not answer.
    #[must_use]
    pub const fn new(unavailable: IntGauge) -> Self {
        Self(unavailable)
    }

    /// Whether the database answered the last time the journal asked.
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.0.get() == 0
    }

    /// Takes note of an answer; whether it ends an outage.
    pub(super) fn answers(&self) -> bool {
        let ends = !self.is_up();
        self.0.set(0);
        ends
    }

    /// Takes note that no answer came; whether an outage begins.
    pub(super) fn is_silent(&self) -> bool {
        let begins = self.is_up();
        self.0.set(1);
        begins
    }
}

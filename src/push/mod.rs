//! Push providers: who carries a few bytes to a device whose socket is silent, so that the app wakes and connects. `log`
//! writes a line and is for development; `fcm` speaks the HTTP v1 interface of Firebase Cloud Messaging.
//!
//! A push says that something waits and until when. What waits is told on the socket: no order and no customer passes
//! through a provider.

mod fcm;
mod https;
mod log;
mod oauth;

use std::{fmt, path::PathBuf, pin::Pin, sync::Arc, time::Duration};

use serde::Deserialize;

use crate::{
    config::Secret,
    domain::{device::PushToken, ids::OfferId, time::Timestamp},
    engine::wake::WakeWhy,
};

pub use fcm::Fcm;
pub use log::Log;
pub use oauth::{BadAccount, ServiceAccount};

/// The scope of an access token with which messages can be sent.
const SCOPE: &str = "https://www.googleapis.com/auth/firebase.messaging";

/// Who carries pushes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum ProviderKind {
    /// Nobody: a line in the log.
    Log,
    /// Firebase Cloud Messaging, HTTP v1.
    Fcm,
}

/// Settings of the provider.
#[derive(Clone, Debug, Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// `log` or `fcm`.
    pub provider: ProviderKind,
    /// The service account of the Firebase project, the JSON file that Google hands out.
    pub service_account_file: Option<PathBuf>,
    /// The same as text, for where secrets come as variables; wins over the file.
    pub service_account: Option<Secret>,
    /// Where messages are sent.
    pub fcm_url: String,
    /// Where access tokens are fetched; the service account's own address when absent.
    pub token_url: Option<String>,
    /// Milliseconds (real time) that one request may take.
    pub timeout_ms: u64,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            provider: ProviderKind::Log,
            service_account_file: None,
            service_account: None,
            fcm_url: "https://fcm.googleapis.com".to_owned(),
            token_url: None,
            timeout_ms: 5_000,
        }
    }
}

/// What a device is told.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PushMessage {
    /// What for.
    pub why: WakeWhy,
    /// The offer that waits.
    pub offer: Option<OfferId>,
    /// From then on (the engine's clock) the message is of no use.
    pub expires_at: Timestamp,
    /// The same from now on, in real time: providers know no other.
    pub time_left: Duration,
}

impl PushMessage {
    /// What for, a stable word that the app knows.
    #[must_use]
    pub const fn purpose(&self) -> &'static str {
        purpose(self.why)
    }
}

/// The stable word for a reason to wake a device.
#[must_use]
pub const fn purpose(why: WakeWhy) -> &'static str {
    match why {
        WakeWhy::Offer => "offer",
        WakeWhy::AutoOffWarning => "auto_off_warning",
    }
}

/// The provider took the message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Sent {
    /// The provider's name for it.
    pub id: String,
}

/// Why a push was not taken. The texts hold no token.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PushError {
    /// The provider is away, slow or overloaded: the same message may be taken later.
    #[error("the push provider does not take it now: {why}")]
    Retryable {
        /// When the provider wants to be asked again, at the earliest.
        after: Option<Duration>,
        /// What it said.
        why: String,
    },
    /// The provider does not know this installation of the app, or not any more.
    #[error("the push token is not known to its provider")]
    TokenGone,
    /// The provider refuses us: the account, its rights, or the form of the message. People have to look.
    #[error("the push provider refuses: {0}")]
    Misconfigured(String),
}

impl PushError {
    fn later(why: impl fmt::Display) -> Self {
        Self::Retryable { after: None, why: why.to_string() }
    }
}

/// What sending comes to.
pub type Sending<'a> = Pin<Box<dyn Future<Output = Result<Sent, PushError>> + Send + 'a>>;

/// Somebody who carries pushes.
pub trait PushProvider: Send + Sync {
    /// Its name, as a metric label.
    fn name(&self) -> &'static str;

    /// Whether it reaches devices that named this provider.
    fn takes(&self, provider: &str) -> bool;

    /// Sends one message, once. Sending it again is harmless: the device shows an offer once.
    ///
    /// The future's error is a [`PushError`].
    fn send<'a>(&'a self, token: &'a PushToken, message: &'a PushMessage) -> Sending<'a>;
}

/// Why there is no provider.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// The provider needs an account, and none is named.
    #[error("push.service_account_file or push.service_account (DISPATCH_FCM_ACCOUNT) is not set")]
    NoAccount,
    /// The file cannot be read.
    #[error("push.service_account_file cannot be read")]
    File(#[source] std::io::Error),
    /// The account is none.
    #[error("the service account of push cannot be used")]
    Account(#[from] BadAccount),
    /// An address has no valid form.
    #[error("{key} is no address of http or https")]
    Address {
        /// Which one.
        key: &'static str,
    },
}

/// The provider that the settings name.
///
/// # Errors
/// [`ProviderError`] when its account or an address is missing or has no valid form; nobody is asked over the network.
pub fn provider(options: &Options) -> Result<Arc<dyn PushProvider>, ProviderError> {
    Ok(match options.provider {
        ProviderKind::Log => Arc::new(Log),
        ProviderKind::Fcm => {
            let account = match (&options.service_account, &options.service_account_file) {
                (Some(text), _) => ServiceAccount::parse(text.expose())?,
                (None, Some(file)) => {
                    ServiceAccount::parse(&std::fs::read_to_string(file).map_err(ProviderError::File)?)?
                }
                (None, None) => return Err(ProviderError::NoAccount),
            };
            Arc::new(Fcm::new(account, options)?)
        }
    })
}

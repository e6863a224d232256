//! Contacts of recipients: sealed before they reach a table or a queue, opened only for the rider who has the order.
//! ChaCha20-Poly1305 with a random nonce; the order's id is authenticated with it, so that a sealed contact opens for its
//! own order only. The journal writes the rows, in the transaction of the order itself.

use std::{fmt, sync::Arc};

use base64::{Engine, engine::general_purpose::STANDARD};
use chacha20poly1305::{
    ChaCha20Poly1305, Nonce,
    aead::{Aead, Generate, KeyInit, Payload},
};
use sha2::{Digest, Sha256};

use super::{Db, StoreError, otps::OtpKey};
use crate::{
    domain::{
        ids::OrderId,
        otp::{Otp, OtpDigest},
        time::Timestamp,
    },
    engine::command::SealedContact,
};

const NONCE_BYTES: usize = 12;

/// Why a contact cannot be sealed or opened.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SealError {
    /// The configured key is not 32 bytes in base64.
    #[error("a sealing key is 32 bytes in base64")]
    BadKey,
    /// The contact was sealed under a key that is not configured.
    #[error("the contact was sealed under key {0}, which is not configured")]
    UnknownKey(String),
    /// The sealed bytes were changed, or belong to another order.
    #[error("the sealed contact does not open")]
    Damaged,
    /// The cipher refused the text.
    #[error("the contact cannot be sealed")]
    TooLong,
}

/// Seals and opens contacts under one key. Cheap to clone.
#[derive(Clone)]
pub struct Sealer(Arc<Inner>);

struct Inner {
    cipher: ChaCha20Poly1305,
    key_id: String,
    codes: OtpKey,
}

impl Sealer {
    /// Under a key of 32 bytes. Its id is the beginning of the key's SHA-256, so that a changed key is noticed.
    #[must_use]
    pub fn new(key: &[u8; 32]) -> Self {
        let digest = Sha256::digest(key);
        let key_id = digest.iter().take(6).map(|byte| format!("{byte:02x}")).collect();
        Self(Arc::new(Inner { cipher: ChaCha20Poly1305::new(key.into()), key_id, codes: OtpKey::derive(key) }))
    }

    /// Under a key as it stands in the configuration: 32 bytes in base64 (standard alphabet, padded).
    ///
    /// # Errors
    /// [`SealError::BadKey`].
    pub fn from_base64(key: &str) -> Result<Self, SealError> {
        let bytes = STANDARD.decode(key.trim()).map_err(|_| SealError::BadKey)?;
        let key: [u8; 32] = bytes.try_into().map_err(|_| SealError::BadKey)?;
        Ok(Self::new(&key))
    }

    /// The keyed digest of a recipient's one-time code for its order.
    #[must_use]
    pub fn code_digest(&self, order: OrderId, code: &Otp) -> OtpDigest {
        self.0.codes.digest(order, code)
    }

    /// Seals a contact for its order.
    ///
    /// # Errors
    /// [`SealError::TooLong`], beyond 256 GiB.
    pub fn seal(&self, order: OrderId, text: &[u8], expires_at: Timestamp) -> Result<SealedContact, SealError> {
        let nonce = Nonce::generate();
        let payload = Payload { msg: text, aad: order.0.as_bytes() };
        let sealed = self.0.cipher.encrypt(&nonce, payload).map_err(|_| SealError::TooLong)?;
        let sealed = [nonce.as_slice(), &sealed].concat();
        Ok(SealedContact { key_id: self.0.key_id.clone(), sealed, expires_at })
    }

    /// Opens the contact of an order.
    ///
    /// # Errors
    /// [`SealError::UnknownKey`] or [`SealError::Damaged`].
    pub fn open(&self, order: OrderId, contact: &SealedContact) -> Result<Vec<u8>, SealError> {
        if contact.key_id != self.0.key_id {
            return Err(SealError::UnknownKey(contact.key_id.clone()));
        }
        let (nonce, sealed) = contact.sealed.split_at_checked(NONCE_BYTES).ok_or(SealError::Damaged)?;
        let nonce = Nonce::try_from(nonce).map_err(|_| SealError::Damaged)?;
        let payload = Payload { msg: sealed, aad: order.0.as_bytes() };
        self.0.cipher.decrypt(&nonce, payload).map_err(|_| SealError::Damaged)
    }
}

impl fmt::Debug for Sealer {
    /// Keys never reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Sealer({})", self.0.key_id)
    }
}

/// The sealed contact of an order, unless it has expired.
///
/// # Errors
/// [`StoreError`].
pub async fn find(db: &Db, order: OrderId, now: Timestamp) -> Result<Option<SealedContact>, StoreError> {
    let row = sqlx::query!(
        "SELECT key_id, sealed, expires_at FROM order_contacts WHERE order_id = $1 AND expires_at > $2",
        order.0,
        now.to_datetime()
    )
    .fetch_optional(db)
    .await?;
    Ok(row.map(|row| SealedContact { key_id: row.key_id, sealed: row.sealed, expires_at: row.expires_at.into() }))
}

/// Deletes the contacts whose time is over, and counts them.
///
/// # Errors
/// [`StoreError`].
pub async fn delete_expired(db: &Db, now: Timestamp) -> Result<u64, StoreError> {
    let done = sqlx::query!("DELETE FROM order_contacts WHERE expires_at <= $1", now.to_datetime()).execute(db).await?;
    Ok(done.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn a_contact_opens_for_its_own_order_and_key_only() {
        let sealer = Sealer::new(&[1; 32]);
        let (order, other) = (OrderId(Uuid::from_u128(1)), OrderId(Uuid::from_u128(2)));
        let sealed = sealer.seal(order, b"Asha", Timestamp::FAR_FUTURE).unwrap();
        assert!(!sealed.sealed.windows(4).any(|w| w == b"Asha"));
        assert_eq!(sealer.open(order, &sealed).unwrap(), b"Asha");
        assert_eq!(sealer.open(other, &sealed), Err(SealError::Damaged));
        let again = sealer.seal(order, b"Asha", Timestamp::FAR_FUTURE).unwrap();
        assert_ne!(again.sealed, sealed.sealed, "a nonce was used twice");
        let mut cut = sealed.clone();
        cut.sealed.truncate(5);
        assert_eq!(sealer.open(order, &cut), Err(SealError::Damaged));
        assert!(matches!(Sealer::new(&[2; 32]).open(order, &sealed), Err(SealError::UnknownKey(_))));
    }

    #[test]
    fn a_key_is_32_bytes_in_base64() {
        assert!(Sealer::from_base64(&STANDARD.encode([3; 32])).is_ok());
        for bad in ["", "short", &STANDARD.encode([3; 31])] {
            assert_eq!(Sealer::from_base64(bad).unwrap_err(), SealError::BadKey);
        }
    }
}

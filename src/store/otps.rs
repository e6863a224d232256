//! Digests of recipients' one-time codes. The digits are known to nobody here: the key of the digest comes from the key of
//! the contacts, and the order's id goes into it, so that equal codes of two orders look different.

use hmac::{Hmac, KeyInit, Mac};
use sha2::Sha256;

use super::{Db, StoreError};
use crate::domain::{
    ids::OrderId,
    otp::{Otp, OtpDigest},
    time::Timestamp,
};

/// Makes the digests of codes.
#[derive(Clone)]
pub(super) struct OtpKey([u8; 32]);

impl OtpKey {
    /// Derived from another key, so that neither says anything about the other.
    pub fn derive(key: &[u8; 32]) -> Self {
        Self(mac(key, &[b"dispatch one-time code 1"]))
    }

    pub fn digest(&self, order: OrderId, code: &Otp) -> OtpDigest {
        OtpDigest(mac(&self.0, &[order.0.as_bytes(), code.digits().as_bytes()]))
    }
}

/// HMAC-SHA-256 (RFC 2104).
fn mac(key: &[u8; 32], parts: &[&[u8]]) -> [u8; 32] {
    // 32 bytes are within the block of the hash, so that the key is taken as it is.
    let mut mac = <Hmac<Sha256> as KeyInit>::new(&{
        let mut block = hmac::digest::Key::<Hmac<Sha256>>::default();
        block[..key.len()].copy_from_slice(key);
        block
    });
    parts.iter().for_each(|part| mac.update(part));
    mac.finalize().into_bytes().into()
}

/// Deletes the digests whose time is over, and counts them.
///
/// # Errors
/// [`StoreError`].
pub async fn delete_expired(db: &Db, now: Timestamp) -> Result<u64, StoreError> {
    let done = sqlx::query!("DELETE FROM order_otps WHERE expires_at <= $1", now.to_datetime()).execute(db).await?;
    Ok(done.rows_affected())
}

#[cfg(test)]
mod tests {
    use super::*;
    use uuid::Uuid;

    #[test]
    fn it_is_the_standard_function() {
        // RFC 4231, test case 1 with its key of 20 bytes padded by zeros, which is what the function does itself.
        let mut key = [0; 32];
        key[..20].fill(0x0b);
        let hex: String = mac(&key, &[b"Hi ", b"There"]).iter().map(|byte| format!("{byte:02x}")).collect();
        assert_eq!(hex, "b0344c61d8db38535ca8afceaf0bf12b881dc200c9833da726e9376c2e32cff7");
    }

    #[test]
    fn equal_codes_of_two_orders_look_different() {
        let (one, two) = (OrderId(Uuid::from_u128(1)), OrderId(Uuid::from_u128(2)));
        let key = OtpKey::derive(&[1; 32]);
        let code = Otp::parse("4711").unwrap();
        assert_eq!(key.digest(one, &code), key.digest(one, &code));
        assert_ne!(key.digest(one, &code), key.digest(two, &code));
        assert_ne!(key.digest(one, &code), key.digest(one, &Otp::parse("4712").unwrap()));
        assert_ne!(key.digest(one, &code), OtpKey::derive(&[2; 32]).digest(one, &code));
    }
}

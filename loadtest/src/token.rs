//! Bearer tokens: the tester knows the engine's secret and mints one for whoever it plays. Token times are real time,
//! whatever the speed of the engine's clock.

use std::{
    fmt,
    time::{SystemTime, UNIX_EPOCH},
};

use dispatch_engine::wire::token::Claims;
use jsonwebtoken::{EncodingKey, Header};
use uuid::Uuid;

/// Seconds that a token is valid; a new one is made for each request and connection.
const VALID_S: i64 = 12 * 3_600;

/// Whom a token speaks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Role {
    /// The one who sets up and looks at everything.
    Admin,
    /// A merchant.
    Merchant(Uuid),
    /// A rider.
    Rider(Uuid),
}

/// Makes tokens.
#[derive(Clone)]
pub struct Minter(EncodingKey);

impl fmt::Debug for Minter {
    /// The secret never reaches a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Minter(..)")
    }
}

impl Minter {
    /// With the engine's secret.
    pub fn new(secret: &str) -> Self {
        Self(EncodingKey::from_secret(secret.as_bytes()))
    }

    /// A token for one of the roles.
    ///
    /// # Errors
    /// When the claims cannot be signed.
    pub fn mint(&self, role: Role) -> Result<String, jsonwebtoken::errors::Error> {
        let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
        let iat = i64::try_from(since.as_secs()).unwrap_or(i64::MAX - VALID_S);
        let (role, sub) = match role {
            Role::Admin => ("admin", "loadtest".to_owned()),
            Role::Merchant(id) => ("merchant", id.to_string()),
            Role::Rider(id) => ("rider", id.to_string()),
        };
        let claims = Claims { sub, role: role.to_owned(), cities: vec![], iat, exp: iat + VALID_S };
        jsonwebtoken::encode(&Header::default(), &claims, &self.0)
    }
}

#[cfg(test)]
mod tests {
    use jsonwebtoken::{DecodingKey, Validation, decode};

    use super::*;

    #[test]
    fn a_token_reads_back_under_the_secret() {
        let id = Uuid::from_u128(7);
        let token = Minter::new("a secret").mint(Role::Rider(id)).unwrap();
        let key = DecodingKey::from_secret(b"a secret");
        let claims = decode::<Claims>(&token, &key, &Validation::default()).unwrap().claims;
        assert_eq!((claims.sub, claims.role.as_str()), (id.to_string(), "rider"));
        assert!(decode::<Claims>(&token, &DecodingKey::from_secret(b"b"), &Validation::default()).is_err());
    }
}

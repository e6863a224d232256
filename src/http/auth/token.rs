//! Bearer tokens: JWT, HS256. Times in a token are real time, whatever the speed of the engine's clock.

use std::{fmt, sync::Arc};

use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Header, Validation, errors::ErrorKind};
use uuid::Uuid;

use crate::{
    clock::Clock,
    domain::{
        access::{Principal, Role},
        ids::{CityCode, MerchantId, RiderId},
    },
    http::problem::{Code, Failure},
    wire::token::Claims,
};

/// The shortest secret that may sign tokens: the size of the hash, as RFC 7518 section 3.2 demands. The configuration checks it.
pub const MIN_SECRET_BYTES: usize = 32;

/// Seconds by which the clocks of two hosts may differ.
const LEEWAY_S: i64 = 30;

/// Longest token that is looked at.
const MAX_TOKEN_BYTES: usize = 4_096;

/// Why a caller is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AuthError {
    /// No token.
    #[error("no token")]
    Missing,
    /// The header is no bearer header, or the token is no JWT.
    #[error("no bearer token")]
    Malformed,
    /// Its time is over.
    #[error("the token has expired")]
    Expired,
    /// Signed by somebody else, not yet valid, or its claims name nobody.
    #[error("the token is not valid")]
    Invalid,
}

impl AuthError {
    /// The stable code that a client sees.
    #[must_use]
    pub const fn code(self) -> Code {
        match self {
            Self::Missing => Code::TokenMissing,
            Self::Malformed => Code::TokenMalformed,
            Self::Expired => Code::TokenExpired,
            Self::Invalid => Code::TokenInvalid,
        }
    }
}

impl From<AuthError> for Failure {
    fn from(error: AuthError) -> Self {
        Self::new(error.code())
    }
}

/// Issues and checks tokens under one secret. Cheap to clone.
#[derive(Clone)]
pub struct Tokens(Arc<Keys>);

struct Keys {
    encoding: EncodingKey,
    decoding: DecodingKey,
    validation: Validation,
}

impl Tokens {
    /// Under a secret of at least [`MIN_SECRET_BYTES`] bytes.
    #[must_use]
    pub fn new(secret: &[u8]) -> Self {
        let mut validation = Validation::new(Algorithm::HS256);
        // The times are checked below, against this program's own clock.
        validation.validate_exp = false;
        validation.required_spec_claims.clear();
        Self(Arc::new(Keys {
            encoding: EncodingKey::from_secret(secret),
            decoding: DecodingKey::from_secret(secret),
            validation,
        }))
    }

    /// Signs claims.
    #[must_use]
    #[expect(clippy::expect_used, reason = "text and numbers always serialise, and HMAC takes a key of any length")]
    pub fn issue(&self, claims: &Claims) -> String {
        jsonwebtoken::encode(&Header::new(Algorithm::HS256), claims, &self.0.encoding).expect("claims can be signed")
    }

    /// Checks a token and says who calls.
    ///
    /// # Errors
    /// Any [`AuthError`] but `Missing`.
    pub fn verify(&self, token: &str) -> Result<Principal, AuthError> {
        self.verify_at(token, Clock::wall().as_millis() / 1_000)
    }

    fn verify_at(&self, token: &str, now_s: i64) -> Result<Principal, AuthError> {
        if token.len() > MAX_TOKEN_BYTES {
            return Err(AuthError::Malformed);
        }
        let decoded = jsonwebtoken::decode::<Claims>(token, &self.0.decoding, &self.0.validation);
        let claims = match decoded {
            Ok(data) => data.claims,
            Err(error) => {
                return Err(match error.kind() {
                    ErrorKind::InvalidToken | ErrorKind::Base64(_) | ErrorKind::Utf8(_) => AuthError::Malformed,
                    _ => AuthError::Invalid,
                });
            }
        };
        if claims.exp.saturating_add(LEEWAY_S) <= now_s {
            return Err(AuthError::Expired);
        }
        if claims.iat > now_s.saturating_add(LEEWAY_S) {
            return Err(AuthError::Invalid);
        }
        principal(&claims).ok_or(AuthError::Invalid)
    }
}

impl fmt::Debug for Tokens {
    /// Keys never reach a log.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Tokens(..)")
    }
}

fn principal(claims: &Claims) -> Option<Principal> {
    let id = || claims.sub.parse::<Uuid>().ok();
    let name = || (!claims.sub.is_empty() && claims.sub.len() <= 128).then(|| claims.sub.clone());
    match Role::parse(&claims.role).ok()? {
        Role::Rider => id().map(|id| Principal::Rider(RiderId(id))),
        Role::Merchant => id().map(|id| Principal::Merchant(MerchantId(id))),
        Role::Operator => {
            // One code that cannot be read must not turn a narrow token into one for every city.
            let cities = claims.cities.iter().map(|code| CityCode::parse(code).ok()).collect::<Option<Vec<_>>>()?;
            name().map(|name| Principal::Operator { name, cities })
        }
        Role::Admin => name().map(|name| Principal::Admin { name }),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOW: i64 = 1_800_000_000;

    fn claims(role: &str, sub: &str) -> Claims {
        Claims { sub: sub.into(), role: role.into(), cities: vec![], iat: NOW, exp: NOW + 60 }
    }

    fn tokens() -> Tokens {
        Tokens::new(&[7; 32])
    }

    #[test]
    fn what_is_issued_verifies_until_it_expires() {
        let id = Uuid::from_u128(9);
        let token = tokens().issue(&claims("rider", &id.to_string()));
        assert_eq!(tokens().verify_at(&token, NOW), Ok(Principal::Rider(RiderId(id))));
        assert_eq!(tokens().verify_at(&token, NOW + 89), Ok(Principal::Rider(RiderId(id))));
        assert_eq!(tokens().verify_at(&token, NOW + 90), Err(AuthError::Expired));
        assert_eq!(tokens().verify_at(&token, NOW - 31), Err(AuthError::Invalid), "issued in the future");
    }

    #[test]
    fn other_secrets_other_algorithms_and_noise_are_refused() {
        let token = tokens().issue(&claims("admin", "ada"));
        assert_eq!(Tokens::new(&[8; 32]).verify_at(&token, NOW), Err(AuthError::Invalid));
        let other = jsonwebtoken::encode(
            &Header::new(Algorithm::HS512),
            &claims("admin", "ada"),
            &EncodingKey::from_secret(&[7; 32]),
        )
        .unwrap();
        assert_eq!(tokens().verify_at(&other, NOW), Err(AuthError::Invalid));
        // {"alg":"none"} with the same claims and an empty signature.
        let unsigned = format!("eyJhbGciOiJub25lIn0.{}.", token.split('.').nth(1).unwrap());
        assert!(tokens().verify_at(&unsigned, NOW).is_err());
        for noise in ["", "x", "a.b.c", &"x".repeat(5_000)] {
            assert_eq!(tokens().verify_at(noise, NOW), Err(AuthError::Malformed), "{noise:.20}");
        }
    }

    #[test]
    fn claims_that_name_nobody_are_refused() {
        for (role, sub) in [("rider", "bob"), ("merchant", ""), ("operator", ""), ("king", "bob")] {
            let token = tokens().issue(&claims(role, sub));
            assert_eq!(tokens().verify_at(&token, NOW), Err(AuthError::Invalid), "{role} {sub}");
        }
        let token = tokens().issue(&Claims { cities: vec!["Not A City".into()], ..claims("operator", "olga") });
        assert_eq!(tokens().verify_at(&token, NOW), Err(AuthError::Invalid));
    }
}

//! The short commands: `migrate`, `token`, `check-config`.

use std::time::Duration;

use clap::Args;
use uuid::Uuid;

use super::{UsageError, logging};
use crate::{
    actors::location_log,
    app,
    clock::Clock,
    config::{Config, Secret},
    domain::{access::Role, ids::CityCode},
    http::auth::Tokens,
    push,
    store::migrate,
    wire::token::Claims,
};

/// Whose token, for how long.
#[derive(Debug, Args)]
pub struct TokenArgs {
    /// rider, merchant, operator or admin
    #[arg(long, value_parser = role)]
    role: Role,
    /// The id of the rider or merchant; the name of the operator or administrator
    #[arg(long)]
    sub: String,
    /// A city in which an operator may act; may be given several times, none means all
    #[arg(long, value_name = "CODE", value_parser = city)]
    city: Vec<CityCode>,
    /// How long it is valid, as in 12h or 30days
    #[arg(long, default_value = "12h", value_parser = humantime::parse_duration)]
    ttl: Duration,
}

fn role(text: &str) -> Result<Role, String> {
    Role::parse(text).map_err(|error| error.to_string())
}

/// Reads the code of a city.
pub(super) fn city(text: &str) -> Result<CityCode, String> {
    CityCode::parse(text).map_err(|error| error.to_string())
}

/// Prints a token.
///
/// # Errors
/// When the arguments do not go together.
pub fn token(args: &TokenArgs, secret: &Secret) -> anyhow::Result<()> {
    check_sub(args.role, &args.sub)?;
    if !args.city.is_empty() && args.role != Role::Operator {
        return Err(UsageError("--city is for operators only".into()).into());
    }
    let claims = claims(args.role, &args.sub, args.city.iter().map(ToString::to_string).collect(), args.ttl);
    println!("{}", Tokens::new(secret.expose().as_bytes()).issue(&claims));
    Ok(())
}

/// A token whose subject names nobody would be printed and never taken.
fn check_sub(role: Role, sub: &str) -> Result<(), UsageError> {
    let fits = match role {
        Role::Rider | Role::Merchant => Uuid::parse_str(sub).is_ok(),
        Role::Operator | Role::Admin => !sub.trim().is_empty() && sub.len() <= 128,
    };
    match role {
        _ if fits => Ok(()),
        Role::Rider | Role::Merchant => Err(UsageError(format!("--sub of a {role} must be its id"))),
        Role::Operator | Role::Admin => Err(UsageError(format!("--sub of an {role} must be a name of 1 to 128 bytes"))),
    }
}

/// Claims that hold from now on.
pub fn claims(role: Role, sub: &str, cities: Vec<String>, ttl: Duration) -> Claims {
    let iat = Clock::wall().as_millis() / 1_000;
    let exp = iat.saturating_add(i64::try_from(ttl.as_secs()).unwrap_or(i64::MAX));
    Claims { sub: sub.to_owned(), role: role.to_string(), cities, iat, exp }
}

/// Brings the schema up to date.
///
/// # Errors
/// When the database does not answer or a migration fails.
pub fn migrate(config: &Config) -> anyhow::Result<()> {
    config.database_url()?;
    logging::to_terminal(&config.log)?;
    app::run(async {
        let db = app::connect(config).await?;
        migrate::migrate(&db).await?;
        println!("the schema is up to date: {} migrations", migrate::MIGRATIONS.iter().count());
        Ok(())
    })?
}

/// Says what `serve` would complain about.
///
/// # Errors
/// The first complaint.
pub fn check_config(config: &Config) -> anyhow::Result<()> {
    config.database_url()?;
    config.jwt_secret()?;
    config.sealer()?;
    push::provider(&config.push)?;
    location_log::probe(&config.location_log.spool.dir)?;
    println!("{config:#?}");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_printed_for_somebody_only() {
        let id = Uuid::nil().to_string();
        for (role, sub) in [(Role::Rider, &*id), (Role::Merchant, &id), (Role::Operator, "olga"), (Role::Admin, "ada")]
        {
            assert!(check_sub(role, sub).is_ok(), "{role} {sub}");
        }
        let long = "x".repeat(129);
        for (role, sub) in [(Role::Rider, "bob"), (Role::Merchant, ""), (Role::Operator, ""), (Role::Admin, " ")] {
            assert!(check_sub(role, sub).is_err(), "{role} {sub}");
        }
        assert!(check_sub(Role::Operator, &long).is_err());
    }
}

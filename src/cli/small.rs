//! The short commands: `migrate`, `token`, `check-config`.

use std::time::Duration;

use anyhow::{Context, ensure};
use clap::Args;
use uuid::Uuid;

use super::logging;
use crate::{
    app,
    clock::Clock,
    config::Config,
    domain::{access::Role, ids::CityCode},
    http::auth::Tokens,
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

fn city(text: &str) -> Result<CityCode, String> {
    CityCode::parse(text).map_err(|error| error.to_string())
}

/// Prints a token.
///
/// # Errors
/// Without a secret, or when the arguments do not go together.
pub fn token(args: &TokenArgs, config: &Config) -> anyhow::Result<()> {
    let secret = config.jwt_secret()?;
    if matches!(args.role, Role::Rider | Role::Merchant) {
        Uuid::parse_str(&args.sub).with_context(|| format!("--sub of a {} must be its id", args.role))?;
    }
    ensure!(args.city.is_empty() || args.role == Role::Operator, "--city is for operators only");
    let claims = claims(args.role, &args.sub, args.city.iter().map(ToString::to_string).collect(), args.ttl);
    println!("{}", Tokens::new(secret.expose().as_bytes()).issue(&claims));
    Ok(())
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
    println!("{config:#?}");
    Ok(())
}

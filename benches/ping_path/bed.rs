//! What stands still during a measurement: a durable PostgreSQL with a city and its riders.

use std::path::Path;

use anyhow::{Context, Result};
use dispatch_engine::{
    store::{
        Db,
        migrate::{self, PoolOptions},
    },
    supervisor::{DataDir, Postgres, PostgresOptions},
    wire::{LatLon, rest::NewCity},
};
use serde_json::Value;
use sqlx::AssertSqlSafe;
use tempfile::TempDir;

use crate::{programs, rider::id_of, support::token};

const CITY: &str = "blr";

/// The database server.
pub struct Bed {
    _folder: TempDir,
    postgres: Postgres,
    url: String,
    pub db: Db,
}

impl Bed {
    /// Starts one with a city and so many riders, none of them on duty.
    pub async fn make(riders: u32, policy: &Value, workers: usize, log: &Path) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let data = DataDir::open(folder.path())?;
        let options = PostgresOptions {
            bin: std::env::var_os("PGBIN").map(Into::into),
            search_path: std::env::var("PATH").unwrap_or_default(),
            durable: true,
            max_connections: 60,
        };
        let postgres = Postgres::start(&data, &options).await?;
        let url = postgres.ensure_database("ping_path").await?;
        // Brings the schema up to date as well.
        let engine = programs::engine(&url, workers, log).await?;
        found(engine.address, policy).await?;
        engine.terminate().await?;
        let options = PoolOptions {
            connections: 2,
            acquire_timeout: std::time::Duration::from_secs(20),
            statement_timeout: std::time::Duration::from_secs(60),
        };
        let db = migrate::connect(&url, options).await?;
        let ids: Vec<_> = (0..riders).map(id_of).collect();
        sqlx::query(
            "INSERT INTO riders (id, name, mobile, city, kyc_status, vehicle, duty, duty_since, live_city, live_epoch,
                                 created_at, updated_at)
             SELECT id, 'Ravi', id::text, $2, 'APPROVED', 'motorcycle', 'OFF', $3, $2, 0, $3, $3
             FROM UNNEST($1::uuid[]) AS id",
        )
        .bind(ids)
        .bind(CITY)
        .bind(dispatch_engine::clock::Clock::wall().to_datetime())
        .execute(&db)
        .await?;
        sqlx::query("ANALYZE").execute(&db).await?;
        Ok(Self { _folder: folder, postgres, url, db })
    }

    /// Its address.
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The process that all others of it are children of.
    pub const fn postmaster(&self) -> i32 {
        self.postgres.pid()
    }

    /// Points stored.
    pub async fn rows(&self) -> Result<u64> {
        let rows: i64 = sqlx::query_scalar("SELECT count(*) FROM location_logs").fetch_one(&self.db).await?;
        Ok(rows.try_into()?)
    }

    /// Points stored twice.
    pub async fn doubled(&self) -> Result<u64> {
        let sql = "SELECT count(*) - count(DISTINCT (device_id, boot_id, seq)) FROM location_logs";
        let rows: i64 = sqlx::query_scalar(sql).fetch_one(&self.db).await?;
        Ok(rows.try_into()?)
    }

    /// Forgets the points, and writes out what is dirty, so that every engine finds the same.
    pub async fn clear(&self) -> Result<()> {
        for sql in ["TRUNCATE location_logs", "CHECKPOINT"] {
            sqlx::query(AssertSqlSafe(sql)).execute(&self.db).await?;
        }
        Ok(())
    }

    /// Stops the server.
    pub async fn end(self) -> Result<()> {
        self.db.close().await;
        Ok(self.postgres.stop().await?)
    }
}

async fn found(address: std::net::SocketAddr, policy: &Value) -> Result<()> {
    let corners = [(12.85, 77.45), (12.85, 77.75), (13.10, 77.75), (13.10, 77.45)];
    let city = NewCity {
        code: CITY.into(),
        name: "Bengaluru".into(),
        status: None,
        boundary: corners.map(|(lat, lon)| LatLon { lat, lon }).to_vec(),
        time_zone: "Asia/Kolkata".into(),
        day_cutover_min: 240,
        currency: "INR".into(),
        policy: policy.clone(),
        pay_base_minor: None,
        pay_per_km_minor: None,
    };
    let request = reqwest::Client::new().post(format!("http://{address}/v1/cities")).json(&city);
    let answer = request.bearer_auth(token("admin", "bench")).send().await?;
    let status = answer.status();
    let text = answer.text().await?;
    status.is_success().then_some(()).with_context(|| format!("no city: {status} {text}"))
}

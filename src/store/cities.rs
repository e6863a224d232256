//! Cities with their versioned dispatch and pay policies.

use serde_json::{Value, json};
use sqlx::types::Json;

use super::{Db, StoreError};
use crate::domain::{
    city::{Boundary, City, CityStatus},
    ids::CityCode,
    money::Currency,
    position::Position,
    time::Timestamp,
};

/// What a delivery pays in a city.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PayPolicy {
    /// Minor units per delivery.
    pub base_minor: i64,
    /// Minor units per straight-line kilometre from pickup to drop.
    pub per_km_minor: i64,
}

/// The terms under which a city takes an order now.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// The currency of its orders.
    pub currency: Currency,
    /// What a delivery pays.
    pub pay: PayPolicy,
    /// The version of the pay policy.
    pub pay_version: u32,
}

struct Row {
    code: String,
    name: String,
    status: String,
    boundary: Value,
    time_zone: String,
    day_cutover_min: i16,
    currency: String,
    policy: Value,
    policy_version: i32,
}

impl Row {
    fn read(self) -> Result<City, StoreError> {
        let bad = |what: &dyn std::fmt::Display| StoreError::Corrupt(format!("city {}: {what}", self.code));
        Ok(City {
            code: CityCode::parse(&self.code).map_err(|e| bad(&e))?,
            status: CityStatus::parse(&self.status).map_err(|e| bad(&e))?,
            boundary: boundary_of(&self.boundary).ok_or_else(|| bad(&"boundary"))?,
            day_cutover_min: u16::try_from(self.day_cutover_min).map_err(|e| bad(&e))?,
            currency: Currency::parse(&self.currency).map_err(|e| bad(&e))?,
            policy: serde_json::from_value(self.policy.clone()).map_err(|e| bad(&e))?,
            policy_version: u32::try_from(self.policy_version).map_err(|e| bad(&e))?,
            name: self.name,
            time_zone: self.time_zone,
        })
    }
}

/// GeoJSON Polygon with one ring of `[lon, lat]`.
fn geojson(boundary: &Boundary) -> Value {
    let ring: Vec<[f64; 2]> = boundary.corners().map(|(lon, lat)| [lon, lat]).collect();
    json!({ "type": "Polygon", "coordinates": [ring] })
}

fn boundary_of(geojson: &Value) -> Option<Boundary> {
    let ring = geojson.get("coordinates")?.get(0)?.as_array()?;
    let corner = |pair: &Value| Position::new(pair.get(1)?.as_f64()?, pair.get(0)?.as_f64()?).ok();
    Boundary::new(&ring.iter().map(corner).collect::<Option<Vec<_>>>()?).ok()
}

/// Every city with its policy in force, by code.
///
/// # Errors
/// [`StoreError`].
pub async fn list(db: &Db) -> Result<Vec<City>, StoreError> {
    sqlx::query_as!(
        Row,
        r#"SELECT c.code, c.name, c.status, c.boundary, c.time_zone, c.day_cutover_min, c.currency,
                  p.policy, p.version AS policy_version
             FROM cities c
             JOIN LATERAL (SELECT policy, version FROM city_policies WHERE city = c.code
                            ORDER BY version DESC LIMIT 1) p ON true
            ORDER BY c.code"#
    )
    .fetch_all(db)
    .await?
    .into_iter()
    .map(Row::read)
    .collect()
}

/// One city with its policy in force.
///
/// # Errors
/// [`StoreError`].
pub async fn get(db: &Db, code: &CityCode) -> Result<Option<City>, StoreError> {
    sqlx::query_as!(
        Row,
        r#"SELECT c.code, c.name, c.status, c.boundary, c.time_zone, c.day_cutover_min, c.currency,
                  p.policy, p.version AS policy_version
             FROM cities c JOIN city_policies p ON p.city = c.code
            WHERE c.code = $1 ORDER BY p.version DESC LIMIT 1"#,
        code.as_str()
    )
    .fetch_optional(db)
    .await?
    .map(Row::read)
    .transpose()
}

/// What a delivery pays in a city now, and in which currency.
///
/// # Errors
/// [`StoreError`].
pub async fn terms(db: &Db, code: &CityCode) -> Result<Option<Terms>, StoreError> {
    let row = sqlx::query!(
        r#"SELECT c.currency, p.version, p.base_minor, p.per_km_minor
             FROM cities c JOIN pay_policies p ON p.city = c.code
            WHERE c.code = $1 ORDER BY p.version DESC LIMIT 1"#,
        code.as_str()
    )
    .fetch_optional(db)
    .await?;
    row.map(|row| {
        let bad = |what: &dyn std::fmt::Display| StoreError::Corrupt(format!("terms of {code}: {what}"));
        Ok(Terms {
            currency: Currency::parse(&row.currency).map_err(|e| bad(&e))?,
            pay: PayPolicy { base_minor: row.base_minor, per_km_minor: row.per_km_minor },
            pay_version: u32::try_from(row.version).map_err(|e| bad(&e))?,
        })
    })
    .transpose()
}

/// Stores a new city, or changes one. Policies that differ from the ones in force become their next version; saying the
/// same thing twice changes nothing. `city.policy_version` is not read. Answers the city as it now stands, and whether
/// it is new.
///
/// # Errors
/// [`StoreError`].
pub async fn upsert(
    db: &Db,
    city: &City,
    pay: PayPolicy,
    author: &str,
    now: Timestamp,
) -> Result<(City, bool), StoreError> {
    let at = now.to_datetime();
    let mut transaction = db.begin().await?;
    // The row lock that this takes also orders concurrent changes of the policies below.
    let created = sqlx::query_scalar!(
        r#"INSERT INTO cities (code, name, status, boundary, time_zone, day_cutover_min, currency, created_at, updated_at)
           VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $8)
           ON CONFLICT (code) DO UPDATE SET name = $2, status = $3, boundary = $4, time_zone = $5,
                  day_cutover_min = $6, currency = $7, updated_at = $8
           RETURNING (xmax = 0) AS "created!""#,
        city.code.as_str(),
        city.name,
        city.status.as_str(),
        geojson(&city.boundary),
        city.time_zone,
        i16::try_from(city.day_cutover_min).unwrap_or(i16::MAX),
        city.currency.as_str(),
        at
    )
    .fetch_one(&mut *transaction)
    .await?;
    sqlx::query!(
        r#"INSERT INTO city_policies (city, version, policy, author, created_at)
           SELECT $1, coalesce((SELECT max(version) FROM city_policies WHERE city = $1), 0) + 1, $2, $3, $4
            WHERE $2 IS DISTINCT FROM
                  (SELECT policy FROM city_policies WHERE city = $1 ORDER BY version DESC LIMIT 1)"#,
        city.code.as_str(),
        Json(&city.policy) as _,
        author,
        at
    )
    .execute(&mut *transaction)
    .await?;
    sqlx::query!(
        r#"INSERT INTO pay_policies (city, version, base_minor, per_km_minor, created_at)
           SELECT $1, coalesce((SELECT max(version) FROM pay_policies WHERE city = $1), 0) + 1, $2, $3, $4
            WHERE NOT EXISTS
                  (SELECT FROM (SELECT base_minor, per_km_minor FROM pay_policies
                                 WHERE city = $1 ORDER BY version DESC LIMIT 1) AS in_force
                    WHERE in_force.base_minor = $2 AND in_force.per_km_minor = $3)"#,
        city.code.as_str(),
        pay.base_minor,
        pay.per_km_minor,
        at
    )
    .execute(&mut *transaction)
    .await?;
    let version = sqlx::query_scalar!(
        r#"SELECT max(version) AS "version!" FROM city_policies WHERE city = $1"#,
        city.code.as_str()
    )
    .fetch_one(&mut *transaction)
    .await?;
    transaction.commit().await?;
    let policy_version =
        u32::try_from(version).map_err(|_| StoreError::Corrupt(format!("policy version of {}", city.code)))?;
    Ok((City { policy_version, ..city.clone() }, created))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_boundary_reads_back() {
        let corners: Vec<Position> = [(12.9, 77.5), (12.9, 77.7), (13.1, 77.6)]
            .into_iter()
            .map(|(lat, lon)| Position::new(lat, lon).unwrap())
            .collect();
        let boundary = Boundary::new(&corners).unwrap();
        assert_eq!(boundary_of(&geojson(&boundary)), Some(boundary));
        assert_eq!(boundary_of(&json!({ "type": "Polygon", "coordinates": [[[1.0, 99.0]]] })), None);
    }
}

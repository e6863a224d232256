//! Lists of orders: pages, filters, and the partitions that are read.

use std::time::Duration;

use dispatch_engine::{
    domain::{
        ids::{CityCode, MerchantId},
        order::OrderStatus,
        time::Timestamp,
    },
    store::orders::{OrderFilter, id_floor, list},
};
use serde_json::Value;
use sqlx::Row;
use uuid::Uuid;

use crate::harness::start;

fn ids(page: &Value) -> Vec<Uuid> {
    page["orders"].as_array().unwrap().iter().map(|order| order["id"].as_str().unwrap().parse().unwrap()).collect()
}

#[actix_web::test]
async fn pages_walk_from_the_newest_to_the_oldest() {
    let rest = start().await;
    let (_, merchant) = rest.merchant().await;
    let (_, neighbour) = rest.merchant().await;
    let mut placed = vec![];
    for _ in 0..5 {
        placed.push(rest.order(&merchant).await);
    }
    let other = rest.order(&neighbour).await;
    placed.sort_unstable_by(|a, b| b.cmp(a));

    let mut seen = vec![];
    let mut path = "/v1/orders?limit=2".to_owned();
    loop {
        let page = rest.get(&path, &merchant).await;
        seen.extend(ids(page.ok(200)));
        let Some(next) = page.body["next"].as_str() else { break };
        path = format!("/v1/orders?limit=2&page={next}");
    }
    assert_eq!(seen, placed, "each once, newest first, none of a neighbour's");

    let city = format!("/v1/orders?city={}", rest.city);
    let all = rest.get(&city, &rest.admin()).await;
    assert_eq!(ids(all.ok(200)).len(), 6);
    assert!(ids(&all.body).contains(&other) && all.body.get("next").is_none());
    assert!(all.body["orders"][0].get("events").is_none());

    // A token goes with its own filter and its own caller only.
    let first = rest.get(&format!("{city}&limit=1"), &merchant).await;
    let next = first.ok(200)["next"].as_str().unwrap();
    rest.get(&format!("{city}&status=queued&page={next}"), &merchant).await.problem(400, "bad_page_token");
    rest.get(&format!("{city}&page={next}"), &neighbour).await.problem(400, "bad_page_token");
    rest.get(&format!("{city}&page={next}"), &merchant).await.ok(200);
}

#[actix_web::test]
async fn filters_by_state_and_time() {
    let rest = start().await;
    let (_, merchant) = rest.merchant().await;
    let (first, second) = (rest.order(&merchant).await, rest.order(&merchant).await);
    let cancel = format!("/v1/orders/{first}/cancel");
    rest.post(&cancel, &merchant, &serde_json::json!({ "reason": "late" })).await.ok(200);
    let list = async |query: &str| ids(rest.get(&format!("/v1/orders?{query}"), &merchant).await.ok(200));
    assert_eq!(list("status=cancelled,expired").await, [first]);
    assert_eq!(list("status=queued").await, [second]);
    let hour = Duration::from_secs(3_600);
    let now = rest.deps.clock.now();
    let text = |at: Timestamp| at.to_string();
    assert_eq!(list(&format!("from={}&to={}", text(now - hour), text(now + hour))).await.len(), 2);
    assert_eq!(list(&format!("to={}", text(now - hour))).await, Vec::<Uuid>::new());
    assert_eq!(list(&format!("from={}", text(now + hour))).await, Vec::<Uuid>::new());
}

/// The plan of the very statement that the store prepared, after many executions of it, when the server may have turned
/// to a plan without the values.
#[actix_web::test]
async fn a_list_reads_only_the_partitions_of_its_months() {
    let rest = start().await;
    let db = sqlx::postgres::PgPoolOptions::new().max_connections(1).connect(&rest.database_url).await.unwrap();
    let now = rest.deps.clock.now();
    let partitions: i64 = sqlx::query_scalar("SELECT count(*) FROM pg_inherits WHERE inhparent = 'orders'::regclass")
        .fetch_one(&db)
        .await
        .unwrap();
    assert!(partitions >= 3);
    let (from, below) = (id_floor(now), id_floor(now + Duration::from_millis(1)));
    let city = CityCode::parse(&rest.city).unwrap();
    let merchant = MerchantId(Uuid::new_v4());
    let lists = [
        (Some(city.clone()), None, "WHERE city", format!("'{city}', '{from}', '{below}', '{{queued}}', 10")),
        (
            None,
            Some(merchant),
            "WHERE merchant_id",
            format!("'{merchant}', '{from}', '{below}', NULL, '{{queued}}', 10"),
        ),
        (None, None, "WHERE id >=", format!("'{from}', '{below}', '{{queued}}', 10")),
    ];
    for (city, merchant, statement, arguments) in lists {
        let filter = OrderFilter { city, merchant, statuses: Some(vec![OrderStatus::Queued]), from, below };
        for _ in 0..10 {
            list(&db, &filter, 10).await.unwrap();
        }
        let prepared = "SELECT name FROM pg_prepared_statements WHERE position($1 IN statement) > 0 AND NOT from_sql";
        let name: String =
            sqlx::query_scalar(prepared).bind(format!("FROM orders {statement}")).fetch_one(&db).await.unwrap();
        let explain = format!("EXPLAIN (ANALYZE, COSTS OFF) EXECUTE \"{name}\" ({arguments})");
        let plan: Vec<String> = sqlx::raw_sql(sqlx::AssertSqlSafe(explain))
            .fetch_all(&db)
            .await
            .unwrap()
            .iter()
            .map(|row| row.get::<String, _>(0))
            .collect();
        let read = plan.iter().filter(|line| line.contains("Scan") && line.contains(" on orders_y")).count();
        assert_eq!(read, 1, "{}", plan.join("\n"));
    }
}

//! Tags of riders and orders, stored and read again.

use dispatch_engine::{
    domain::{
        ids::{CityCode, RiderId},
        rider::{KycStatus, Vehicle},
        tags::Tags,
    },
    engine::effect::Write,
    store::{
        self, Db, recovery,
        riders::{Inserted, NewRider},
    },
};
use uuid::Uuid;

use crate::journal::{Bed, NOW, REPORT_AGE, plain};

fn tags(words: &[&str]) -> Tags {
    Tags::parse(words).unwrap()
}

async fn hire(db: &Db, city: &CityCode, tags: Tags) -> RiderId {
    let id = RiderId(Uuid::new_v4());
    let rider = NewRider {
        id,
        name: "Asha".into(),
        mobile: format!("+91{:010}", id.0.as_u128() % 10_000_000_000),
        city: city.clone(),
        kyc: KycStatus::Approved,
        vehicle: Vehicle::Bicycle,
        capacity_units: 10,
        tags: tags.clone(),
    };
    let Inserted::Stored(stored) = store::riders::insert(db, &rider, NOW).await.unwrap() else { panic!("taken") };
    assert_eq!(stored.tags, tags.to_texts());
    id
}

#[tokio::test]
async fn a_city_that_starts_reads_the_tags_of_riders_and_orders() {
    let bed = Bed::new().await;
    let mut orders = [plain(None), plain(None), plain(None)];
    orders[0].spec.needs_tags = tags(&["thermal_bag", "cod"]);
    orders[2].spec.needs_tags = tags(&["alcohol"]);
    let placed = bed.commit(orders.iter().cloned().map(Write::Place).collect()).await;
    assert_eq!(placed, [Ok(()), Ok(()), Ok(())]);
    let riders =
        [hire(&bed.db, &bed.city, tags(&["cod", "alcohol"])).await, hire(&bed.db, &bed.city, Tags::NONE).await];
    sqlx::query("UPDATE riders SET live_city = city").execute(&bed.db).await.unwrap();

    let image = recovery::load_city(&bed.db, &bed.city, NOW, REPORT_AGE).await.unwrap();
    for order in &orders {
        let (read, _) = image.orders.iter().find(|(spec, _)| spec.id == order.spec.id).unwrap();
        assert_eq!(read.needs_tags, order.spec.needs_tags);
        let row = store::orders::get(&bed.db, order.spec.id).await.unwrap().unwrap();
        assert_eq!(row.needs_tags, order.spec.needs_tags.to_texts());
    }
    let profiles = store::riders::profiles(&bed.db, &riders).await.unwrap();
    for (rider, expected) in riders.iter().zip([tags(&["alcohol", "cod"]), Tags::NONE]) {
        let restored = image.riders.iter().find(|stored| stored.profile.id == *rider).unwrap();
        assert_eq!(restored.profile.tags, expected);
        assert_eq!(profiles[rider].as_ref().unwrap().0, restored.profile);
    }
}

#[tokio::test]
async fn the_table_takes_no_other_words_and_not_too_many() {
    let bed = Bed::new().await;
    let rider = hire(&bed.db, &bed.city, Tags::NONE).await;
    let long = "x".repeat(33);
    for bad in
        [vec![Some("Cod")], vec![Some("")], vec![Some("a b")], vec![Some(&*long)], vec![None], vec![Some("a"); 9]]
    {
        let update = sqlx::query("UPDATE riders SET tags = $2 WHERE id = $1").bind(rider.0).bind(&bad);
        let refused = update.execute(&bed.db).await.unwrap_err();
        assert!(refused.as_database_error().is_some_and(|error| error.is_check_violation()), "{bad:?}: {refused}");
    }
}

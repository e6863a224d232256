//! Operators watch a city.

use dispatch_engine::wire::operator::OperatorDown;
use serde_json::json;

use crate::support::{
    device::{Device, watch},
    spawn_app,
    world::{KITCHEN, id_of, order},
};

#[tokio::test]
async fn an_operator_sees_the_city_and_its_changes() {
    let app = spawn_app().await;
    app.city("blr", json!({})).await;
    let merchant = app.merchant().await;
    let before = id_of(&app.place(merchant, &order("blr")).await);
    let mut page = watch(&app, "blr").await;
    let snapshot = page.wait_for(|frame: &OperatorDown| match frame {
        OperatorDown::Snapshot(state) => Some(state.clone()),
        _ => None,
    });
    let snapshot = snapshot.await;
    assert_eq!(snapshot.city, "blr");
    assert!(snapshot.orders.iter().any(|row| row.order == before), "{snapshot:?}");

    let mut device = Device::on_duty(&app, "blr", KITCHEN).await;
    device.take_offer().await;
    let assigned = |frame: &OperatorDown| match frame {
        OperatorDown::Delta(delta) => {
            delta.orders.iter().any(|row| row.order == before && row.status == "assigned").then_some(delta.counts)
        }
        _ => None,
    };
    let counts = page.wait_for(assigned).await;
    assert_eq!((counts.riders_on_duty, counts.riders_busy, counts.orders_active), (1, 1, 1));
    let rest = app.get("/v1/cities/blr/snapshot").await;
    assert_eq!(rest.body["counts"]["orders_active"], 1);
}

//! Every kind of frame, sent again after the engine has started anew: each gets its first answer.

use dispatch_engine::{
    clock::Clock,
    wire::rider::{Down, DutyWish, Progress, Up},
};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    TestApp,
    device::Device,
    spawn_app, spawn_app_with,
    world::{DOOR, KITCHEN, id_of, order},
};

fn re(down: &Down) -> Option<&str> {
    match down {
        Down::Offer(offer) => offer.re.as_deref(),
        Down::OfferClosed { re, .. }
        | Down::Assigned { re, .. }
        | Down::OrderChanged { re, .. }
        | Down::DutyChanged { re, .. }
        | Down::Error { re, .. } => re.as_deref(),
        _ => None,
    }
}

async fn answer(device: &mut Device, id: &str, up: &Up) -> Down {
    device.send(up).await;
    device.wait_for(|down| (re(down) == Some(id)).then(|| down.clone())).await
}

/// What must be the same, however the world has changed since.
fn essence(down: &Down) -> Value {
    match down {
        Down::OrderChanged { order, status, version, .. } => json!(["order_changed", order, status, version]),
        Down::DutyChanged { duty, next, .. } => json!(["duty_changed", duty, next]),
        Down::OfferClosed { offer, why, .. } => json!(["offer_closed", offer, why]),
        Down::Error { code, .. } => json!(["error", code]),
        Down::Assigned { job, .. } => json!(["assigned", job.orders[0].order]),
        other => panic!("{other:?}"),
    }
}

fn progress(app: &TestApp, id: &str, order: Uuid, step: &str, proof: Option<Value>) -> Up {
    let (id, step, at) = (id.to_owned(), step.to_owned(), app.clock.now().as_millis());
    Up::Progress(Progress { id, order, step, at, position: Some(DOOR), reason: None, proof })
}

async fn offered(device: &mut Device) -> Uuid {
    device.wait_for(|down| if let Down::Offer(offer) = down { Some(offer.offer) } else { None }).await
}

#[tokio::test]
async fn every_kind_of_frame_gets_its_first_answer_after_a_restart() {
    let app = spawn_app().await;
    app.city("blr", json!({ "round_every_s": 1 })).await;
    let merchant = app.merchant().await;
    let (mut device, _) = Device::connect(&app, app.rider("blr").await).await;
    let mut told: Vec<(String, Up, Value)> = Vec::new();
    let on = Up::Duty { id: "on".into(), state: DutyWish::On };
    let first = essence(&answer(&mut device, "on", &on).await);
    told.push(("on".into(), on, first));
    device.ping(&app, KITCHEN).await;

    let id = id_of(&app.place(merchant, &order("blr")).await);
    let offer = offered(&mut device).await;
    let no = Up::OfferDecline { id: "no".into(), offer, reason: "far".into() };
    told.push(("no".into(), no.clone(), essence(&answer(&mut device, "no", &no).await)));
    // The next round asks again.
    let offer = offered(&mut device).await;
    let seen = Up::OfferSeen { id: "seen".into(), offer };
    assert!(matches!(answer(&mut device, "seen", &seen).await, Down::Offer(_)));
    let yes = Up::OfferAccept { id: "yes".into(), offer };
    told.push(("yes".into(), yes.clone(), essence(&answer(&mut device, "yes", &yes).await)));
    let off = Up::Duty { id: "off".into(), state: DutyWish::Off };
    told.push(("off".into(), off.clone(), essence(&answer(&mut device, "off", &off).await)));
    for step in ["at_pickup", "picked_up"] {
        let up = progress(&app, step, id, step, None);
        told.push((step.into(), up.clone(), essence(&answer(&mut device, step, &up).await)));
    }
    let rider = device.rider;
    let database = app.stop().await;

    let app = spawn_app_with(database, Clock::system(), |_| {}).await;
    let (mut device, welcome) = Device::connect(&app, rider).await;
    assert_eq!((welcome.duty.as_str(), welcome.next_duty.as_deref()), ("ON", Some("OFF")));
    assert_eq!(welcome.duty_why.as_deref(), Some("rider"));
    for (id, up, first) in &told {
        assert_eq!(essence(&answer(&mut device, id, up).await), *first, "{id}");
    }
    let over = answer(&mut device, "seen", &seen).await;
    assert_eq!(essence(&over), json!(["error", "offer_closed"]), "what was seen has been taken since");
    // An id stands for one frame.
    let other = progress(&app, "at_pickup", id, "delivered", None);
    assert_eq!(essence(&answer(&mut device, "at_pickup", &other).await), json!(["error", "frame_id_reused"]));
    assert_eq!(app.order(id).await["status"], "picked_up");

    // Long after the city has forgotten: the store knows.
    device.progress(&app, id, "delivered", DOOR).await;
    let forgotten = "UPDATE device_frames SET created_at = created_at - interval '1 hour'";
    sqlx::query(forgotten).execute(app.db()).await.unwrap();
    sqlx::query("UPDATE orders SET ended_at = ended_at - interval '1 hour'").execute(app.db()).await.unwrap();
    let app = spawn_app_with(app.stop().await, Clock::system(), |_| {}).await;
    let (mut device, welcome) = Device::connect(&app, rider).await;
    assert_eq!((welcome.duty.as_str(), welcome.duty_why.as_deref()), ("OFF", Some("finished")));
    let (id, up, first) = told.iter().find(|(id, ..)| id == "at_pickup").unwrap();
    assert_eq!(essence(&answer(&mut device, id, up).await), *first);
    app.assert_consistent().await;
    app.stop().await;
}

#[tokio::test]
async fn a_delivery_needs_the_recipients_code_and_nobody_can_read_it() {
    let app = spawn_app().await;
    app.city("blr", json!({ "max_otp_tries": 2 })).await;
    let merchant = app.merchant().await;
    let mut device = Device::on_duty(&app, "blr", KITCHEN).await;
    let wish = |code: &str| {
        let mut wish = order("blr");
        wish.drop_otp = Some(dispatch_engine::wire::rest::DropOtp(code.into()));
        wish
    };
    app.place(merchant, &wish("12a4")).await.problem(422, "invalid_field");
    let id = id_of(&app.place(merchant, &wish("471108")).await);
    let job = device.take_offer().await.job;
    assert!(job.orders[0].needs_otp);
    device.progress(&app, id, "picked_up", KITCHEN).await;
    let mut deliver = async |name: &str, code: Option<&str>| {
        let up = progress(&app, name, id, "delivered", code.map(|code| json!({ "otp": code, "photo": "k" })));
        essence(&answer(&mut device, name, &up).await)
    };
    assert_eq!(deliver("a", None).await, json!(["error", "step_incomplete"]));
    assert_eq!(deliver("b", Some("471109")).await, json!(["error", "wrong_otp"]));
    assert_eq!(deliver("b", Some("471108")).await, json!(["error", "frame_id_reused"]));
    assert_eq!(deliver("c", Some("471108")).await[2], "delivered");

    // Wrong too often: operators decide, and pay.
    let second = id_of(&app.place(merchant, &wish("2468")).await);
    device.ping(&app, KITCHEN).await;
    device.take_offer().await;
    device.progress(&app, second, "picked_up", KITCHEN).await;
    for (name, code) in [("d", "wrong_otp"), ("e", "otp_locked")] {
        let up = progress(&app, name, second, "delivered", Some(json!({ "otp": "1357" })));
        assert_eq!(essence(&answer(&mut device, name, &up).await), json!(["error", code]));
    }
    let open = app.get("/v1/cities/blr/disputes?status=open").await;
    let dispute = open.ok(200)["disputes"][0].clone();
    assert_eq!((&dispute["kind"], &dispute["order_id"]), (&json!("otp_locked"), &json!(second)));
    let close = format!("/v1/disputes/{}/close", dispute["id"].as_str().unwrap());
    let decision = |word: &str| json!({ "decision": word, "reason": "the recipient has it" });
    app.post(&close, &decision("perhaps")).await.problem(422, "invalid_field");
    for _ in 0..2 {
        assert_eq!(app.post(&close, &decision("upheld")).await.ok(200)["status"], "upheld");
    }
    app.post(&close, &decision("dismissed")).await.problem(409, "dispute_closed");
    assert_eq!(app.order(second).await["status"], "delivered");

    // The digits stand nowhere in the database.
    for (table, column) in [("order_events", "data"), ("device_frames", "answer"), ("disputes", "report")] {
        let sql = format!("SELECT coalesce(string_agg({column}::text, ' '), '') FROM {table}");
        let text: String = sqlx::query_scalar(sqlx::AssertSqlSafe(sql)).fetch_one(app.db()).await.unwrap();
        assert!(
            !["471108", "471109", "2468", "1357"].iter().any(|code| text.contains(&format!("\"{code}\""))),
            "{table}"
        );
    }
    app.assert_consistent().await;
    app.stop().await;
}

#[tokio::test]
async fn goods_of_a_cancelled_order_are_disputed_and_paid_once() {
    let app = spawn_app().await;
    app.city("blr", json!({})).await;
    let merchant = app.merchant().await;
    let mut device = Device::on_duty(&app, "blr", KITCHEN).await;
    let id = id_of(&app.place(merchant, &order("blr")).await);
    device.take_offer().await;
    let reason = json!({ "reason": "sold out" });
    for _ in 0..2 {
        assert_eq!(app.post(&format!("/v1/orders/{id}/cancel"), &reason).await.ok(200)["status"], "cancelled");
    }
    for (name, step) in [("a", "picked_up"), ("b", "delivered"), ("b", "delivered")] {
        let up = progress(&app, name, id, step, None);
        assert_eq!(essence(&answer(&mut device, name, &up).await), json!(["error", "disputed"]));
    }
    let rider = device.rider;
    let app = spawn_app_with(app.stop().await, Clock::system(), |_| {}).await;
    let (mut device, _) = Device::connect(&app, rider).await;
    let again = progress(&app, "c", id, "delivered", None);
    assert_eq!(essence(&answer(&mut device, "c", &again).await), json!(["error", "disputed"]));
    let disputes = app.get("/v1/cities/blr/disputes").await.ok(200)["disputes"].clone();
    assert_eq!(disputes.as_array().unwrap().len(), 1, "{disputes}");
    assert_eq!((&disputes[0]["kind"], &disputes[0]["report"]["step"]), (&json!("after_end"), &json!("delivered")));
    let close = format!("/v1/disputes/{}/close", disputes[0]["id"].as_str().unwrap());
    for _ in 0..2 {
        app.post(&close, &json!({ "decision": "upheld", "reason": "photo" })).await.ok(200);
    }
    // What he says after the verdict is another dispute, and pays nothing more.
    let later = progress(&app, "d", id, "delivered", None);
    assert_eq!(essence(&answer(&mut device, "d", &later).await), json!(["error", "disputed"]));
    let open = app.get("/v1/cities/blr/disputes?status=open").await.ok(200)["disputes"].clone();
    assert!(open.as_array().unwrap().len() == 1 && open[0]["id"] != disputes[0]["id"], "{open}");
    let close = format!("/v1/disputes/{}/close", open[0]["id"].as_str().unwrap());
    app.post(&close, &json!({ "decision": "upheld", "reason": "photo" })).await.ok(200);
    let order = app.order(id).await;
    assert_eq!(
        (&order["status"], order["events"].as_array().unwrap().last().unwrap()["kind"].as_str()),
        (&json!("cancelled"), Some("dispute_closed"))
    );
    let rider = dispatch_engine::domain::ids::RiderId(rider);
    assert_eq!(crate::support::rows::earned(app.db(), rider).await.len(), 1, "he is paid, and once");
    app.assert_consistent().await;
    app.stop().await;
}

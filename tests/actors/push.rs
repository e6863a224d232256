//! Waking devices, from the city's wish to Google's door, which is played here.

use std::{collections::VecDeque, sync::Mutex, time::Duration};

use actix_web::{App, HttpRequest, HttpResponse, HttpServer, web};
use dispatch_engine::{
    actors::push::{Options, PushHandle},
    clock::Clock,
    config::Secret,
    domain::{
        device::{PushDevice, PushToken},
        ids::{OfferId, RiderId},
        time::Timestamp,
    },
    engine::wake::{Wake, WakeWhy},
    metrics::Metrics,
    push::{self, ProviderKind},
    store::{Db, rider_devices},
};
use jsonwebtoken::{Algorithm, DecodingKey, Validation};
use serde_json::{Value, json};
use uuid::Uuid;

use crate::support::{
    TestDatabase,
    rows::{city_row, rider_row},
    until,
};

const ACCOUNT: &str = include_str!("service_account.json");

/// What Google heard, and what it answers.
#[derive(Default)]
struct Google {
    /// Signed statements that were exchanged.
    statements: Vec<Value>,
    /// Messages, with the access token that came with them.
    messages: Vec<(String, Value)>,
    /// Answers to the next messages: status, `Retry-After`, body. With none left everything is taken.
    answers: VecDeque<(u16, Option<&'static str>, Value)>,
}

type Shared = web::Data<Mutex<Google>>;

async fn token(google: Shared, body: String) -> HttpResponse {
    let signed = body.split_once("assertion=").unwrap().1;
    assert!(body.starts_with("grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Ajwt-bearer&"));
    let key = DecodingKey::from_rsa_pem(include_bytes!("service_account.pub.pem")).unwrap();
    let mut valid = Validation::new(Algorithm::RS256);
    valid.set_audience(&["https://token.invalid/token"]);
    let statement = jsonwebtoken::decode::<Value>(signed, &key, &valid).unwrap().claims;
    let mut google = google.lock().unwrap();
    google.statements.push(statement);
    let token = format!("access-{}", google.statements.len());
    HttpResponse::Ok().json(json!({ "access_token": token, "expires_in": 3_600, "token_type": "Bearer" }))
}

async fn send(google: Shared, request: HttpRequest, body: web::Json<Value>) -> HttpResponse {
    let bearer = request.headers().get("authorization").unwrap().to_str().unwrap().to_owned();
    let mut google = google.lock().unwrap();
    google.messages.push((bearer, body.0));
    let Some((status, after, body)) = google.answers.pop_front() else {
        return HttpResponse::Ok().json(json!({ "name": "projects/fleet-test/messages/1" }));
    };
    let mut answer = HttpResponse::build(status.try_into().unwrap());
    if let Some(after) = after {
        answer.insert_header(("retry-after", after));
    }
    answer.json(body)
}

fn refusal(code: &str) -> Value {
    let kind = "type.googleapis.com/google.firebase.fcm.v1.FcmError";
    json!({ "error": { "details": [{ "@type": kind, "errorCode": code }] } })
}

struct Bed {
    db: Db,
    rider: RiderId,
    clock: Clock,
    push: PushHandle,
    metrics: Metrics,
    google: Shared,
}

impl Bed {
    async fn new(options: Options) -> Self {
        let db = TestDatabase::create().await.db;
        let rider = rider_row(&db, &city_row(&db, "blr").await).await;
        let google = Shared::default();
        let its_google = google.clone();
        let server = HttpServer::new(move || {
            let app = App::new().app_data(its_google.clone()).route("/token", web::post().to(token));
            app.route("/v1/projects/fleet-test/messages:send", web::post().to(send))
        });
        let server = server.workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
        let base = format!("http://{}", server.addrs()[0]);
        actix_web::rt::spawn(server.run());
        let provider = push::provider(&push::Options {
            provider: ProviderKind::Fcm,
            service_account: Some(Secret::new(ACCOUNT.into())),
            token_url: Some(format!("{base}/token")),
            fcm_url: base,
            ..push::Options::default()
        });
        let (clock, metrics) = (Clock::system(), Metrics::new());
        let push = PushHandle::start(db.clone(), clock.clone(), provider.unwrap(), options, &metrics);
        Self { db, rider, clock, push, metrics, google }
    }

    async fn device(&self, device: &str, token: &str, seen_at: i64) {
        let device = PushDevice {
            rider: self.rider,
            device: device.into(),
            provider: "fcm".into(),
            token: PushToken::new(token.into()),
            app_version: "1".into(),
            seen_at: Timestamp::from_millis(seen_at),
        };
        rider_devices::upsert(&self.db, &[device]).await.unwrap();
    }

    async fn tokens(&self) -> Vec<String> {
        let devices = rider_devices::to_wake(&self.db, self.rider, None).await.unwrap().unwrap();
        devices.iter().map(|device| device.token.expose().to_owned()).collect()
    }

    fn wake(&self, offer: OfferId) -> Wake {
        let until = self.clock.now() + Duration::from_secs(60);
        Wake { rider: self.rider, why: WakeWhy::Offer, offer: Some(offer), until }
    }

    fn google(&self, answers: impl IntoIterator<Item = (u16, Option<&'static str>, Value)>) {
        self.google.lock().unwrap().answers.extend(answers);
    }

    /// The tokens of the devices that Google was asked to wake.
    fn asked(&self) -> Vec<String> {
        let google = self.google.lock().unwrap();
        google.messages.iter().map(|(_, body)| body["message"]["token"].as_str().unwrap().to_owned()).collect()
    }

    async fn counted(&self, purpose: &str, result: &str, times: u32) {
        let line = format!(r#"dispatch_pushes_total{{provider="fcm",purpose="{purpose}",result="{result}"}} {times}"#);
        until(&line, || self.metrics.render().unwrap().contains(&line).then_some(())).await;
    }
}

fn quick() -> Options {
    Options { retry_min_ms: 1, ..Options::default() }
}

#[actix_web::test]
async fn a_device_is_woken_with_the_id_of_its_offer() {
    let bed = Bed::new(quick()).await;
    bed.device("phone", "token-1", 1).await;
    let (offer, wake) = (OfferId(Uuid::new_v4()), bed.wake(OfferId(Uuid::nil())));
    bed.push.wake(Wake { offer: Some(offer), ..wake });
    bed.counted("offer", "sent", 1).await;
    bed.push.wake(Wake { why: WakeWhy::AutoOffWarning, offer: None, ..wake });
    bed.counted("auto_off_warning", "sent", 1).await;
    let google = bed.google.lock().unwrap();
    let claims = &google.statements[0];
    assert_eq!(claims["iss"], "push@fleet-test.invalid");
    assert_eq!(claims["scope"], "https://www.googleapis.com/auth/firebase.messaging");
    assert_eq!(google.statements.len(), 1, "the access token is used again");
    let data: Vec<&Value> = google.messages.iter().map(|(_, body)| &body["message"]["data"]).collect();
    let until = wake.until.as_millis().to_string();
    assert_eq!(*data[0], json!({ "purpose": "offer", "offer": offer.to_string(), "expires_at": until }));
    assert_eq!(*data[1], json!({ "purpose": "auto_off_warning", "expires_at": until }));
    assert!(google.messages.iter().all(|(bearer, _)| bearer == "Bearer access-1"));
}

#[actix_web::test]
async fn a_token_that_is_gone_is_forgotten_and_the_next_device_is_woken() {
    let bed = Bed::new(quick()).await;
    bed.device("old", "token-old", 1).await;
    bed.device("new", "token-new", 2).await;
    bed.google([(404, None, refusal("UNREGISTERED"))]);
    bed.push.wake(bed.wake(OfferId(Uuid::new_v4())));
    bed.counted("offer", "sent", 1).await;
    assert_eq!(bed.asked(), ["token-new", "token-old"]);
    assert_eq!(bed.tokens().await, ["token-old"]);
    bed.google([(404, None, refusal("UNREGISTERED"))]);
    bed.push.wake(bed.wake(OfferId(Uuid::new_v4())));
    bed.counted("offer", "token_gone", 1).await;
    bed.push.wake(bed.wake(OfferId(Uuid::new_v4())));
    bed.counted("offer", "no_device", 1).await;
}

#[actix_web::test]
async fn what_may_pass_is_tried_again_and_not_for_ever() {
    let bed = Bed::new(quick()).await;
    bed.device("phone", "token-1", 1).await;
    bed.google([(429, Some("1"), refusal("QUOTA_EXCEEDED")), (401, None, json!({})), (503, None, json!({}))]);
    bed.push.wake(bed.wake(OfferId(Uuid::new_v4())));
    bed.counted("offer", "sent", 1).await;
    assert_eq!(bed.asked().len(), 4);
    let used: Vec<String> = bed.google.lock().unwrap().messages.iter().map(|(bearer, _)| bearer.clone()).collect();
    assert_eq!(used, ["Bearer access-1", "Bearer access-1", "Bearer access-2", "Bearer access-2"]);
    bed.google((0..4).map(|_| (500, None, json!({}))));
    bed.push.wake(bed.wake(OfferId(Uuid::new_v4())));
    bed.counted("offer", "unavailable", 1).await;
    assert_eq!(bed.asked().len(), 8);
    // What only people can mend is not tried again.
    bed.google([(403, None, refusal("PERMISSION_DENIED"))]);
    bed.push.wake(bed.wake(OfferId(Uuid::new_v4())));
    bed.counted("offer", "misconfigured", 1).await;
    assert_eq!((bed.asked().len(), bed.tokens().await.len()), (9, 1));
}

#[actix_web::test]
async fn nothing_is_sent_for_an_offer_that_has_ended() {
    let bed = Bed::new(quick()).await;
    bed.device("phone", "token-1", 1).await;
    bed.push.wake(Wake { until: bed.clock.now(), ..bed.wake(OfferId(Uuid::new_v4())) });
    bed.counted("offer", "too_late", 1).await;
    // The provider would take it when its time is over.
    bed.google([(429, Some("3600"), refusal("QUOTA_EXCEEDED"))]);
    bed.push.wake(bed.wake(OfferId(Uuid::new_v4())));
    bed.counted("offer", "unavailable", 1).await;
    assert_eq!(bed.asked().len(), 1);
    // It is answered on the socket while the provider is not ready.
    let offer = OfferId(Uuid::new_v4());
    sqlx::query(
        "INSERT INTO offers (id, job_id, city, rider_id, order_ids, state, round, payout_minor, currency,
                             pickup_eta_ms, pickup_distance_m, sent_at, expires_at, closed_at)
         VALUES ($1, $1, 'blr', $2, ARRAY[$1], 'declined', 0, 1, 'INR', 1, 1, 'epoch', 'epoch', 'epoch')",
    )
    .bind(offer.0)
    .bind(bed.rider.0)
    .execute(&bed.db)
    .await
    .unwrap();
    bed.push.wake(bed.wake(offer));
    bed.counted("offer", "closed", 1).await;
    assert_eq!(bed.asked().len(), 1);
}

#[actix_web::test]
async fn too_many_wakes_are_dropped_and_counted() {
    let bed = Bed::new(Options { queue: 0, ..quick() }).await;
    bed.push.wake(bed.wake(OfferId(Uuid::new_v4())));
    bed.counted("offer", "queue_full", 1).await;
    assert!(bed.asked().is_empty());
}

#[actix_web::test]
async fn a_phone_has_one_row_whoever_uses_it() {
    let bed = Bed::new(quick()).await;
    bed.device("phone", "token-1", 1).await;
    bed.device("phone", "token-2", 5).await;
    bed.device("tablet", "token-3", 3).await;
    assert_eq!(bed.tokens().await, ["token-2", "token-3"]);
    // An old hello that comes late changes no order.
    bed.device("phone", "token-2", 2).await;
    assert_eq!(bed.tokens().await, ["token-2", "token-3"]);
    // Another rider signs in on the phone.
    let other = rider_row(&bed.db, &city_row(&bed.db, "pune").await).await;
    let seen_at = Timestamp::from_millis(9);
    let phone = |rider, token: &str| PushDevice {
        rider,
        device: "phone".into(),
        provider: "fcm".into(),
        token: PushToken::new(token.into()),
        app_version: "1".into(),
        seen_at,
    };
    // One who does not exist, and one who says two things at once: the last one counts.
    let nobody = phone(RiderId(Uuid::new_v4()), "token-9");
    rider_devices::upsert(&bed.db, &[phone(other, "token-8"), nobody, phone(other, "token-2")]).await.unwrap();
    assert_eq!(bed.tokens().await, ["token-3"]);
    let moved = rider_devices::to_wake(&bed.db, other, None).await.unwrap().unwrap();
    assert_eq!(moved.iter().map(|device| device.token.expose()).collect::<Vec<_>>(), ["token-2"]);
}

#[test]
fn an_account_that_cannot_be_used_is_told_without_its_key() {
    let with = |account: &str| push::Options {
        provider: ProviderKind::Fcm,
        service_account: Some(Secret::new(account.into())),
        ..push::Options::default()
    };
    let broken = ACCOUNT.replace("PRIVATE KEY", "SECRET");
    for (account, says) in [("{\"private_key\": \"hunter2\"}", "column"), (broken.as_str(), "PEM")] {
        let error = push::provider(&with(account)).map(|_| ()).unwrap_err();
        let said = format!("{:#}", anyhow::Error::from(error));
        assert!(said.contains(says) && !said.contains("hunter2"), "{said}");
    }
    let none = push::Options { service_account: None, ..with("") };
    assert!(push::provider(&none).map(|_| ()).unwrap_err().to_string().contains("push.service_account"));
    let bad = push::Options { fcm_url: "fcm.googleapis.com".into(), ..with(ACCOUNT) };
    assert!(push::provider(&bad).map(|_| ()).unwrap_err().to_string().contains("push.fcm_url"));
}

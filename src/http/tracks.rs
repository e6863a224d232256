//! Where a rider was: the stored points of a range of time.

use std::time::Duration;

use actix_web::{
    HttpRequest, HttpResponse, get,
    http::header::{self, Accept, Header, Quality},
    web,
};
use chrono::{DateTime, Utc};
use serde::Deserialize;
use serde_json::{Map, json};
use utoipa::{
    IntoParams,
    openapi::schema::{Object, Type},
};
use uuid::Uuid;

use super::{
    Deps,
    auth::Caller,
    problem::{Code, Failure},
    reads::Read,
    riders, storage,
    track_form::{self, Form, GEO_JSON, Shape},
};
use crate::{
    domain::{
        access::Principal,
        ids::{CityCode, RiderId},
        time::Timestamp,
    },
    engine::audit::AuditRecord,
    store::{
        self,
        location_logs::flags,
        tracks::{Mark, TrackFilter},
    },
    wire::{
        positions::{TrackBody, TrackCollection},
        problem::Problem,
    },
};

/// Largest tolerance, metres.
const MOST_TOLERANCE_M: f64 = 10_000.0;
/// The forms by name.
const FORMATS: [(&str, Form); 2] = [("json", Form::Json), ("geojson", Form::GeoJson)];
/// Characters of a device's id, at most; as sessions let it in.
const MOST_DEVICE_CHARS: usize = 64;
/// Times before and after these are nobody's shift.
const YEARS: std::ops::RangeInclusive<i32> = 2000..=9998;

/// Which part of a track, and how.
#[derive(Debug, Deserialize, IntoParams)]
#[into_params(parameter_in = Query)]
#[serde(deny_unknown_fields)]
pub struct TrackQuery {
    /// Points recorded at this time or later (RFC 3339; write a `+` as `%2B`): the device's time, corrected. A point that
    /// reached the server long after it was recorded is found where it was recorded. Fractions of a millisecond are rounded up.
    pub from: DateTime<Utc>,
    /// Points recorded before this time (RFC 3339), rounded likewise; at most 31 days after `from` unless configured otherwise.
    pub to: DateTime<Utc>,
    /// Stored points per page, at most 10,000 unless configured otherwise, which is also what absent means.
    #[param(minimum = 1)]
    pub limit: Option<u32>,
    /// The `next` of the page before; goes with the same rider, range and `late`, `mock`, `outside`.
    pub page: Option<String>,
    /// Leaves points out that lie within so many metres of the line through the others (Douglas-Peucker), above 0 to 10,000.
    /// The first and the last point of each leg and of each page stay. When a rider was between two points is then no longer
    /// known: a rest shrinks to a point or two.
    #[param(exclusive_minimum = 0, maximum = 10_000)]
    pub simplify_m: Option<f64>,
    /// Seconds between two points after which they are not connected, 1 to 86,400; 300 when absent.
    #[param(minimum = 1, maximum = 86_400)]
    pub gap_s: Option<u32>,
    /// `false` leaves out points that came after a newer one.
    pub late: Option<bool>,
    /// `false` leaves out points that were made up, as the device's platform says.
    pub mock: Option<bool>,
    /// `false` leaves out points outside the service area.
    pub outside: Option<bool>,
    /// `json` or `geojson`; absent, what `Accept` prefers of `application/json` and `application/geo+json`.
    #[param(schema_with = formats)]
    pub format: Option<String>,
}

/// Where a rider was, in the order in which it was recorded (the rider, operators of the rider's city, admin). Operators read
/// what was recorded in their cities. Pages hold what is stored when they are read. What operators and administrators read is
/// noted in the audit log.
#[utoipa::path(
    tag = "positions",
    params(("id" = Uuid, Path, description = "the rider"), TrackQuery),
    responses(
        (status = 200, description = "a page of the track", content(
            (TrackBody = "application/json"), (TrackCollection = "application/geo+json"),
        )),
        (status = 429, description = "`rate_limited`", body = Problem, content_type = "application/problem+json",
         headers(("Retry-After" = u32, description = "seconds after which the caller may read again"))),
        (status = "default", description = "a problem", body = Problem, content_type = "application/problem+json"),
    )
)]
#[get("/v1/riders/{id}/track")]
pub async fn get_track(
    deps: web::Data<Deps>,
    caller: Caller,
    request: HttpRequest,
    id: web::Path<Uuid>,
    query: web::Query<TrackQuery>,
) -> Result<HttpResponse, Failure> {
    let id = RiderId(*id);
    riders::may_ask(&caller.0, id)?;
    let asked = Asked::read(&deps, id, &query, form(&request, query.format.as_deref())?)?;
    deps.reads.count(&caller.0, Read::Track)?;
    let rider = riders::visible(&deps, &caller.0, id).await?;

    let filter = TrackFilter { cities: own_cities(&caller.0), ..asked.filter };
    let (from, to) = (filter.from.to_datetime(), filter.to.to_datetime());
    let most = asked.limit + 1;
    let mut points = {
        let _turn = deps.reads.turn(&deps).await?;
        storage::read(&deps, store::tracks::read(&deps.db, &filter, asked.after.as_ref(), most)).await?
    };
    let is_more = points.len() > asked.limit;
    points.truncate(asked.limit);
    let next = points.last().filter(|_| is_more).map(|last| deps.pages.token_at(&asked.name, &packed(&last.mark())));

    if matches!(caller.0, Principal::Operator { .. } | Principal::Admin { .. }) {
        let detail = json!({ "from": from, "to": to, "points": points.len(), "first_page": asked.after.is_none() });
        let act = AuditRecord {
            id: deps.clock.new_id(),
            at: deps.clock.now(),
            actor: caller.0.actor(),
            action: "track_read",
            rider: Some(id),
            reason: None,
            detail: detail.as_object().cloned().unwrap_or_else(Map::new),
        };
        let city = CityCode::parse(&rider.city).map_err(Failure::internal)?;
        // Without the line there is no answer.
        storage::read(&deps, store::audit::note(&deps.db, &city, &act)).await?;
    }
    let shape = Shape {
        rider: id,
        from,
        to,
        before: asked.after.map(|mark| mark.recorded_at.into()),
        gap: asked.gap,
        tolerance_m: query.simplify_m,
        next,
    };
    // Thousands of points take milliseconds, and this thread has sockets to serve.
    let form = asked.form;
    let body = web::block(move || track_form::body(&points, shape, form)).await.map_err(Failure::internal)?;
    Ok(HttpResponse::Ok()
        .content_type(form.content_type())
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .insert_header((header::VARY, "accept"))
        .body(body?))
}

/// A question that makes sense.
struct Asked {
    filter: TrackFilter,
    /// The page token is bound to it.
    name: String,
    after: Option<Mark>,
    limit: usize,
    gap: Duration,
    form: Form,
}

impl Asked {
    fn read(deps: &Deps, rider: RiderId, query: &TrackQuery, form: Form) -> Result<Self, Failure> {
        use chrono::Datelike;
        let options = deps.reads.options();
        let span = Duration::from_secs(options.track_span_s.into());
        if ![query.from, query.to].iter().all(|time| YEARS.contains(&time.year())) {
            return Err(Failure::query("from and to must lie in the years 2000 to 9998"));
        }
        let (from, to) = (rounded_up(query.from), rounded_up(query.to));
        if from >= to {
            return Err(Failure::query("from must lie before to"));
        }
        if to.since(from) > span {
            return Err(Failure::query(format!("from and to must not be more than {} s apart", span.as_secs())));
        }
        let most = options.track_points;
        let limit = query.limit.unwrap_or(most);
        if !(1..=most).contains(&limit) {
            return Err(Failure::query(format!("limit must lie in 1..={most}")));
        }
        // A NaN lies in no range.
        if query.simplify_m.is_some_and(|metres| !(metres > 0.0 && metres <= MOST_TOLERANCE_M)) {
            return Err(Failure::query(format!("simplify_m must lie above 0 and not above {MOST_TOLERANCE_M}")));
        }
        let gap_s = query.gap_s.unwrap_or(options.track_gap_s);
        if query.gap_s.is_some() && !(1..=86_400).contains(&gap_s) {
            return Err(Failure::query("gap_s must lie in 1..=86400"));
        }
        let wanted = [(query.late, flags::LATE), (query.mock, flags::MOCK), (query.outside, track_form::OUTSIDE)];
        let without = wanted.iter().filter(|(wanted, _)| *wanted == Some(false)).map(|(_, flag)| flag).sum();
        let name = format!("track {rider} {from} {to} {without}");
        let after = query.page.as_deref().map(|token| {
            let mark = unpacked(&deps.pages.place(&name, token)?);
            // What a token says decides what is read, and so it is held to what a row can be.
            mark.filter(|mark| is_within(mark, from, to)).ok_or_else(|| Failure::new(Code::BadPageToken))
        });
        let late = Duration::from_secs(options.late_s.into());
        Ok(Self {
            filter: TrackFilter { rider, from, to, without, cities: None, late },
            name,
            after: after.transpose()?,
            limit: usize::try_from(limit).unwrap_or(usize::MAX),
            gap: Duration::from_secs(gap_s.into()),
            form,
        })
    }
}

/// The cities whose points the caller may read; all when `None`.
pub fn own_cities(caller: &Principal) -> Option<Vec<String>> {
    match caller {
        Principal::Operator { cities, .. } if !cities.is_empty() => {
            Some(cities.iter().map(|city| city.as_str().to_owned()).collect())
        }
        _ => None,
    }
}

/// A time of this engine, which counts in milliseconds. Nothing was recorded between two of them, so that the later one
/// begins and ends a range as the time itself does.
fn rounded_up(time: DateTime<Utc>) -> Timestamp {
    let before = Timestamp::from(time);
    if before.to_datetime() < time { before + Duration::from_millis(1) } else { before }
}

/// The names of the forms, for the OpenAPI document.
fn formats() -> Object {
    Object::builder().schema_type(Type::String).enum_values(Some(FORMATS.map(|(name, _)| name))).build()
}

/// The form that is asked for by name, or else the one that is preferred.
fn form(request: &HttpRequest, named: Option<&str>) -> Result<Form, Failure> {
    if let Some(named) = named {
        let known = FORMATS.iter().find(|(name, _)| *name == named);
        return known.map(|(_, form)| *form).ok_or_else(|| Failure::query("format takes json or geojson"));
    }
    let Ok(Accept(mut accepted)) = Accept::parse(request) else { return Ok(Form::Json) };
    // Quality 0 says what is not acceptable (RFC 9110, 12.4.2).
    accepted.retain(|item| item.quality > Quality::ZERO);
    let first = Accept(accepted).ranked().iter().find_map(|mime| match mime.essence_str() {
        GEO_JSON => Some(Form::GeoJson),
        "application/json" | "application/*" | "*/*" => Some(Form::Json),
        _ => None,
    });
    Ok(first.unwrap_or(Form::Json))
}

/// Whether a point of a range may stand there: within it, and of a device that a session let in.
fn is_within(mark: &Mark, from: Timestamp, to: Timestamp) -> bool {
    (from.to_datetime()..to.to_datetime()).contains(&mark.recorded_at)
        && mark.device_id.chars().count() <= MOST_DEVICE_CHARS
        && !mark.device_id.chars().any(char::is_control)
}

/// A mark in a token: the time in microseconds, the number, the run of the app, the device.
fn packed(mark: &Mark) -> Vec<u8> {
    let mut bytes = mark.recorded_at.timestamp_micros().to_be_bytes().to_vec();
    bytes.extend(mark.seq.to_be_bytes());
    bytes.extend(mark.boot_id.as_bytes());
    bytes.extend(mark.device_id.as_bytes());
    bytes
}

fn unpacked(bytes: &[u8]) -> Option<Mark> {
    let (micros, rest) = bytes.split_first_chunk()?;
    let (seq, rest) = rest.split_first_chunk()?;
    let (boot, device) = rest.split_first_chunk()?;
    Some(Mark {
        recorded_at: DateTime::from_timestamp_micros(i64::from_be_bytes(*micros))?,
        seq: i64::from_be_bytes(*seq),
        boot_id: Uuid::from_bytes(*boot),
        device_id: String::from_utf8(device.to_vec()).ok()?,
    })
}

#[cfg(test)]
mod tests {
    use actix_web::test::TestRequest;

    use super::*;

    #[test]
    fn a_mark_reads_back() {
        let recorded_at = DateTime::from_timestamp_micros(1_790_000_000_123_456).unwrap();
        for device_id in ["", "ünïcode-device"] {
            let mark = Mark { recorded_at, seq: i64::MAX, boot_id: Uuid::from_u128(7), device_id: device_id.into() };
            assert_eq!(unpacked(&packed(&mark)).as_ref(), Some(&mark));
        }
        let mark = Mark { recorded_at, seq: 1, boot_id: Uuid::nil(), device_id: String::new() };
        let bytes = packed(&mark);
        assert!((0..bytes.len()).all(|length| unpacked(&bytes[..length]).is_none()));
        assert!(unpacked(&[bytes, vec![0xFF]].concat()).is_none(), "a device is text");
    }

    #[test]
    fn a_mark_outside_the_range_or_of_no_device_is_none() {
        let (from, to) = (Timestamp::from_millis(1_000), Timestamp::from_millis(2_000));
        let at = |micros| DateTime::from_timestamp_micros(micros).unwrap();
        let mark = |recorded_at, device: &str| Mark {
            recorded_at,
            seq: 1,
            boot_id: Uuid::nil(),
            device_id: device.to_owned(),
        };
        let longest = "ü".repeat(64);
        for (micros, device, wanted) in [
            (1_000_000, "device", true),
            (1_999_999, &*longest, true),
            (999_999, "device", false),
            (2_000_000, "device", false),
            (-6_000_000_000_000_000_000, "device", false),
            (1_000_000, &format!("{longest}ü"), false),
            (1_000_000, "de\0vice", false),
        ] {
            assert_eq!(is_within(&mark(at(micros), device), from, to), wanted, "{micros} {device}");
        }
    }

    #[test]
    fn fractions_of_a_millisecond_are_rounded_up() {
        for (nanos, wanted) in [(0, 0), (1, 1), (999_999, 1), (1_000_000, 1), (1_000_001, 2), (-1, 0), (-1_000_000, -1)]
        {
            assert_eq!(rounded_up(DateTime::from_timestamp_nanos(nanos)), Timestamp::from_millis(wanted), "{nanos}");
        }
    }

    #[test]
    fn the_form_is_what_is_named_or_else_preferred() {
        let form = |accept: &str, named| {
            super::form(&TestRequest::default().insert_header(("accept", accept)).to_http_request(), named)
        };
        for (accept, wanted) in [
            ("*/*", Form::Json),
            ("application/geo+json", Form::GeoJson),
            ("application/geo+json, application/json", Form::GeoJson),
            ("application/json, application/geo+json;q=0.9", Form::Json),
            ("text/html, application/geo+json;q=0.9, */*;q=0.1", Form::GeoJson),
            ("application/geo+json;q=0.2, */*", Form::Json),
            ("application/json;q=0, application/geo+json;q=0.1", Form::GeoJson),
            ("application/geo+json;q=0, application/json;q=0.5", Form::Json),
            ("application/geo+json;q=0, text/html", Form::Json),
            ("application/geo+json;q=0", Form::Json),
            ("text/html", Form::Json),
            ("no accept header at all", Form::Json),
        ] {
            assert_eq!(form(accept, None).unwrap(), wanted, "{accept}");
        }
        assert_eq!(form("application/geo+json", Some("json")).unwrap(), Form::Json);
        assert_eq!(form("application/json", Some("geojson")).unwrap(), Form::GeoJson);
        assert_eq!(form("*/*", Some("kml")).unwrap_err().code(), Code::BadQuery);
    }
}

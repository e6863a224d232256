//! Thinning against its promise, in true metres and without the plane in which it measures.

use proptest::prelude::*;

use super::*;

const GAP: Duration = Duration::from_secs(300);

/// A path with a point every five seconds.
fn path(places: impl IntoIterator<Item = (f64, f64)>) -> Vec<(Timestamp, Position)> {
    let places = places.into_iter().enumerate();
    places.map(|(n, (lat, lon))| (at(5 * n as i64), Position::new(lat, lon).unwrap())).collect()
}

fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(1_790_000_000_000 + seconds * 1_000)
}

fn indices(drawn: &[Vertex]) -> Vec<usize> {
    drawn.iter().map(|vertex| vertex.index).collect()
}

fn starts(drawn: &[Vertex]) -> Vec<usize> {
    drawn.iter().filter(|vertex| vertex.starts).map(|vertex| vertex.index).collect()
}

/// The great-circle distance of a place to the straight line in degrees between two others, found by narrowing down.
fn distance_to_line(place: Position, from: Position, to: Position) -> f64 {
    let east = eastwards(from.lon(), to.lon());
    let on_line = |part: f64| {
        let lon = from.lon() + east * part;
        let lon = if lon > 180.0 {
            lon - 360.0
        } else if lon < -180.0 {
            lon + 360.0
        } else {
            lon
        };
        // Null island is no position, and no test draws a line through it.
        Position::new(from.lat() + (to.lat() - from.lat()) * part, lon).unwrap()
    };
    let (mut low, mut high) = (0.0, 1.0);
    for _ in 0..60 {
        let (a, b) = (low + (high - low) / 3.0, high - (high - low) / 3.0);
        if place.distance_m(on_line(a)) < place.distance_m(on_line(b)) { high = b } else { low = a }
    }
    place.distance_m(on_line(low))
}

/// Fails with the first point that was left out and is farther from the line than allowed.
fn assert_near(points: &[(Timestamp, Position)], drawn: &[Vertex], tolerance_m: f64) {
    for pair in drawn.windows(2) {
        let (first, last) = (pair[0].index, pair[1].index);
        for index in first + 1..last {
            let off = distance_to_line(points[index].1, points[first].1, points[last].1);
            assert!(off <= tolerance_m * (1.0 + 1e-6) + 1e-3, "{index} is {off} m off, not {tolerance_m}");
        }
    }
}

/// A rider's way: steps of up to 200 m in any direction, with rests.
fn ways() -> impl Strategy<Value = Vec<(Timestamp, Position)>> {
    let origins = prop_oneof![
        Just((12.97, 77.59)),
        Just((60.17, 24.94)),
        Just((-17.0, 179.999)),
        Just((66.0, -179.999)),
        Just((0.001, 32.5)),
        Just((89.9, 10.0)),
    ];
    let steps = prop::collection::vec((-200.0..200.0_f64, -200.0..200.0_f64, prop::bool::weighted(0.8)), 0..300);
    (origins, steps).prop_map(|((mut lat, mut lon), steps)| {
        let places = steps.into_iter().map(|(north, east, moves)| {
            if moves {
                lat = (lat + north / 111_195.0).clamp(-89.99, 89.99);
                lon += east / (111_195.0 * f64::to_radians(lat).cos().max(1e-3));
                lon = if lon > 180.0 {
                    lon - 360.0
                } else if lon < -180.0 {
                    lon + 360.0
                } else {
                    lon
                };
            }
            (lat, lon)
        });
        path(places.collect::<Vec<_>>())
    })
}

proptest! {
    #[test]
    fn no_point_that_was_left_out_is_farther_than_the_tolerance(way in ways(), tolerance_m in 0.5..500.0_f64) {
        let drawn = outline(&way, None, GAP, Some(tolerance_m));
        assert_near(&way, &drawn, tolerance_m);
        prop_assert!(indices(&drawn).is_sorted_by(|a, b| a < b));
        prop_assert_eq!(drawn.first().map(|first| first.index), way.first().map(|_| 0));
        prop_assert_eq!(drawn.last().map(|last| last.index), way.len().checked_sub(1));
    }

    #[test]
    fn every_leg_keeps_its_ends(way in ways(), pauses in prop::collection::vec(1..300_usize, 0..5)) {
        let mut way = way;
        for pause in pauses {
            way.iter_mut().skip(pause).for_each(|point| point.0 = point.0 + GAP + Duration::from_secs(1));
        }
        let (whole, thin) = (outline(&way, None, GAP, None), outline(&way, None, GAP, Some(1_000.0)));
        prop_assert_eq!(whole.len(), way.len());
        prop_assert_eq!(starts(&whole), starts(&thin));
        // The point before each start is the last of its leg.
        for start in starts(&whole) {
            prop_assert!(start == 0 || indices(&thin).contains(&(start - 1)));
        }
    }
}

#[test]
fn a_straight_way_is_its_ends_wherever_it_is() {
    for (lat, lon) in [(12.97, 77.59), (60.0, 179.9995), (60.0, -179.9995), (-75.0, 0.5)] {
        let east = |n: i32| {
            let lon = lon + f64::from(n) * 1e-5;
            if lon > 180.0 { lon - 360.0 } else { lon }
        };
        let way = path((0..200).map(|n| (lat, east(n))));
        assert_eq!(indices(&outline(&way, None, GAP, Some(1.0))), [0, 199], "{lat} {lon}");
    }
}

#[test]
fn a_metre_is_a_metre_at_60_degrees_north() {
    // A corner 100 m to the east of a line that runs north: 0.0018 degrees here, 0.0009 at the equator.
    let degrees = 100.0 / 111_195.0 / 60.0_f64.to_radians().cos();
    let way = path([(60.0, 25.0), (60.001, 25.0 + degrees), (60.002, 25.0)]);
    assert_eq!(indices(&outline(&way, None, GAP, Some(99.0))), [0, 1, 2]);
    assert_eq!(indices(&outline(&way, None, GAP, Some(101.0))), [0, 2]);
}

#[test]
fn a_way_across_the_antimeridian_is_no_way_round_the_earth() {
    let way = path([(-17.0, 179.999), (-17.000_1, -179.999_9), (-17.0, -179.999)]);
    assert_eq!(indices(&outline(&way, None, GAP, Some(50.0))), [0, 2]);
}

#[test]
fn legs_end_at_gaps_and_go_on_over_pages() {
    let mut way = path((0..6).map(|n| (12.97, 77.59 + f64::from(n) * 1e-4)));
    way[3..].iter_mut().for_each(|point| point.0 = point.0 + GAP);
    assert_eq!(starts(&outline(&way, None, GAP, None)), [0, 3]);
    assert_eq!(starts(&outline(&way, Some(at(-5)), GAP, None)), [3], "the page before ended 5 s earlier");
    assert_eq!(starts(&outline(&way, Some(at(-301)), GAP, None)), [0, 3]);
    assert_eq!(starts(&outline(&way, None, GAP * 2, None)), [0]);
    assert_eq!(indices(&outline(&way, None, GAP, Some(10.0))), [0, 2, 3, 5]);
    assert_eq!(outline(&[], None, GAP, Some(10.0)), []);
    assert_eq!(indices(&outline(&way[..1], None, GAP, Some(10.0))), [0]);
}

/// A curve that is cut at its very end again and again: on a hundred thousand points at once the recursion would go as deep.
#[test]
fn a_way_made_to_be_hard_is_thinned_in_pieces() {
    let curl = |n: i32| (12.0 + 1.001_f64.powi(-n), 77.0 + if n % 2 == 0 { 0.1 } else { 0.0 });
    let way = path((0..100_000).map(curl));
    let drawn = outline(&way, None, GAP, Some(5.0));
    assert_eq!((drawn.first().unwrap().index, drawn.last().unwrap().index), (0, 99_999));
    let still = path((0..100_000).map(|_| (12.97, 77.59)));
    let drawn = outline(&still, None, GAP, Some(5.0));
    assert!(drawn.len() <= 2 + 100_000 / (PIECE - 1), "{}", drawn.len());
}

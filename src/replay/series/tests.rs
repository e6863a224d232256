//! The bins of a small day, counted by hand, and what holds for any day.

use proptest::prelude::*;

use super::*;
use crate::replay::{
    quality::{
        Quality,
        tests::{any_day, small_day},
    },
    spans::total,
};

const MINUTE: i64 = 60_000;

#[test]
fn bins_are_coarser_for_longer_days() {
    let minutes = |hours: i64| bin_width(hours * 60 * MINUTE) / MINUTE;
    assert_eq!(
        [0, 1, 12, 13, 24, 30, 48, 144, 145, 288, 300].map(minutes),
        [5, 5, 5, 10, 10, 15, 20, 60, 120, 180, 180]
    );
    assert_eq!(bin_width(12 * 60 * MINUTE + 1), 10 * MINUTE);
}

#[test]
fn a_small_day_in_bins_of_half_an_hour() {
    let series = Series::of(&small_day(), 30 * MINUTE);
    assert_eq!(series.placed, [3, 2, 0, 0]);
    assert_eq!(series.delivered, [0, 2, 1, 0]);
    // Order 1 for 6 minutes, 2 for 10, 3 for 1; then 4 for 15 and 5 for 10; 5 alone afterwards.
    assert_eq!(series.waiting, [17.0 / 30.0, 25.0 / 30.0, 1.0, 1.0]);
    assert_eq!(series.in_hand, [(24.0 + 10.0 + 9.0) / 30.0, (30.0 + 10.0) / 30.0, 0.0, 0.0]);
    assert_eq!(series.on_duty, [1.0, 2.0, 2.0, 1.0]);
    assert_eq!(series.busy, [24.0 / 30.0, 25.0 / 30.0, 5.0 / 30.0, 20.0 / 30.0]);
    assert_eq!(series.click_to_door_p50_minutes, [Some(30.0), None, None, None]);
    assert_eq!(series.click_to_door_p90_minutes, [Some(50.0), None, None, None]);
    assert_eq!(series.order_wait_p50_minutes, [Some(2.0), None, None, None]);
    assert_eq!(series.rider_wait_p50_minutes, [Some(1.0), None, None, None]);
    assert_eq!(series.on_time_share, [None, Some(0.5), Some(0.0), None]);
    assert_eq!(series.oldest_since_placed_minutes, [10.0, 15.0, 40.0, 70.0]);
    assert_eq!(series.oldest_since_ready_minutes, [0.0, 5.0, 30.0, 60.0]);
    assert_eq!(series.middle_s(1), 43_200.0 + 45.0 * 60.0);
}

#[test]
fn the_last_bin_is_cut_short_and_an_empty_observation_has_none() {
    let mut day = small_day();
    day.until = 95 * MINUTE;
    let series = Series::of(&day, 30 * MINUTE);
    assert_eq!((series.placed.len(), series.waiting[3], series.on_duty[3]), (4, 1.0, 1.0));
    day.until = 0;
    assert_eq!(Series::of(&day, 30 * MINUTE).placed, [] as [u32; 0]);
}

proptest! {
    #[test]
    fn bins_add_up_to_the_day(day in any_day(), width in 1i64..7_000) {
        let series = Series::of(&day, width);
        let bins = series.placed.len();
        let lengths = [
            series.delivered.len(), series.waiting.len(), series.in_hand.len(), series.on_duty.len(), series.busy.len(),
            series.click_to_door_p50_minutes.len(), series.order_wait_p50_minutes.len(), series.on_time_share.len(),
            series.oldest_since_placed_minutes.len(),
        ];
        prop_assert!(lengths.iter().all(|length| *length == bins));
        let seen = day.orders.iter().filter(|order| (0..=day.until).contains(&order.placed)).count();
        prop_assert_eq!(series.placed.iter().sum::<u32>() as usize, if day.until > 0 { seen } else { 0 });

        let length = |bin: usize| (day.until.min((bin as i64 + 1) * width) - bin as i64 * width) as f64;
        let weighed = |means: &[f64]| means.iter().enumerate().map(|(bin, mean)| mean * length(bin)).sum::<f64>();
        let clipped = |span: Span| (span.1 - span.0.max(0)).max(0) as f64;
        let waited: f64 = day.orders.iter().filter_map(|order| order.without_rider(day.until)).map(clipped).sum();
        prop_assert!((weighed(&series.waiting) - waited).abs() < 1e-3);
        let on_duty = |spans: &[Span]| total(&within(spans, (0, day.until))) as f64;
        let duty: f64 = day.riders.iter().map(|rider| on_duty(&rider.on_duty)).sum();
        prop_assert!((weighed(&series.on_duty) - duty).abs() < 1e-3);
    }

    /// The figure of the day is the peak of the plot.
    #[test]
    fn the_oldest_of_the_day_is_the_oldest_of_some_bin(mut day in any_day(), width in 1i64..7_000) {
        day.orders.retain(|order| order.placed >= 0);
        let peak = Series::of(&day, width).oldest_since_placed_minutes.into_iter().fold(0.0, f64::max);
        prop_assert_eq!(Quality::of(&day).oldest_since_placed.max_minutes.unwrap_or(0.0), peak);
    }
}

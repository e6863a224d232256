//! The estimate of a device's clock, tried with devices whose true error is known.

use proptest::prelude::*;

use super::*;

const NOW: i64 = 1_900_000_000_000;
/// A phone's network: some milliseconds that a frame may take.
const DELAYS: [i64; 8] = [120, 60, 340, 80, 210, 95, 1_500, 70];

/// The greatest error that is corrected: two days.
const MOST: i64 = 48 * 3_600_000;

/// A device that pings every 5 s, and what the server makes of it.
struct Device {
    skew: Skew,
    now: i64,
    /// The device's clock minus the server's, milliseconds.
    error: i64,
    tells: bool,
    seq: u64,
}

impl Device {
    fn new(error: i64, tells: bool) -> Self {
        let mut device = Self { skew: Skew::default(), now: NOW, error, tells, seq: 0 };
        device.skew.hello(Timestamp::from_millis(NOW + 150), NOW + error);
        device
    }

    /// Sends its next points, recorded so many milliseconds ago, all in one frame.
    fn frame(&mut self, ages: &[i64]) {
        let sent = self.now + self.error;
        let points: Vec<(u64, i64)> = ages.iter().zip(self.seq + 1..).map(|(age, seq)| (seq, sent - age)).collect();
        self.seq += ages.len() as u64;
        let delay = DELAYS[(self.seq % 8) as usize];
        self.skew.frame(Timestamp::from_millis(self.now + delay), self.tells.then_some(sent), points.into_iter(), MOST);
    }

    fn ping(&mut self, times: usize) {
        for _ in 0..times {
            self.now += 5_000;
            self.frame(&[30]);
        }
    }

    /// What is left of the error.
    fn off(&self) -> i64 {
        self.skew.now_ms() + self.error
    }
}

#[test]
fn a_clock_that_is_right_is_not_corrected_by_the_networks_delay() {
    for tells in [true, false] {
        for error in [-300, 0, 300] {
            let mut device = Device::new(error, tells);
            device.ping(100);
            assert_eq!(device.skew.now_ms(), 0);
        }
    }
}

#[test]
fn a_wrong_clock_is_corrected_by_its_hello_up_to_the_networks_delay() {
    for error in [-172_000_000, -61_000, -2_000, 2_000, 61_000, 172_000_000] {
        for tells in [true, false] {
            let mut device = Device::new(error, tells);
            assert!((0..=JITTER_MS).contains(&device.off()), "{error}: {}", device.off());
            device.ping(50);
            assert!((0..=JITTER_MS).contains(&device.off()), "{error}: {}", device.off());
        }
    }
}

#[test]
fn a_hello_that_was_long_on_the_way_is_mended_by_a_faster_frame() {
    let mut device = Device::new(0, true);
    device.skew = Skew::default();
    device.skew.hello(Timestamp::from_millis(NOW + 4_000), NOW);
    assert_eq!(device.skew.now_ms(), 4_000);
    device.ping(1);
    assert_eq!(device.skew.now_ms(), 0);
}

#[test]
fn a_clock_that_is_set_is_followed_within_a_few_frames_in_both_directions() {
    for (step, frames) in [(3_600_000, 1), (8_000, 1), (-8_000, 3), (-3_600_000, 3)] {
        let mut device = Device::new(20_000, true);
        device.ping(10);
        let before = device.seq;
        device.error += step;
        device.ping(frames);
        assert!((-5_000..=2_000).contains(&device.off()), "{step}: {}", device.off());
        // Points from before are dated with the clock of then.
        assert!((device.skew.of(before) + 20_000).abs() <= JITTER_MS, "{step}");
        assert_eq!(device.skew.of(before + 1), device.skew.now_ms());
    }
}

#[test]
fn a_device_that_does_not_say_when_it_sends_is_followed_too() {
    for step in [3_600_000, -3_600_000] {
        let mut device = Device::new(0, false);
        device.ping(10);
        device.error += step;
        device.ping(CONFIRM as usize);
        assert!(device.off().abs() <= 2_000, "{step}: {}", device.off());
    }
}

#[test]
fn old_points_are_no_clock_that_was_set_back() {
    for tells in [true, false] {
        let mut device = Device::new(0, tells);
        device.ping(5);
        device.now += 3_600_000;
        // An hour in a tunnel, sent ten points a frame, a frame every tenth of a second; then many frames of one.
        for frame in 0..60 {
            let oldest = 3_600_000 - frame * 60_000;
            let ages: Vec<i64> = (0..10).map(|n| oldest - n * 1_000).collect();
            device.now += 100;
            device.frame(&ages);
        }
        for n in 0..30 {
            device.now += 10;
            device.frame(&[40_000 - n * 1_000]);
        }
        assert_eq!(device.skew.now_ms(), 0, "{tells}");
    }
}

#[test]
fn one_cached_fix_and_one_invented_time_change_nothing() {
    let mut device = Device::new(0, false);
    device.ping(5);
    for age in [600_000, -3_600_000, i64::MIN / 2, i64::MAX / 2] {
        device.frame(&[age]);
        device.ping(2);
        assert_eq!(device.skew.now_ms(), 0, "{age}");
    }
}

#[test]
fn a_jam_of_the_network_ends_with_the_next_fast_frame() {
    let mut device = Device::new(0, true);
    device.ping(5);
    for late in [9_000, 9_500, 10_000, 9_200] {
        device.now += 5_000;
        let sent = device.now - late;
        device.skew.frame(Timestamp::from_millis(device.now), Some(sent), std::iter::empty(), MOST);
    }
    assert_eq!(device.skew.now_ms(), 9_000, "four frames that agree look like a clock that was set back");
    device.ping(2);
    assert_eq!(device.skew.now_ms(), 0);
}

#[test]
fn a_slow_drift_is_followed_for_a_day_in_both_directions() {
    for (tells, ppm) in [(true, 80), (true, -80), (false, 80), (false, -80)] {
        let mut device = Device::new(0, tells);
        for n in 0..17_280 {
            device.error = n * 5_000 * ppm / 1_000_000;
            device.ping(1);
            assert!(device.off().abs() <= 2 * JITTER_MS, "{ppm} ppm after {n} pings: {}", device.off());
        }
    }
}

/// A time of sending that is nonsense, once: the points of its frame are right.
#[test]
fn one_invented_time_of_sending_changes_nothing() {
    const DAY: i64 = 86_400_000;
    for wrong in [9 * DAY, -9 * DAY, 3_600_000, -3_600_000, 8_000, i64::MAX / 2, i64::MIN / 2] {
        let mut device = Device::new(0, true);
        device.ping(2);
        for _ in 0..4 {
            device.now += 5_000;
            device.seq += 1;
            let point = (device.seq, device.now - 30);
            device.skew.frame(
                Timestamp::from_millis(device.now + 80),
                Some(device.now + wrong),
                [point].into_iter(),
                MOST,
            );
            assert_eq!((device.skew.now_ms(), device.skew.of(device.seq)), (0, 0), "{wrong}");
            device.ping(1);
            assert_eq!(device.skew.now_ms(), 0, "{wrong}");
        }
    }
}

#[test]
fn a_point_later_than_its_frame_proves_no_step() {
    let mut device = Device::new(0, true);
    device.ping(2);
    let (now, sent) = (Timestamp::from_millis(device.now + 5_080), device.now + 5_000 + 600_000);
    device.skew.frame(now, Some(sent), [(3, sent + 10_000)].into_iter(), MOST);
    assert_eq!(device.skew.now_ms(), 0);
}

#[test]
fn an_error_that_is_not_corrected_is_believed_when_frames_agree_and_left_at_once() {
    let mut device = Device::new(0, true);
    device.ping(5);
    device.error = MOST + 60_000;
    for _ in 1..CONFIRM {
        device.ping(1);
        assert_eq!(device.skew.now_ms(), 0);
    }
    device.ping(1);
    assert!((0..=JITTER_MS).contains(&device.off()));
    // The clock is put right: points were refused until then, and there is nothing to lose.
    device.error = 0;
    device.ping(1);
    assert!((0..=JITTER_MS).contains(&device.off()), "{}", device.off());

    let mut device = Device::new(9 * 86_400_000, true);
    device.error = 0;
    device.ping(1);
    assert_eq!(device.skew.now_ms(), 0, "only hello was wrong");
}

#[test]
fn a_clock_that_was_set_back_is_followed_at_once_where_points_prove_it() {
    for step in [-8_000, -3_600_000] {
        let mut device = Device::new(20_000, true);
        device.ping(10);
        let before = device.seq;
        device.error += step;
        device.ping(1);
        assert!((0..=2_000).contains(&device.off()), "{step}: {}", device.off());
        assert!((device.skew.of(before) + 20_000).abs() <= JITTER_MS, "{step}");
    }
    // A frame that was long on the way bears times that rise, and an old point under a higher number is no fresh one.
    let mut device = Device::new(0, true);
    device.ping(10);
    device.now += 5_000;
    let at = device.now - 60;
    device.skew.frame(Timestamp::from_millis(device.now + 40_000), Some(device.now), [(11, at)].into_iter(), MOST);
    assert_eq!(device.skew.now_ms(), 0);
    device.seq = 11;
    device.now += 40_000;
    let (now, sent) = (Timestamp::from_millis(device.now), device.now - 20_000);
    device.skew.frame(now, Some(sent), [(12, device.now - 3_600_000)].into_iter(), MOST);
    assert_eq!(device.skew.now_ms(), 0);
}

proptest! {
    #[test]
    fn no_numbers_break_it(
        frames in proptest::collection::vec(
            (any::<i64>(), any::<Option<i64>>(), proptest::collection::vec((any::<u64>(), any::<i64>()), 0..5)), 0..30),
    ) {
        let mut skew = Skew::default();
        for (now, sent, points) in frames {
            skew.frame(Timestamp::from_millis(now), sent, points.into_iter(), MOST);
            let _ = (skew.now_ms(), skew.of(7));
        }
    }
}

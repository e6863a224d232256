//! Spans of time as sets: cut to a window, joined where they touch, measured, compared. What a rider did is told in spans,
//! and a span that is still open ends never.

use super::outcome::Span;

/// The parts of the spans that lie in a window, in time, joined where they touch or overlap, without empty ones.
#[must_use]
pub fn within(spans: &[Span], window: Span) -> Vec<Span> {
    let cut = |&(from, to): &Span| (from.max(window.0), to.min(window.1));
    let mut parts: Vec<Span> = spans.iter().map(cut).filter(|(from, to)| from < to).collect();
    parts.sort_unstable();
    let mut joined: Vec<Span> = Vec::with_capacity(parts.len());
    for (from, to) in parts {
        match joined.last_mut() {
            Some(last) if from <= last.1 => last.1 = last.1.max(to),
            _ => joined.push((from, to)),
        }
    }
    joined
}

/// The time that both lists hold; each as [`within`] leaves it.
#[must_use]
pub fn common(one: &[Span], other: &[Span]) -> Vec<Span> {
    let (mut i, mut j) = (0, 0);
    let mut both = Vec::new();
    while let (Some(a), Some(b)) = (one.get(i), other.get(j)) {
        let (from, to) = (a.0.max(b.0), a.1.min(b.1));
        if from < to {
            both.push((from, to));
        }
        if a.1 <= b.1 {
            i += 1;
        } else {
            j += 1;
        }
    }
    both
}

/// How long the spans are together, milliseconds.
#[must_use]
pub fn total(spans: &[Span]) -> i64 {
    spans.iter().map(|(from, to)| to - from).sum()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn spans_are_cut_sorted_and_joined() {
        let spans = [(50, i64::MAX), (-10, 5), (5, 7), (20, 30), (25, 28), (8, 8)];
        assert_eq!(within(&spans, (0, 60)), [(0, 7), (20, 30), (50, 60)]);
        assert_eq!(within(&spans, (60, 60)), []);
        assert_eq!(total(&within(&spans, (0, 60))), 27);
    }

    #[test]
    fn the_common_time_of_two_lists() {
        assert_eq!(common(&[(0, 10), (20, 30)], &[(5, 25), (29, 40)]), [(5, 10), (20, 25), (29, 30)]);
        assert_eq!(common(&[(0, 10)], &[(10, 20)]), []);
        assert_eq!(common(&[], &[(1, 2)]), []);
    }

    proptest! {
        /// Millisecond by millisecond, the sets hold what they should.
        #[test]
        fn as_if_counted(
            one in prop::collection::vec((-5i64..40, -5i64..40), 0..6),
            other in prop::collection::vec((-5i64..40, -5i64..40), 0..6),
        ) {
            let holds = |spans: &[Span], t: i64| spans.iter().any(|(from, to)| (*from..*to).contains(&t));
            let (a, b) = (within(&one, (0, 30)), within(&other, (0, 30)));
            let both = common(&a, &b);
            prop_assert!(a.windows(2).all(|pair| pair[0].1 < pair[1].0));
            for t in -5..40 {
                prop_assert_eq!(holds(&a, t), holds(&one, t) && (0..30).contains(&t));
                prop_assert_eq!(holds(&both, t), holds(&a, t) && holds(&b, t));
            }
            prop_assert_eq!(total(&a), (-5..40).filter(|t| holds(&a, *t)).count() as i64);
        }
    }
}

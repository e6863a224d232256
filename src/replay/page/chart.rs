//! One plot over the day as SVG. The plotter writes fixed colours; the page's style sheet replaces each by a variable of the
//! theme (an attribute selector per colour), so that the SVG follows light, dark and print without being rewritten.

use std::ops::Range;

use plotters::{
    coord::{
        ranged1d::{DefaultFormatting, KeyPointHint, Ranged},
        types::RangedCoordf64,
    },
    prelude::{AreaSeries, ChartBuilder, Circle, DrawingArea, IntoDrawingArea, LineSeries, SVGBackend},
    style::{
        Color, FontFamily, IntoFont, RGBColor, ShapeStyle,
        text_anchor::{HPos, Pos, VPos},
    },
};

/// Units of the drawing, not pixels: the page scales it. The plotter rounds to whole units, so there are many.
const SIZE: (u32, u32) = (1_000, 460);
const FONT: i32 = 30;

const TEXT: RGBColor = RGBColor(0x44, 0x44, 0x44);
const GRID: RGBColor = RGBColor(0xDD, 0xDD, 0xDD);

/// Most labels on an axis.
const MOST_TICKS: f64 = 6.0;

/// Distances between labels of the time of day, minutes.
const TIME_STEPS: [f64; 9] = [5.0, 10.0, 15.0, 30.0, 60.0, 120.0, 180.0, 240.0, 360.0];

/// What a line is drawn in: a colour that the style sheet knows, with a dash pattern of its own, so that lines can be told
/// apart without colours.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Colour(RGBColor);

impl Colour {
    /// The grey of what several dispatchers share.
    pub const GROUND: Self = Self(RGBColor(0xC8, 0xCD, 0xD2));
    /// The line of a target.
    pub const MARK: Self = Self(RGBColor(0x88, 0x88, 0x88));
    /// For dispatchers; after Okabe and Ito, and Tol, whose colours differ to the colour-blind.
    pub const LINES: [Self; 6] = [
        Self(RGBColor(0x00, 0x72, 0xB2)),
        Self(RGBColor(0xD5, 0x5E, 0x00)),
        Self(RGBColor(0x00, 0x9E, 0x73)),
        Self(RGBColor(0xAA, 0x33, 0x77)),
        Self(RGBColor(0xE6, 0x9F, 0x00)),
        Self(RGBColor(0x56, 0xB4, 0xE9)),
    ];

    /// The colour of the n-th dispatcher; they repeat after six.
    pub const fn number(n: usize) -> Self {
        Self::LINES[n % Self::LINES.len()]
    }

    /// As it stands in the SVG.
    pub fn hex(self) -> String {
        let RGBColor(red, green, blue) = self.0;
        format!("#{red:02X}{green:02X}{blue:02X}")
    }
}

/// How values are labelled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Scale {
    /// Things, or minutes: from 0 to what is needed.
    Amount,
    /// A share: 0 to 100 %.
    Share,
}

/// A line with gaps where nothing was measured: the second of the day, and a value.
pub struct Line {
    /// What it shows.
    pub label: String,
    /// How it is drawn.
    pub colour: Colour,
    /// Its points in time.
    pub points: Vec<(f64, Option<f64>)>,
}

/// A plot over the day.
pub struct Chart {
    /// What it shows.
    pub title: &'static str,
    /// What the values are, with the unit.
    pub unit: String,
    /// One sentence on how to read it.
    pub reading: &'static str,
    /// How values are labelled.
    pub scale: Scale,
    /// From and to, seconds of the day.
    pub day: (f64, f64),
    /// A filled area behind the lines.
    pub ground: Option<Line>,
    /// A value worth comparing with, and what it is.
    pub mark: Option<(f64, &'static str)>,
    /// The lines.
    pub lines: Vec<Line>,
}

impl Chart {
    /// What the colours mean.
    pub fn key(&self) -> Vec<(Colour, &str)> {
        let mark = self.visible_mark().map(|(_, label)| (Colour::MARK, label));
        self.ground.iter().chain(&self.lines).map(|line| (line.colour, line.label.as_str())).chain(mark).collect()
    }

    /// Draws it.
    pub fn svg(&self) -> Result<String, String> {
        let mut svg = String::new();
        let area = SVGBackend::with_string(&mut svg, SIZE).into_drawing_area();
        self.draw(&area).map_err(|error| error.to_string())?;
        // It borrows the text.
        drop(area);
        Ok(svg)
    }

    fn draw(
        &self,
        area: &DrawingArea<SVGBackend, plotters::coord::Shift>,
    ) -> Result<(), Box<dyn std::error::Error + '_>> {
        let (from, to) = (self.day.0, self.day.1.max(self.day.0 + 60.0));
        let values = self.value_ticks();
        let top = values.last().copied().unwrap_or(1.0);
        let decimals = usize::from(values.get(1).is_some_and(|step| *step < 1.0));
        let mut chart = ChartBuilder::on(area)
            .margin_top(14)
            .margin_right(50)
            .x_label_area_size(84)
            .y_label_area_size(118)
            .build_cartesian_2d(Axis::new(from, to, time_ticks(from, to)), Axis::new(0.0, top, values))?;
        let text = || (FontFamily::SansSerif, FONT).into_font().color(&TEXT);
        chart
            .configure_mesh()
            .disable_x_mesh()
            .bold_line_style(GRID.stroke_width(2))
            .axis_style(TEXT.stroke_width(2))
            .label_style(text())
            .axis_desc_style(text().pos(Pos::new(HPos::Center, VPos::Top)))
            .x_label_formatter(&|second| hour_and_minute(*second))
            .y_label_formatter(&|value| match self.scale {
                Scale::Amount => format!("{value:.decimals$}"),
                Scale::Share => format!("{:.0} %", value * 100.0),
            })
            .x_desc("time of day")
            .y_desc(self.unit.as_str())
            .draw()?;
        for part in self.ground.iter().flat_map(|ground| parts(&ground.points)) {
            chart.draw_series(AreaSeries::new(part, 0.0, Colour::GROUND.0.filled()))?;
        }
        if let Some((value, _)) = self.visible_mark() {
            chart.draw_series(LineSeries::new([(from, value), (to, value)], Colour::MARK.0.stroke_width(3)))?;
        }
        for line in &self.lines {
            let style: ShapeStyle = line.colour.0.stroke_width(4);
            for part in parts(&line.points) {
                // A single point is no line.
                if let [point] = part[..] {
                    chart.draw_series([Circle::new(point, 5, line.colour.0.filled())])?;
                } else {
                    chart.draw_series(LineSeries::new(part, style))?;
                }
            }
        }
        area.present()?;
        Ok(())
    }

    fn visible_mark(&self) -> Option<(f64, &'static str)> {
        let top = self.value_ticks().last().copied().unwrap_or(0.0);
        self.mark.filter(|(value, _)| *value <= top)
    }

    /// From 0 to the first round value above everything.
    fn value_ticks(&self) -> Vec<f64> {
        if self.scale == Scale::Share {
            return vec![0.0, 0.25, 0.5, 0.75, 1.0];
        }
        let values = self.ground.iter().chain(&self.lines).flat_map(|line| line.points.iter().filter_map(|(_, v)| *v));
        let largest = values.fold(0.0, f64::max);
        let rough = (largest / MOST_TICKS).max(0.1);
        let magnitude = 10_f64.powf(rough.log10().floor());
        let step = [1.0, 2.0, 5.0, 10.0].map(|round| round * magnitude).into_iter().find(|step| *step >= rough);
        let step = step.unwrap_or(rough);
        let count = (largest / step).ceil().max(1.0) as u32;
        (0..=count).map(|n| f64::from(n) * step).collect()
    }
}

/// An axis with labels at round values of our own choice; the plotter's own are round in tens, not in hours.
struct Axis {
    values: RangedCoordf64,
    ticks: Vec<f64>,
}

impl Axis {
    fn new(from: f64, to: f64, ticks: Vec<f64>) -> Self {
        Self { values: (from..to).into(), ticks }
    }
}

impl Ranged for Axis {
    type FormatOption = DefaultFormatting;
    type ValueType = f64;

    fn map(&self, value: &f64, limit: (i32, i32)) -> i32 {
        self.values.map(value, limit)
    }

    fn key_points<Hint: KeyPointHint>(&self, hint: Hint) -> Vec<f64> {
        // No fainter lines between the labelled ones.
        if hint.weight().allow_light_points() { Vec::new() } else { self.ticks.clone() }
    }

    fn range(&self) -> Range<f64> {
        self.values.range()
    }
}

/// The pieces of a line between its gaps.
fn parts(points: &[(f64, Option<f64>)]) -> Vec<Vec<(f64, f64)>> {
    let pieces = points.split(|(_, value)| value.is_none()).filter(|piece| !piece.is_empty());
    pieces.map(|piece| piece.iter().filter_map(|(at, value)| Some((*at, (*value)?))).collect()).collect()
}

/// Round times of day within a span of seconds.
fn time_ticks(from: f64, to: f64) -> Vec<f64> {
    let fits = |step: &f64| (to - from) / (step * 60.0) <= MOST_TICKS + 2.0;
    let days = ((to - from) / 86_400.0 / MOST_TICKS).ceil();
    let step = TIME_STEPS.into_iter().find(fits).unwrap_or(days * 1_440.0) * 60.0;
    let first = (from / step).ceil() as i64;
    let last = (to / step).floor() as i64;
    (first..=last).map(|n| n as f64 * step).collect()
}

fn hour_and_minute(second: f64) -> String {
    let minute = (second / 60.0).round() as i64;
    format!("{:02}:{:02}", minute.div_euclid(60).rem_euclid(24), minute.rem_euclid(60))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chart(values: &[Option<f64>]) -> Chart {
        let points = values.iter().enumerate().map(|(n, value)| (43_200.0 + n as f64 * 300.0, *value)).collect();
        Chart {
            title: "Waiting",
            unit: "orders <&>".into(),
            reading: "Lower is better.",
            scale: Scale::Amount,
            day: (43_200.0, 46_800.0),
            ground: None,
            mark: Some((40.0, "target")),
            lines: vec![Line { label: "live".into(), colour: Colour::number(0), points }],
        }
    }

    #[test]
    fn axes_end_at_round_values() {
        let ticks = |largest| chart(&[Some(largest)]).value_ticks();
        assert_eq!(ticks(0.0), [0.0, 0.1]);
        assert_eq!(ticks(3.2), [0.0, 1.0, 2.0, 3.0, 4.0]);
        assert_eq!(ticks(60.0), [0.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0]);
        assert_eq!(ticks(61.0), [0.0, 20.0, 40.0, 60.0, 80.0]);
        assert_eq!(chart(&[]).value_ticks(), [0.0, 0.1]);
    }

    #[test]
    fn times_are_round_and_few() {
        let labels = |from, to| time_ticks(from, to).into_iter().map(hour_and_minute).collect::<Vec<_>>();
        assert_eq!(labels(43_260.0, 46_800.0), ["12:10", "12:20", "12:30", "12:40", "12:50", "13:00"]);
        assert_eq!(
            labels(79_200.0, 93_600.0),
            ["22:00", "22:30", "23:00", "23:30", "00:00", "00:30", "01:00", "01:30", "02:00"]
        );
        assert_eq!(time_ticks(0.0, 30.0 * 86_400.0).len(), 7);
    }

    #[test]
    fn a_line_has_gaps_where_nothing_was_measured() {
        let svg = chart(&[Some(1.0), Some(2.0), None, Some(3.0), None, Some(1.0), Some(1.0)]).svg().unwrap();
        let colour = Colour::number(0).hex();
        assert_eq!(svg.matches(&format!("<polyline fill=\"none\" opacity=\"1\" stroke=\"{colour}\"")).count(), 2);
        assert_eq!(svg.matches("<circle").count(), 1);
        assert!(svg.contains("orders &lt;&amp;&gt;") && svg.contains("12:10") && svg.trim_end().ends_with("</svg>"));
    }

    #[test]
    fn a_mark_beyond_the_axis_is_neither_drawn_nor_named() {
        assert_eq!(chart(&[Some(3.0)]).key(), [(Colour::number(0), "live")]);
        assert_eq!(chart(&[Some(50.0)]).key().last(), Some(&(Colour::MARK, "target")));
        assert!(!chart(&[Some(3.0)]).svg().unwrap().contains(&Colour::MARK.hex()));
    }
}

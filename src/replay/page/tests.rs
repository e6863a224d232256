//! The page is whole by itself, escapes what it is given, and shows every dispatcher and figure.

use super::*;
use crate::replay::{outcome::Outcomes, quality::tests::small_day, report::tests::report};

/// Elements without an end.
const VOID: [&str; 2] = ["meta", "!DOCTYPE"];

/// The names of all tags as they stand, `name` or `/name`, after the style sheet.
fn tags(page: &str) -> Vec<&str> {
    let body = page.split_once("</style>").unwrap().1;
    let tags = body.split('<').skip(1).map(|tag| tag.split_once('>').expect("a tag has an end").0);
    tags.filter(|tag| !tag.ends_with('/')).map(|tag| tag.split_whitespace().next().unwrap()).collect()
}

#[test]
fn every_tag_is_closed_in_order() {
    let page = render(&report()).unwrap();
    assert!(page.starts_with("<!DOCTYPE html><html lang=\"en\">"));
    let mut open = vec!["html", "head"];
    for tag in tags(&page).into_iter().filter(|tag| !VOID.contains(tag)) {
        match tag.strip_prefix('/') {
            Some(name) => assert_eq!(open.pop(), Some(name)),
            None => open.push(tag),
        }
    }
    assert!(open.is_empty(), "{open:?} never end");
}

#[test]
fn the_page_needs_nothing_from_elsewhere() {
    let page = render(&report()).unwrap().replace("http://www.w3.org/2000/svg", "");
    for word in ["http:", "https:", "//", "url(", "@import", "<script", "<link", "<img", " src=", " href="] {
        assert!(!page.contains(word), "the page contains {word}");
    }
}

#[test]
fn what_it_is_given_is_text_and_never_markup() {
    let mut report = report();
    report.cities[0].code = "<b>&\"'".into();
    report.notes[0].label = "<script>alert(1)</script>".into();
    let page = render(&report).unwrap();
    assert!(page.contains("<h1>A day &amp; its figures</h1>"));
    assert!(page.contains("&lt;script&gt;alert(1)&lt;/script&gt;") && page.contains("simulate --seed 1\n&amp; look"));
    assert!(page.contains("City &lt;b&gt;&amp;") && page.contains("oracle &lt;at placement&gt;"));
    assert!(!page.contains("<b>") && !page.contains("<script") && !page.contains("<at placement"));
}

#[test]
fn every_dispatcher_keeps_its_colour_in_every_city() {
    let mut report = report();
    let other = Outcomes { dispatcher: "virtual engine".into(), ..small_day() };
    report.cities[1].runs.insert(0, Run::new(other));
    let colours = Colours::of(&report);
    assert_eq!(colours.0, ["live engine", "oracle <at placement>", "virtual engine"]);
    assert_eq!(colours.get(&report.cities[1].runs[0]), Colour::LINES[2]);
    assert_eq!(colours.get(&report.cities[1].runs[1]), Colour::LINES[0]);
}

#[test]
fn the_style_sheet_knows_every_colour_of_the_plots() {
    let style = include_str!("style.css");
    for (number, colour) in Colour::LINES.into_iter().enumerate() {
        for attribute in ["stroke", "fill"] {
            let rule = format!("[{attribute}=\"{}\"] {{ {attribute}: var(--line-{})", colour.hex(), number + 1);
            assert!(style.contains(&rule), "{rule}");
        }
    }
    let page = render(&report()).unwrap();
    let body = page.split_once("</style>").unwrap().1;
    for attribute in ["stroke=\"#", "fill=\"#"] {
        for (at, _) in body.match_indices(attribute) {
            let written = &body[at..at + attribute.len() + 7];
            assert!(style.contains(&format!("[{written}]")), "the style sheet has no rule for {written}");
        }
    }
}

#[test]
fn a_city_without_runs_and_a_report_without_cities_are_pages_too() {
    let mut report = report();
    report.cities[0].runs.clear();
    assert!(render(&report).unwrap().contains("City blr"));
    report.cities.clear();
    report.notes.clear();
    assert!(!render(&report).unwrap().contains("<figure"));
}

#[test]
fn plots_and_figures_of_a_city() {
    let report = report();
    let page = render(&report).unwrap();
    assert_eq!(page.matches("<figure>").count(), 22);
    assert_eq!(page.matches("role=\"img\"").count(), 22);
    for text in ["time of day", "12:00", "14:00", "100 %", "placed (live engine)", "over 90 min or undelivered"] {
        assert!(page.contains(text), "{text} is missing");
    }
}

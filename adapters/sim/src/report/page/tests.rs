use super::*;
use crate::run::record::Record;
use crate::sample::{Graph, Lookups, Samples, Seen, Series};

const HOSTILE: &str =
    "</script><script>alert(1)</script><!-- \"'&\u{202e}\u{0}{data}{style}<img src=x onerror=alert(1)>";

fn samples(hostile: &str) -> Samples {
    let values: Vec<f32> = (0..700).map(|i| if i < 10 { f32::NAN } else { 100.0 / (1.0 + i as f32) }).collect();
    let series = |name| Series { name, values: values.clone() };
    let node = |who| Seen { who, ..Seen::default() };
    Samples {
        at_s: (0..700).map(f64::from).collect(),
        phases: vec![(hostile.into(), 0.0), ("churn".into(), 50.0)],
        series: ["held", "0", "3", "nodes", "beats", "---", "calls"].map(series).to_vec(),
        lookups: Lookups { found: vec![5, 3], missed: 1 },
        graphs: vec![
            Graph { nodes: (0..300).map(node).collect(), known: vec![(0, 299); 2000], ..Graph::default() };
            16
        ],
    }
}

fn page(hostile: &str) -> String {
    let record = Record { samples: samples(hostile), violation: Some(hostile.into()), ..Record::default() };
    let records = [record.clone(), record];
    let figure = |mean| Figure {
        name: hostile.into(),
        unit: hostile.into(),
        mean: Some(mean),
        interval: Some((mean - 1.0, mean + 1.0)),
        rule: hostile.into(),
        target: Some((hostile.into(), mean > 5.0)),
        beside: vec![(hostile.into(), 7.0)],
        shown: false,
    };
    let case = |name, mean| Case { name, figures: vec![figure(mean)], records: &records };
    Page {
        title: hostile,
        about: hostile,
        command: hostile,
        scenario: hostile,
        facts: vec![(hostile, hostile.into())],
        cases: vec![case(hostile, 9.0), case("other", 1.0)],
    }
    .html()
}

/// What a browser would take for the data.
fn data(html: &str) -> serde_json::Value {
    let (_, rest) = html.split_once("id=\"data\">").unwrap();
    serde_json::from_str(rest.split_once("</script>").unwrap().0).unwrap()
}

#[test]
fn a_page_loads_nothing() {
    let html = page("a title");
    for word in ["http:", "https:", "//cdn", "src=", "@import", "<link", "<iframe", "fetch(", "XMLHttp", "import("] {
        assert!(!html.contains(word), "{word}");
    }
    assert_eq!(html.matches("url(").count(), html.matches("url(#").count());
    assert!(html.contains("default-src 'none'"), "and could not, if it wanted to");
    let hrefs: Vec<_> = html.split("href=\"").skip(1).filter_map(|rest| rest.chars().next()).collect();
    assert_eq!(hrefs, ['#']);
}

#[test]
fn hostile_titles_are_only_text() {
    let (plain, hostile) = (page("a title"), page(HOSTILE));
    // Tags and attributes are as many as with harmless texts: nothing that the scenario says becomes markup.
    for word in ["<script", "</script", "<!--", "<img", "<style", "</style", "<b>", "<td", "<th", "<pre", "<p>"] {
        assert_eq!(hostile.matches(word).count(), plain.matches(word).count(), "{word}");
    }
    assert!(hostile.contains("&lt;/script&gt;&lt;script&gt;alert(1)"));
    assert!(!hostile.contains('\u{202e}') && !hostile.contains('\u{0}'));
    assert!(hostile.matches("{data}").count() >= 5, "places in texts are not filled");
}

#[test]
fn the_embedded_data_comes_back() {
    let data = data(&page(HOSTILE));
    assert_eq!(data.as_array().unwrap().len(), 2);
    assert_eq!(data[0]["name"], HOSTILE);
    assert_eq!(data[0]["phases"][0][0], HOSTILE);
    assert_eq!(data[1]["lookups"], serde_json::json!({ "found": [10, 6], "missed": 2 }));
    let line = &data[0]["plots"][0]["lines"][0];
    assert!(line["mean"][0].is_null() && line["mean"][599] == 0.1429, "{line}");
    for plot in data[0]["plots"].as_array().unwrap() {
        for line in plot["lines"].as_array().unwrap() {
            assert_eq!(line["mean"].as_array().unwrap().len(), data[0]["t"].as_array().unwrap().len());
        }
    }
}

#[test]
fn a_page_is_bounded() {
    let len = page("a title").len();
    assert!(len < 2_000_000, "{len} bytes for two cases with more of everything than is shown");
}

#[test]
fn every_colour_of_a_plot_is_in_the_style_sheet() {
    let css = include_str!("page.css");
    let (light, dark) = css.split_once("prefers-color-scheme: dark").unwrap();
    for (_, _, color) in crate::report::plots::PLOTS.iter().flat_map(|plot| plot.lines) {
        let name = format!("--{color}:");
        assert!(light.contains(&name) && dark.contains(&name), "{name}");
    }
}

#[test]
fn figures_stand_in_rows_and_cases_in_columns() {
    let html = page("a title");
    let body = html.split_once("<tbody>").unwrap().1.split_once("</tbody>").unwrap().0;
    assert_eq!((body.matches("<tr>").count(), body.matches("<td>").count()), (1, 2));
    assert!(body.contains("✓ reached: a title") && body.contains("✗ missed: a title"), "{body}");
    assert!(body.contains("<b>9</b> <span>[8, 10]</span>"), "{body}");
}

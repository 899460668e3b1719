//! One self-contained page of a scenario's results: it loads nothing, and works offline.

use std::fmt::Write;

use crate::report::figures::{Case, Figure, names, number};
use crate::report::merge::Picture;

/// What a page says.
#[derive(Clone, Debug, Default)]
pub struct Page<'a> {
    /// The scenario's title.
    pub title: &'a str,
    /// What it is about; empty lines part paragraphs.
    pub about: &'a str,
    /// The command that gives the same figures.
    pub command: &'a str,
    /// The scenario as run, changes included.
    pub scenario: &'a str,
    /// Whatever else is needed to replay it: seeds, version, trace, time taken.
    pub facts: Vec<(&'a str, String)>,
    /// Its cases; one without a name when it has none.
    pub cases: Vec<Case<'a>>,
}

/// Text as HTML.
fn escaped(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for char in text.chars() {
        match char {
            '&' => out.push_str("&amp;"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '"' => out.push_str("&quot;"),
            '\'' => out.push_str("&#39;"),
            char if turns(char) || (char.is_control() && !matches!(char, '\n' | '\t')) => out.push('\u{fffd}'),
            char => out.push(char),
        }
    }
    out
}

/// Marks that turn the direction of the text after them, so that it reads as what it is not.
fn turns(char: char) -> bool {
    matches!(char, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

/// JSON that can stand in a script element: nothing in it ends the element or begins a comment.
fn embedded(json: &str) -> String {
    let mut out = String::with_capacity(json.len());
    for char in json.chars() {
        if matches!(char, '<' | '>' | '&') || turns(char) {
            let _ = write!(out, "\\u{:04x}", u32::from(char));
        } else {
            out.push(char);
        }
    }
    out
}

impl Page<'_> {
    /// The page.
    pub fn html(&self) -> String {
        let title = if self.title.is_empty() { "Butter simulation" } else { self.title };
        let picture = |case: &Case<'_>| {
            let runs: Vec<_> = case.records.iter().map(|record| &record.samples).collect();
            Picture::new(case.name, &runs, self.cases.len())
        };
        let pictures: Vec<Picture> = self.cases.iter().map(picture).collect();
        // What a picture is made of has no maps with other keys than strings, so that this cannot fail.
        let data = serde_json::to_string(&pictures).unwrap_or_else(|error| format!("\"{error}\""));
        let parts = [
            ("{title}", escaped(title)),
            ("{about}", self.about()),
            ("{troubles}", self.troubles()),
            ("{figures}", self.figures()),
            ("{cases}", self.choices()),
            ("{settings}", self.settings()),
            ("{style}", include_str!("page.css").into()),
            ("{script}", [include_str!("charts.js"), include_str!("graph.js"), include_str!("page.js")].concat()),
            ("{data}", embedded(&data)),
        ];
        filled(include_str!("page.html"), &parts)
    }

    fn about(&self) -> String {
        let paragraphs = self.about.split("\n\n").map(str::trim).filter(|text| !text.is_empty());
        paragraphs.map(|text| format!("<p>{}</p>", escaped(text))).collect()
    }

    fn troubles(&self) -> String {
        let mut out = String::new();
        for case in &self.cases {
            let name = if case.name.is_empty() { String::new() } else { format!("<b>{}</b> ", escaped(case.name)) };
            for trouble in case.troubles() {
                let _ = write!(out, "<li>{name}{}</li>", escaped(&trouble));
            }
        }
        if out.is_empty() { out } else { format!("<ul class=\"troubles\" role=\"alert\">{out}</ul>") }
    }

    /// The figures that lead, and the others folded away.
    fn figures(&self) -> String {
        let leads = |name: &str| {
            let of_name = |case: &Case<'_>| case.figures.iter().any(|figure| figure.name == name && figure.leads());
            self.cases.iter().any(of_name)
        };
        let all = names(self.cases.iter().flat_map(|case| case.figures.iter().map(|figure| &*figure.name)));
        let (first, others): (Vec<&str>, Vec<&str>) = all.into_iter().partition(|name| leads(name));
        if first.is_empty() || others.is_empty() {
            return self.table(if first.is_empty() { &others } else { &first });
        }
        let folded = self.table(&others);
        format!(
            "{}<details class=\"more\"><summary>{} more figures</summary>{folded}</details>",
            self.table(&first),
            others.len()
        )
    }

    /// One row a figure, one column a case.
    fn table(&self, names: &[&str]) -> String {
        let mut out = String::from(
            "<div class=\"scroll\" tabindex=\"0\" role=\"region\" aria-label=\"Table of figures\"><table class=\"figures\">\
             <thead><tr><th scope=\"col\">Figure</th>",
        );
        for case in &self.cases {
            let name = if case.name.is_empty() { "Mean over runs, 95 % interval" } else { case.name };
            let _ = write!(out, "<th scope=\"col\">{}</th>", escaped(name));
        }
        out.push_str("</tr></thead><tbody>");
        for name in names {
            let of_case = |case: &&Case<'_>| case.figures.iter().find(|figure| figure.name == *name).cloned();
            let cells: Vec<Option<Figure>> = self.cases.iter().map(|case| of_case(&case)).collect();
            let Some(figure) = cells.iter().flatten().next() else { continue };
            let unit =
                if figure.unit.is_empty() { String::new() } else { format!(" <i>{}</i>", escaped(&figure.unit)) };
            let (title, rule) = (escaped(&figure.title()), escaped(&figure.rule));
            let _ = write!(out, "<tr><th scope=\"row\">{title}{unit}<small>{rule}</small></th>");
            for cell in &cells {
                let _ = write!(out, "<td>{}</td>", cell.as_ref().map(Figure::html).unwrap_or_default());
            }
            out.push_str("</tr>");
        }
        out + "</tbody></table></div>"
    }

    fn choices(&self) -> String {
        if self.cases.len() < 2 {
            return String::new();
        }
        let choice = |(i, case): (usize, &Case<'_>)| {
            let (checked, name) = (if i == 0 { " checked" } else { "" }, escaped(case.name));
            format!("<label><input type=\"radio\" name=\"case\" value=\"{i}\"{checked}><span>{name}</span></label>")
        };
        let choices: String = self.cases.iter().enumerate().map(choice).collect();
        format!("<fieldset class=\"cases\"><legend>Case</legend>{choices}</fieldset>")
    }

    fn settings(&self) -> String {
        let facts =
            self.facts.iter().map(|(name, value)| format!("<dt>{}</dt><dd>{}</dd>", escaped(name), escaped(value)));
        let facts: String = facts.collect();
        format!(
            "<h3>Command</h3><pre id=\"command\" tabindex=\"0\">{}</pre><dl>{facts}</dl><h3>Scenario as run</h3><pre tabindex=\"0\">{}</pre>",
            escaped(self.command),
            escaped(self.scenario)
        )
    }
}

impl Figure {
    fn html(&self) -> String {
        let mut out = format!("<b>{}</b>", self.mean.map_or("–".into(), number));
        if let Some((low, high)) = self.interval {
            let _ = write!(out, " <span>[{}, {}]</span>", number(low), number(high));
        }
        if let Some((target, met)) = &self.target {
            let (class, sign) = if *met { ("met", "✓ reached") } else { ("missed", "✗ missed") };
            let _ = write!(out, "<em class=\"{class}\">{sign}: {}</em>", escaped(target));
        }
        for (name, value) in &self.beside {
            let _ = write!(out, "<em>{}: {}</em>", escaped(name), number(*value));
        }
        out
    }
}

/// A template with its parts in place; what a part says is not looked at again.
fn filled(template: &str, parts: &[(&str, String)]) -> String {
    let mut out = String::new();
    let mut rest = template;
    let next = |rest: &str| parts.iter().filter_map(|part| Some((rest.find(part.0)?, part))).min_by_key(|(at, _)| *at);
    while let Some((at, (name, text))) = next(rest) {
        out.push_str(&rest[..at]);
        out.push_str(text);
        rest = &rest[at + name.len()..];
    }
    out + rest
}

#[cfg(test)]
mod tests;

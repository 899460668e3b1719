//! Links between the repository's documents lead somewhere.

use std::path::Path;

use butter_tests::repo;

/// The targets of `[text](target)` in Markdown, outside code.
fn links(text: &str) -> Vec<String> {
    let mut found = Vec::new();
    let mut fenced = false;
    for line in text.lines() {
        if line.trim_start().starts_with("```") {
            fenced = !fenced;
        }
        if fenced {
            continue;
        }
        // What stands between backquotes is code: every second piece.
        let prose = line.split('`').enumerate().map(|(i, s)| if i % 2 == 0 { s } else { "code" });
        let prose = prose.collect::<String>();
        for (at, _) in prose.match_indices("](") {
            if let Some(end) = prose[at + 2..].find(')') {
                let target = &prose[at + 2..at + 2 + end];
                found.push(target.split(' ').next().unwrap_or_default().to_owned());
            }
        }
    }
    found
}

/// The anchor that GitHub gives a heading.
fn anchor(heading: &str) -> String {
    heading
        .trim()
        .to_lowercase()
        .chars()
        .filter(|c| c.is_alphanumeric() || " -_".contains(*c))
        .map(|c| if c == ' ' { '-' } else { c })
        .collect()
}

fn has_anchor(markdown: &str, wanted: &str) -> bool {
    markdown.lines().filter(|l| l.starts_with('#')).any(|l| anchor(l.trim_start_matches('#')) == wanted)
}

#[test]
fn links_within_the_repository_resolve() {
    let mut broken = Vec::new();
    for f in repo::files("").iter().filter(|f| f.path.ends_with(".md")) {
        for link in links(&f.text) {
            if link.contains("://") || link.starts_with("mailto:") {
                continue;
            }
            let (file, fragment) = link.split_once('#').unwrap_or((&link, ""));
            let path = if file.is_empty() {
                repo::root().join(&f.path)
            } else {
                let here = Path::new(&f.path).parent().unwrap_or(Path::new(""));
                repo::root().join(here).join(file)
            };
            let fine = path.exists()
                && (fragment.is_empty()
                    || path.extension().is_none_or(|e| e != "md")
                    || std::fs::read_to_string(&path).is_ok_and(|t| has_anchor(&t, fragment)));
            if !fine {
                broken.push(format!("{}: {link}", f.path));
            }
        }
    }
    assert!(broken.is_empty(), "links that lead nowhere: {broken:#?}");
}

#[test]
fn links_are_found_outside_code_only() {
    let text = "see [a](b.md#c-d) and `[x](y)`\n```\n[no](z)\n```\n[e](f 'title')";
    assert_eq!(links(text), ["b.md#c-d", "f"]);
    assert!(has_anchor("## C: d", "c-d"));
}

//! The specification says what the code does: every kind of message is in its table, and every section that code and
//! tests cite is there.

use std::collections::BTreeSet;

use butter_tests::repo;

const SPEC: &str = "core/PROTOCOL.md";

fn read(path: &str) -> String {
    std::fs::read_to_string(repo::root().join(path)).unwrap_or_else(|e| panic!("{path}: {e}"))
}

/// The numbers of all headings, such as `2.3`.
fn sections() -> BTreeSet<String> {
    let heading = |line: &str| {
        let number = line.strip_prefix('#')?.trim_start_matches('#').trim().split(' ').next()?.trim_end_matches('.');
        number.starts_with(|c: char| c.is_ascii_digit()).then(|| number.to_owned())
    };
    read(SPEC).lines().filter_map(heading).collect()
}

/// Kinds in the order of their numbers on the wire: the variants of `enum Message`.
fn kinds(source: &str) -> Vec<String> {
    let (_, body) = source.split_once("pub enum Message<'a> {").expect("the enumeration of messages");
    let (body, _) = body.split_once("\n}").expect("its end");
    let variant = |line: &str| {
        let name = line.strip_prefix("    ").filter(|line| line.starts_with(|c: char| c.is_ascii_uppercase()))?;
        Some(name.trim_end_matches([' ', '{', ',']).to_owned())
    };
    body.lines().filter_map(variant).collect()
}

/// The sections cited in a line, without those of other documents.
fn cited(line: &str) -> Vec<String> {
    let mut found = Vec::new();
    for (at, mark) in line.match_indices('§') {
        // "RFC 8439 §2.8.2", "RFC 7748 §5.2, first vector, and §6.1", "TAOCP 3, §6.4".
        if ["RFC ", "TAOCP", "rev. "].iter().any(|other| line[..at].contains(other)) {
            continue;
        }
        let number: String =
            line[at + mark.len()..].trim_start().chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
        let number = number.trim_end_matches('.');
        if !number.is_empty() {
            found.push(number.to_owned());
        }
        // "§5.1–5.3" cites its end, too.
        let rest = &line[at + mark.len() + number.len()..];
        if let Some(rest) = rest.strip_prefix('–') {
            let end: String = rest.chars().take_while(|c| c.is_ascii_digit() || *c == '.').collect();
            found.push(end.trim_end_matches('.').to_owned());
        }
    }
    found
}

/// The section that a test is named after: `s2_3_…` is of §2.3, `s3_a_…` of §3.
fn tested(line: &str) -> Option<String> {
    let name = line.trim_start().strip_prefix("fn s")?;
    let mut parts = name.split('_');
    let number = |part: &str| !part.is_empty() && part.chars().all(|c| c.is_ascii_digit());
    let first = parts.next().filter(|part| number(part))?;
    match parts.next() {
        Some(second) if number(second) => Some(format!("{first}.{second}")),
        _ => Some(first.to_owned()),
    }
}

#[test]
fn every_kind_of_message_is_specified() {
    let spec = read(SPEC);
    let missing: Vec<String> = kinds(&read("core/src/wire/message.rs"))
        .into_iter()
        .enumerate()
        .map(|(number, kind)| format!("| {number} | {kind} |"))
        .filter(|row| !spec.contains(row.as_str()))
        .collect();
    assert!(missing.is_empty(), "rows that {SPEC} lacks: {missing:#?}");
}

#[test]
fn every_route_is_specified() {
    let spec = read(SPEC);
    let source = read("core/src/route.rs");
    let routes = source.lines().filter_map(|line| {
        let (name, number) = line.trim().strip_prefix("pub const ")?.split_once(": RouteId = RouteId(")?;
        Some(format!("| {} | {name} |", number.trim_end_matches(");")))
    });
    let routes: Vec<String> = routes.collect();
    assert!(routes.len() > 5, "the protocol's own routes were not found");
    let missing: Vec<_> = routes.iter().filter(|row| !spec.contains(row.as_str())).collect();
    assert!(missing.is_empty(), "rows that {SPEC} lacks: {missing:#?}");
}

#[test]
fn every_field_of_the_configuration_is_specified() {
    let spec = read(SPEC);
    let source = read("core/src/config.rs");
    let (_, body) = source.split_once("pub struct Config {").expect("the configuration");
    let (body, _) = body.split_once("\n}").expect("its end");
    let fields = body.lines().filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(':'));
    let missing: Vec<_> = fields.filter(|(name, _)| !spec.contains(&format!("| `{name}` |"))).collect();
    assert!(missing.is_empty(), "fields that {SPEC} lacks: {missing:#?}");
}

#[test]
fn cited_sections_exist() {
    let sections = sections();
    assert!(sections.contains("2.3") && sections.contains("10"), "headings were not found: {sections:?}");
    let mut wrong = Vec::new();
    let is_source = |path: &str| path.ends_with(".rs") || path == SPEC;
    for file in repo::files("").iter().filter(|f| is_source(&f.path) && !f.path.ends_with("house/spec.rs")) {
        for (n, line) in file.text.lines().enumerate() {
            let unknown = cited(line).into_iter().chain(tested(line)).filter(|section| !sections.contains(section));
            wrong.extend(unknown.map(|section| format!("{}:{}: §{section}", file.path, n + 1)));
        }
    }
    assert!(wrong.is_empty(), "sections that {SPEC} does not have: {wrong:#?}");
}

#[test]
fn citations_are_read_as_written() {
    assert_eq!(cited("//! Seats (PROTOCOL §5.1–5.3, §5.5)."), ["5.1", "5.3", "5.5"]);
    assert_eq!(cited("/// RFC 7748 §5.2, first vector, and §6.1."), [""; 0]);
    assert_eq!(cited("/// Of a restart (§2.7)."), ["2.7"]);
    assert_eq!(tested("    fn s2_3_the_loss_of_any_one() {"), Some("2.3".to_owned()));
    assert_eq!(tested("fn s3_a_sweep() {"), Some("3".to_owned()));
    assert_eq!(tested("fn start() {"), None);
}

//! The image that is measured has all of the node in it, or its size would say nothing.

use butter_tests::repo;

/// The names of the public methods of `Node<'_>` in `code`, which has neither comments nor strings.
fn methods(code: &str) -> Vec<String> {
    let mut found = Vec::new();
    let (mut depth, mut within) = (0_usize, None);
    for line in code.lines() {
        let words = line.trim();
        if within.is_none() && words.starts_with("impl") && words.contains(" Node<'") && !words.contains(" for ") {
            within = Some(depth);
        }
        if within.is_some()
            && let Some(name) = words.strip_prefix("pub fn ").or_else(|| words.strip_prefix("pub const fn "))
        {
            found.extend(name.split(|c: char| !c.is_alphanumeric() && c != '_').next().map(str::to_owned));
        }
        depth += line.matches('{').count();
        depth -= line.matches('}').count().min(depth);
        if within == Some(depth) && line.contains('}') {
            within = None;
        }
    }
    found
}

#[test]
fn the_measured_image_reaches_all_of_the_node() {
    let image = repo::files("targets/size/src").into_iter().map(|f| repo::code_only(&f.text)).collect::<String>();
    let missing = repo::files("core/src")
        .iter()
        .filter(|f| f.path.ends_with(".rs"))
        .flat_map(|f| methods(&repo::code_only(&f.text)))
        .filter(|name| !image.contains(&format!("node.{name}(")) && !image.contains(&format!("Node::{name}(")))
        .collect::<Vec<_>>();
    assert!(missing.is_empty(), "not called in targets/size/src/bin/node.rs: {missing:?}");
}

#[test]
fn methods_are_told_from_other_functions() {
    let code = "pub fn a() {}\nimpl<'m> Node<'m> {\n pub fn b(&self) {\n  x {}\n }\n pub(crate) fn c() {}\n}\nimpl Other {\n pub fn d() {}\n}\nimpl Debug for Node<'_> {\n pub fn e() {}\n}";
    assert_eq!(methods(code), ["b"]);
}

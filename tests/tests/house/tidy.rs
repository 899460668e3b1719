//! Tidiness that a reader would otherwise have to ask for in every review.

use butter_tests::repo;

/// Files longer than this need an entry in [`LONG`].
const LINES_MAX: usize = 600;

/// Source files allowed to be longer, each with the reason.
const LONG: &[(&str, &str)] = &[];

/// Folders or files that may say `unsafe`, each with the reason.
const UNSAFE: &[(&str, &str)] = &[
    (
        "targets/devices/virtio-net/src",
        "memory lent to a device that reads and writes it by itself, and a model of that device",
    ),
    ("targets/qemu-arm/src/bsp", "registers of the machine, its interrupt handlers, the painted stack"),
];

fn sources() -> impl Iterator<Item = repo::File> {
    repo::files("").into_iter().filter(|f| f.path.ends_with(".rs"))
}

fn allowed(list: &[(&str, &str)], path: &str) -> bool {
    list.iter().any(|(p, _)| path == *p || path.starts_with(&format!("{p}/")))
}

fn check(what: &str, found: &[String]) {
    assert!(found.is_empty(), "{what}: {found:#?}");
}

/// `path:line` of each line of `text` that `hit` finds.
fn lines(path: &str, text: &str, hit: impl Fn(&str) -> bool) -> Vec<String> {
    let hits = text.lines().enumerate().filter(|(_, l)| hit(l));
    hits.map(|(n, l)| format!("{path}:{}: {}", n + 1, l.trim())).collect()
}

#[test]
fn files_are_short() {
    let long = sources()
        .filter(|f| f.text.lines().count() > LINES_MAX && !allowed(LONG, &f.path))
        .map(|f| format!("{}: {} lines", f.path, f.text.lines().count()))
        .collect::<Vec<_>>();
    check("files that want splitting, or a reason in LONG", &long);
}

#[test]
fn exceptions_are_needed() {
    let stale = LONG
        .iter()
        .filter(|(path, _)| {
            std::fs::read_to_string(repo::root().join(path)).map_or(0, |text| text.lines().count()) <= LINES_MAX
        })
        .chain(
            UNSAFE
                .iter()
                .filter(|(path, _)| !sources().any(|f| allowed(&[(*path, "")], &f.path) && says_unsafe(&f.text))),
        )
        .map(|(path, _)| (*path).to_owned())
        .collect::<Vec<_>>();
    check("exceptions without need", &stale);
}

#[test]
fn nothing_is_left_undone() {
    // Put together here so that this file does not find itself.
    let marks = [["TO", "DO"], ["FIX", "ME"], ["X", "XX"]].map(|m| m.concat());
    let stubs = [["todo", "!("], ["unimplemented", "!("]].map(|m| m.concat());
    let mut found = Vec::new();
    for f in repo::files("") {
        if f.path == "LICENSE" || f.path.ends_with("Cargo.lock") {
            continue;
        }
        let word = |l: &str, w: &str| l.split(|c: char| !c.is_alphanumeric()).any(|x| x == w);
        found.extend(lines(&f.path, &f.text, |l| marks.iter().any(|m| word(l, m))));
        if f.path.ends_with(".rs") {
            found.extend(lines(&f.path, &repo::code_only(&f.text), |l| stubs.iter().any(|s| l.contains(s.as_str()))));
        }
    }
    check("left undone", &found);
}

#[test]
fn ignored_tests_say_why() {
    let bare = ["#[ig", "nore]"].concat();
    let found =
        sources().flat_map(|f| lines(&f.path, &repo::code_only(&f.text), |l| l.contains(&bare))).collect::<Vec<_>>();
    check("ignored without a reason", &found);
}

#[test]
fn no_paths_of_one_machine() {
    let marks = [["/ro", "ot/"], ["/ho", "me/"], ["/wo", "rk/"], ["/Us", "ers/"], [":\\Us", "ers"]].map(|m| m.concat());
    // A path starts after white space, a quote or the like: not within `a/work/b`.
    let starts = |before: Option<char>| !before.is_some_and(|c| c.is_alphanumeric() || "._-*}".contains(c));
    let found = repo::files("")
        .iter()
        .flat_map(|f| {
            lines(&f.path, &f.text, |l| {
                marks.iter().any(|m| l.match_indices(m.as_str()).any(|(at, _)| starts(l[..at].chars().next_back())))
            })
        })
        .collect::<Vec<_>>();
    check("paths that exist on one machine only", &found);
}

fn says_unsafe(source: &str) -> bool {
    let code = repo::code_only(source);
    code.split(|c: char| !c.is_alphanumeric() && c != '_').any(|w| w == "unsafe")
}

#[test]
fn unsafe_is_rare_and_known() {
    let found =
        sources().filter(|f| says_unsafe(&f.text) && !allowed(UNSAFE, &f.path)).map(|f| f.path).collect::<Vec<_>>();
    check("unsafe code without an entry in UNSAFE", &found);
}

//! Nothing points up: which package may depend on which, by folder.

use butter_tests::repo;

/// A folder, and the folders of ours that a package in it may depend on, in any way.
/// The first entry that fits a package's folder counts.
const MAY_USE: &[(&str, &[&str])] = &[
    ("core", &[]),
    ("adapters/driver", &["core"]),
    ("adapters/crypto", &["core"]),
    ("adapters/store", &["core"]),
    // Has nodes of its own, on real cryptography.
    ("adapters/replay", &["core", "adapters/crypto"]),
    ("adapters/sim", &["core", "adapters/crypto", "adapters/replay"]),
    // What brings a network and a clock builds on the loop, and on crypto and store where it offers a ready node.
    ("adapters", &["core", "adapters/driver", "adapters/crypto", "adapters/store"]),
    // Checks are above everything, and run what they check as programs.
    ("tests/xtask", &[]),
    ("tests", &["core", "adapters", "targets", "examples", "tests"]),
    ("examples", &["core", "adapters"]),
    // Device drivers know nothing of Butter; what all firmware shares is built on by boards.
    ("targets/devices", &[]),
    ("targets/firmware", &["core", "adapters"]),
    ("targets", &["core", "adapters", "targets/devices", "targets/firmware"]),
];

/// What a package may need for its own tests besides, with the reason.
const MAY_TEST_WITH: &[(&str, &str, &str)] = &[
    ("core", "adapters/crypto", "sessions are tested with real handshakes"),
    ("adapters/driver", "adapters/crypto", "the loop is tested with nodes that really talk"),
    ("adapters/store", "adapters/driver", "stores are tested through the loop's Disk"),
];

fn within(folder: &str, room: &str) -> bool {
    folder == room || folder.strip_prefix(room).is_some_and(|rest| rest.starts_with('/'))
}

/// Packages outside the workspace: firmware, each a workspace of its own.
fn standalone() -> Vec<String> {
    repo::files("targets")
        .into_iter()
        .filter(|f| f.path.ends_with("/Cargo.toml") && f.text.contains("\n[workspace]"))
        .map(|f| f.path)
        .collect()
}

fn all() -> Vec<repo::Package> {
    let mut all = repo::packages("Cargo.toml");
    for manifest in standalone() {
        all.extend(repo::packages(&manifest));
    }
    all
}

#[test]
fn nothing_points_up() {
    let all = all();
    let mut wrong = Vec::new();
    for p in &all {
        let (_, allowed) = MAY_USE
            .iter()
            .find(|(room, _)| within(&p.folder, room))
            .unwrap_or_else(|| panic!("{} is in no known room; say what it may use", p.folder));
        for d in &p.dependencies {
            let Some(used) = all.iter().find(|q| q.name == d.name) else {
                continue;
            };
            let fine = used.name == p.name
                || allowed.iter().any(|room| within(&used.folder, room))
                || (d.kind == "dev" && MAY_TEST_WITH.iter().any(|(a, b, _)| *a == p.folder && *b == used.folder));
            if !fine {
                wrong.push(format!("{} -> {} ({})", p.folder, used.folder, d.kind));
            }
        }
    }
    assert!(wrong.is_empty(), "arrows that point up or sideways: {wrong:#?}");
}

#[test]
fn the_core_stays_bare() {
    let core = repo::packages("Cargo.toml").into_iter().find(|p| p.folder == "core").expect("the workspace has a core");
    assert_eq!(core.default_features, Vec::<String>::new(), "core's default features");
    let lib =
        repo::code_only(&std::fs::read_to_string(repo::root().join("core/src/lib.rs")).expect("core has a lib.rs"));
    let lib: String = lib.split_whitespace().collect();
    // Without a cfg around it: not `cfg_attr(not(test), no_std)`.
    assert!(lib.contains("#![no_std]"), "core/src/lib.rs must say #![no_std]");
    assert!(lib.contains("#![forbid(unsafe_code)]"), "core/src/lib.rs must forbid unsafe code");
}

#[test]
fn names_follow_folders() {
    for p in all() {
        let last = p.folder.rsplit('/').next().unwrap_or_default();
        let fits = match p.folder.as_str() {
            "targets/desktop" => p.name == "butter",
            "tests/xtask" => p.name == "xtask",
            _ => p.name == format!("butter-{last}"),
        };
        assert!(fits, "{} is named {}", p.folder, p.name);
    }
}

#[test]
fn every_package_says_what_it_is() {
    for p in all() {
        assert!(p.description.is_some_and(|d| d.len() > 10), "{}: no description", p.name);
        assert_eq!(p.licence.as_deref(), Some("MIT OR Apache-2.0"), "{}: licence", p.name);
    }
}

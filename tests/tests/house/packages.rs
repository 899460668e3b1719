//! The packages that Butter is built on are really used, not only named in a manifest.

use butter_tests::repo;

/// A package, the part of Butter that must use it, and what shows that this part exists.
const BUILT_ON: &[(&str, &str, &str)] = &[
    ("heapless", "core", "core/src/node"),
    ("postcard", "core", "core/src/wire"),
    ("defmt", "core", "core/src/log.rs"),
    ("async-std", "adapters/async-std", "adapters/async-std"),
    ("embassy-net", "adapters/embassy", "adapters/embassy"),
    ("smoltcp", "adapters/smoltcp", "adapters/smoltcp"),
    ("embedded-io-async", "adapters/serial", "adapters/serial"),
];

/// Whether `code` has a path that starts with crate `name`.
fn uses(code: &str, name: &str) -> bool {
    let name = name.replace('-', "_");
    code.match_indices(&name).any(|(at, _)| {
        let before = code[..at].chars().next_back().unwrap_or(' ');
        let after = &code[at + name.len()..];
        let whole = !before.is_alphanumeric() && before != '_' && before != '.';
        whole && (after.starts_with("::") || code[..at].ends_with("use ") && !after.starts_with('_'))
    })
}

#[test]
fn packages_built_on_are_used() {
    let all = repo::packages("Cargo.toml");
    for (name, folder, sign) in BUILT_ON {
        if !repo::root().join(sign).exists() {
            continue;
        }
        let part =
            all.iter().find(|p| p.folder == *folder).unwrap_or_else(|| panic!("{folder} is not in the workspace"));
        assert!(
            part.dependencies.iter().any(|d| d.name == *name && d.kind == "normal"),
            "{folder} does not depend on {name}"
        );
        let used_in = repo::files(&format!("{folder}/src"))
            .into_iter()
            .filter(|f| f.path.ends_with(".rs") && uses(&repo::code_only(&f.text), name))
            .map(|f| f.path)
            .collect::<Vec<_>>();
        assert!(!used_in.is_empty(), "{folder} names {name} in its manifest but not in its code");
    }
}

#[test]
fn a_use_is_told_from_a_mention() {
    assert!(uses("use heapless::Vec;", "heapless"));
    assert!(uses("use smoltcp;", "smoltcp"));
    assert!(uses("let v = ::async_std::task::spawn(f);", "async-std"));
    assert!(!uses("let my_heapless::x", "heapless"));
    assert!(!uses("mod smoltcp_like;", "smoltcp"));
    assert!(!uses("embassy_net_driver::Driver", "embassy-net"));
}

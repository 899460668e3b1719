//! The repository as its tests see it: where it is, which files it has, and what cargo says of its packages.

use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;

/// The folder that holds the workspace's `Cargo.toml`.
#[must_use]
pub fn root() -> PathBuf {
    let tests = Path::new(env!("CARGO_MANIFEST_DIR"));
    tests.parent().unwrap_or(tests).to_path_buf()
}

/// A file of the repository.
pub struct File {
    /// Path from the root, with `/` between the parts.
    pub path: String,
    /// Its text. Files that are not UTF-8 are not listed.
    pub text: String,
}

/// Every text file below `folder` (a path from the root; `""` is all), in order of path.
///
/// Build output (`target`), fuzzing corpora and version control are left out. None if there is no such folder.
///
/// # Panics
/// When a folder or file cannot be read: then the test that asks cannot say anything.
#[must_use]
pub fn files(folder: &str) -> Vec<File> {
    let root = root();
    let mut found = Vec::new();
    let mut folders = vec![root.join(folder)];
    folders.retain(|f| f.exists());
    while let Some(dir) = folders.pop() {
        let entries = std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
        for entry in entries {
            let entry = entry.unwrap_or_else(|e| panic!("{}: {e}", dir.display()));
            let path = entry.path();
            let name = entry.file_name();
            let kind = entry.file_type().unwrap_or_else(|e| panic!("{}: {e}", path.display()));
            if kind.is_dir() {
                if !["target", ".git", "corpus", "artifacts"].iter().any(|n| name == *n) {
                    folders.push(path);
                }
            } else if kind.is_file()
                && name != ".git"
                && let Ok(text) = std::fs::read_to_string(&path)
            {
                let path = path.strip_prefix(&root).unwrap_or(&path);
                let path = path.to_string_lossy().replace('\\', "/");
                found.push(File { path, text });
            }
        }
    }
    found.sort_by(|a, b| a.path.cmp(&b.path));
    found
}

/// How one package names another in its manifest.
pub struct Dependency {
    /// The package's name, not a renaming of it.
    pub name: String,
    /// `normal`, `dev` or `build`.
    pub kind: String,
}

/// A package of the repository, as its manifest states it.
pub struct Package {
    /// The package's name.
    pub name: String,
    /// Its folder from the root, with `/` between the parts.
    pub folder: String,
    /// One line on what it is for.
    pub description: Option<String>,
    /// An SPDX expression.
    pub licence: Option<String>,
    /// What its manifest depends on, for any platform.
    pub dependencies: Vec<Dependency>,
    /// The features that are on unless switched off.
    pub default_features: Vec<String>,
}

/// The packages of the workspace whose manifest is `manifest` (a path from the root), by `cargo metadata`.
///
/// # Panics
/// When cargo fails, or its answer is not what it documents.
#[must_use]
pub fn packages(manifest: &str) -> Vec<Package> {
    let root = root();
    let out = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .args(["metadata", "--format-version=1", "--no-deps", "--manifest-path"])
        .arg(root.join(manifest))
        .output()
        .expect("cargo runs");
    assert!(out.status.success(), "cargo metadata: {}", String::from_utf8_lossy(&out.stderr));
    let all: Value = serde_json::from_slice(&out.stdout).expect("cargo metadata prints JSON");
    list(&all["packages"]).map(|p| package(p, &root)).collect()
}

fn package(p: &Value, root: &Path) -> Package {
    let folder = PathBuf::from(text(&p["manifest_path"]).expect("a package has a manifest"));
    let folder = folder.parent().unwrap_or(&folder);
    let folder = folder.strip_prefix(root).unwrap_or(folder);
    Package {
        name: text(&p["name"]).expect("a package has a name"),
        folder: folder.to_string_lossy().replace('\\', "/"),
        description: text(&p["description"]),
        licence: text(&p["license"]),
        dependencies: list(&p["dependencies"])
            .map(|d| Dependency {
                name: text(&d["name"]).expect("a dependency has a name"),
                kind: text(&d["kind"]).unwrap_or_else(|| "normal".into()),
            })
            .collect(),
        default_features: list(&p["features"]["default"]).filter_map(text).collect(),
    }
}

fn list(v: &Value) -> impl Iterator<Item = &Value> {
    v.as_array().into_iter().flatten()
}

fn text(v: &Value) -> Option<String> {
    v.as_str().map(str::to_owned)
}

/// Rust source without comments and without what stands in string and character literals, so that a search
/// finds code only. Line breaks stay, so line numbers hold.
#[must_use]
pub fn code_only(source: &str) -> String {
    let s = source.as_bytes();
    let mut out = String::with_capacity(source.len());
    let mut i = 0;
    while i < s.len() {
        let rest = &source[i..];
        let before = if i == 0 { b' ' } else { s[i - 1] };
        let word = before.is_ascii_alphanumeric() || before == b'_';
        let end = if rest.starts_with("//") {
            i + rest.find('\n').unwrap_or(rest.len())
        } else if rest.starts_with("/*") {
            i + block_comment(rest)
        } else if !word && let Some(len) = raw_string(rest) {
            i + len
        } else if rest.starts_with('"') {
            i + quoted(rest, b'"')
        } else if rest.starts_with('\'') && is_char(rest) {
            i + quoted(rest, b'\'')
        } else {
            let c = rest.chars().next().unwrap_or(' ');
            out.push(c);
            i += c.len_utf8();
            continue;
        };
        out.extend(source[i..end].chars().filter(|c| *c == '\n'));
        // What was cut must not join its neighbours into one word.
        out.push(' ');
        i = end;
    }
    out
}

fn block_comment(s: &str) -> usize {
    let (mut depth, mut i) = (0_usize, 0);
    while i < s.len() {
        if s.as_bytes()[i..].starts_with(b"/*") {
            depth += 1;
            i += 2;
        } else if s.as_bytes()[i..].starts_with(b"*/") {
            depth -= 1;
            i += 2;
            if depth == 0 {
                return i;
            }
        } else {
            i += 1;
        }
    }
    s.len()
}

/// Length of `r"…"`, `r#"…"#` or a byte form of these at the start of `s`.
fn raw_string(s: &str) -> Option<usize> {
    let body = s.strip_prefix("br").or_else(|| s.strip_prefix('r'))?;
    let hashes = body.len() - body.trim_start_matches('#').len();
    if !body[hashes..].starts_with('"') {
        return None;
    }
    let start = s.len() - body.len() + hashes + 1;
    let end = format!("\"{}", "#".repeat(hashes));
    Some(s[start..].find(&end).map_or(s.len(), |n| start + n + end.len()))
}

fn quoted(s: &str, quote: u8) -> usize {
    let b = s.as_bytes();
    let mut i = 1;
    while i < b.len() {
        match b[i] {
            b'\\' => i += 2,
            c if c == quote => return i + 1,
            _ => i += 1,
        }
    }
    b.len()
}

/// Tells a character literal from a lifetime.
fn is_char(s: &str) -> bool {
    let mut c = s.chars().skip(1);
    matches!((c.next(), c.next()), (Some('\\'), _) | (Some(_), Some('\'')))
}

#[cfg(test)]
mod tests {
    use super::code_only;

    #[test]
    fn only_code_is_left() {
        let source = "let a = \"x // y\"; // heapless::\n/* b /* c */ d */ fn e<'a>(f: &'a str) {}\nlet g = '\\''; let h = r#\"i\"j\"#; k";
        let code = code_only(source);
        for gone in ["x", "heapless", "b", "c", "d", "i", "j"] {
            assert!(!code.split(|c: char| !c.is_alphanumeric()).any(|w| w == gone), "{gone} in {code}");
        }
        for kept in ["let a =", "fn e<'a>(f: &'a str)", "let g =", "let h =", "k"] {
            assert!(code.contains(kept), "{kept} not in {code}");
        }
        assert_eq!(code.lines().count(), source.lines().count());
    }
}

//! A scenario file, the changes that its cases and the command line make, and where in them a mistake is.

use std::borrow::Cow;
use std::fmt;
use std::ops::Range;
use std::path::Path;

use serde::de::IntoDeserializer;
use serde::{Deserialize, de::DeserializeOwned};
use toml::Spanned;
use toml::de::{DeTable, DeValue, Deserializer, ValueDeserializer};

use super::model::Scenario;
use crate::fault::Trace;
use crate::topology::{Topology, read_edges};

/// The most cases of a scenario.
const CASES_MAX: usize = 64;

/// The key under which a value of the command line is parsed.
const VALUE: &str = "value";

/// What is wrong with a scenario: where, what, and the way out.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Problem(String);

impl Problem {
    /// A problem; the text begins with where it is.
    pub fn new(text: impl Into<String>) -> Problem {
        Problem(text.into())
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for Problem {}

/// A change that the command line asks for.
#[derive(Clone, Debug)]
struct Set {
    key: String,
    /// As it was given.
    text: String,
    /// The value, behind as many spaces as come before it in all texts together: so its spans are told from those of the file.
    padded: String,
}

/// The text of a scenario, and what the command line changes in it.
#[derive(Clone, Debug)]
pub struct Source {
    name: String,
    text: String,
    sets: Vec<Set>,
}

/// A table row: what it is called, and the scenario as this case has it.
#[derive(Clone, Debug)]
pub struct Case {
    /// The name; empty when the scenario has no cases.
    pub name: String,
    /// Base, changes of the case, and changes of the command line.
    pub scenario: Scenario,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct CaseHead {
    name: String,
    #[serde(default, rename = "set")]
    _set: toml::Table,
}

impl Source {
    /// A text, under the name of its file, and changes `key=value`.
    ///
    /// # Errors
    /// A change has no `=`.
    pub fn new(name: &str, text: String, sets: &[String]) -> Result<Source, Problem> {
        let mut before = text.len() + 1;
        let mut changes = Vec::new();
        for set in sets {
            let Some((key, value)) = set.split_once('=') else {
                return Err(Problem::new(format!("--set {set}: write KEY=VALUE, such as runs=20")));
            };
            let (key, value) = (key.trim(), value.trim());
            if key.is_empty() || key.split('.').any(str::is_empty) {
                return Err(Problem::new(format!("--set {set}: the key has an empty part")));
            }
            // What is no TOML is text: quotes need not be told to a shell.
            let quoted = || toml_string(value);
            let value = DeValue::parse(value).map_or_else(|_| quoted(), |_| value.to_owned());
            let padded = format!("{:before$}{VALUE} = {value}", "");
            before = padded.len() + 1;
            changes.push(Set { key: key.into(), text: set.clone(), padded });
        }
        Ok(Source { name: name.into(), text, sets: changes })
    }

    /// Reads a file.
    ///
    /// # Errors
    /// The file cannot be read, or a change has no `=`.
    pub fn read(path: &Path, sets: &[String]) -> Result<Source, Problem> {
        let name = path.display().to_string();
        let text = std::fs::read_to_string(path).map_err(|error| Problem::new(format!("{name}: {error}")))?;
        Source::new(&name, text, sets)
    }

    /// The name of its file.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Its text, with the changes of the command line at the end, as comments.
    pub fn with_changes(&self) -> String {
        let sets: String = self.sets.iter().map(|set| format!("# --set {}\n", set.text)).collect();
        format!("{}\n{sets}", self.text.trim_end())
    }

    /// Where a span is: `file:line`, or which `--set`.
    fn place(&self, span: Option<Range<usize>>) -> String {
        let Some(at) = span.map(|span| span.start) else { return self.name.clone() };
        if at <= self.text.len() {
            let line = self.text.as_bytes()[..at].iter().filter(|byte| **byte == b'\n').count() + 1;
            return format!("{}:{line}", self.name);
        }
        let set = self.sets.iter().find(|set| at < set.padded.len());
        set.map_or(self.name.clone(), |set| format!("--set {}", set.text))
    }

    fn wrong(&self, error: &toml::de::Error) -> Problem {
        Problem(format!("{}: {}", self.place(error.span()), error.message().trim_end()))
    }

    /// All cases, each checked for what can be known of it before it is run; one without a name if there are none.
    ///
    /// # Errors
    /// The first thing that is wrong, and where.
    pub fn cases(&self) -> Result<Vec<Case>, Problem> {
        let mut base = DeTable::parse(&self.text).map_err(|error| self.wrong(&error))?;
        let cases = base.get_mut().remove("case");
        let Some(cases) = cases else { return Ok(vec![self.case(base, String::new(), None)?]) };
        let span = cases.span();
        let DeValue::Array(cases) = cases.into_inner() else {
            return Err(Problem(format!("{}: write [[case]], with two brackets", self.place(Some(span)))));
        };
        if cases.len() > CASES_MAX {
            return Err(Problem(format!("{}: at most {CASES_MAX} cases", self.place(Some(span)))));
        }
        let mut all = Vec::new();
        for case in cases.iter() {
            let head: CaseHead = self.value(case.clone())?;
            let set = case.get_ref().get("set").cloned();
            all.push(self.case(base.clone(), head.name, set)?);
        }
        Ok(all)
    }

    fn value<T: DeserializeOwned>(&self, value: Spanned<DeValue<'_>>) -> Result<T, Problem> {
        let deserializer: ValueDeserializer<'_> = value.into_deserializer();
        T::deserialize(deserializer).map_err(|error| self.wrong(&error))
    }

    fn case<'i>(
        &'i self,
        mut table: Spanned<DeTable<'i>>,
        name: String,
        set: Option<Spanned<DeValue<'i>>>,
    ) -> Result<Case, Problem> {
        let mut put = |path: &[String], span, leaf| self.put(table.get_mut(), path, span, leaf);
        if let Some(set) = set {
            leaves(&[], set.span(), set, &mut put)?;
        }
        for set in &self.sets {
            let mut value = DeTable::parse(&set.padded).map_err(|error| self.wrong(&error))?;
            if let Some(value) = value.get_mut().remove(VALUE) {
                leaves(&path(&[], &set.key), value.span(), value, &mut put)?;
            }
        }
        let tree = table.clone();
        let mut scenario = Scenario::deserialize(Deserializer::from(table)).map_err(|error| self.wrong(&error))?;
        let read = scenario.share_out().and_then(|()| self.read_files(&mut scenario));
        if let Some((path, what)) = read.err().or_else(|| super::check::check(&scenario)) {
            let of = if name.is_empty() { String::new() } else { format!(" (case {name:?})") };
            return Err(Problem(format!("{}: {what}{of}", self.place(find(&tree, &path)))));
        }
        Ok(Case { name, scenario })
    }

    /// Reads the files that a scenario names, and says what is wrong with them.
    fn read_files(&self, scenario: &mut Scenario) -> Result<(), (String, String)> {
        let beside = |file: &Path| Path::new(&self.name).parent().unwrap_or(Path::new("")).join(file);
        let read = |file: &Path| std::fs::read_to_string(file).map_err(|error| error.to_string());
        for (i, phase) in scenario.phase.iter_mut().enumerate() {
            let Some(follow) = &mut phase.follow else { continue };
            let file = beside(&follow.file);
            let wrong = |why: String| (format!("phase.{i}.follow.file"), format!("{}: {why}", file.display()));
            let text = read(&file).map_err(wrong)?;
            Trace::read(&text).map_err(wrong)?;
            follow.text = text.into();
        }
        if let Some(Topology::File(file)) = &scenario.world.topology {
            let file = beside(file);
            let edges = read(&file).and_then(|text| read_edges(&text));
            let wrong = |why: String| ("world.topology.file".to_owned(), format!("{}: {why}", file.display()));
            scenario.world.topology = Some(Topology::Edges(edges.map_err(wrong)?));
        }
        Ok(())
    }

    /// Puts a value where the path says; tables on the way are made. Entries of an array are named by their number, or by the
    /// `name` that they have.
    fn put<'i>(
        &self,
        table: &mut DeTable<'i>,
        path: &[String],
        span: Range<usize>,
        leaf: Spanned<DeValue<'i>>,
    ) -> Result<(), Problem> {
        let Some((first, rest)) = path.split_first() else { return Ok(()) };
        let key = || Spanned::new(span.clone(), Cow::Owned(first.clone()));
        if rest.is_empty() {
            // The map would keep the old key, and with it the place of the old line.
            table.remove(first.as_str());
            table.insert(key(), leaf);
            return Ok(());
        }
        if !table.contains_key(first.as_str()) {
            table.insert(key(), Spanned::new(span.clone(), DeValue::Table(DeTable::new())));
        }
        let wrong = |what: String| Err(Problem(format!("{}: {what}", self.place(Some(span.clone())))));
        let Some(inner) = table.get_mut(first.as_str()) else { return Ok(()) };
        match inner.get_mut() {
            DeValue::Table(inner) => self.put(inner, rest, span, leaf),
            DeValue::Array(entries) => {
                let which = &rest[0];
                let name =
                    |entry: &Spanned<DeValue<'_>>| Some(entry.get_ref().get("name")?.get_ref().as_str()?.to_owned());
                let named = entries.iter().position(|entry| name(entry).as_ref() == Some(which));
                let Some(entry) = named.or_else(|| which.parse().ok()).and_then(|at| entries.get_mut(at)) else {
                    let names: Vec<String> = entries.iter().filter_map(name).collect();
                    let have = if names.is_empty() { "write its number, from 0".into() } else { names.join(", ") };
                    return wrong(format!("`{first}` has no entry `{which}`: {have}"));
                };
                match entry.get_mut() {
                    DeValue::Table(inner) if rest.len() > 1 => self.put(inner, &rest[1..], span, leaf),
                    _ if rest.len() > 1 => wrong(format!("`{first}.{which}` is a value, and nothing is in it")),
                    _ => {
                        *entry = leaf;
                        Ok(())
                    }
                }
            }
            _ => wrong(format!("`{first}` is a value, and nothing is in it")),
        }
    }
}

/// A key that may have dots, as a path behind another.
fn path(before: &[String], key: &str) -> Vec<String> {
    before.iter().cloned().chain(key.split('.').map(str::to_owned)).collect()
}

/// Calls `leaf` for each value that is no table, with its path and where its key is.
fn leaves<'i>(
    at: &[String],
    span: Range<usize>,
    value: Spanned<DeValue<'i>>,
    leaf: &mut impl FnMut(&[String], Range<usize>, Spanned<DeValue<'i>>) -> Result<(), Problem>,
) -> Result<(), Problem> {
    let within = value.span();
    match value.into_inner() {
        DeValue::Table(table) => table.into_iter().try_for_each(|(key, value)| {
            let span = key.span();
            leaves(&path(at, key.get_ref()), span, value, leaf)
        }),
        other => leaf(at, span, Spanned::new(within, other)),
    }
}

/// Where a path is in the tree, or as much of it as there is.
fn find(tree: &Spanned<DeTable<'_>>, path: &str) -> Option<Range<usize>> {
    let mut span = None;
    let mut parts = path.split('.');
    let mut at = tree.get_ref().get_key_value(parts.next()?).map(|(key, value)| {
        span = Some(key.span());
        value
    });
    for part in parts {
        at = at.and_then(|value| match value.get_ref() {
            DeValue::Table(table) => table.get_key_value(part).map(|(key, value)| {
                span = Some(key.span());
                value
            }),
            DeValue::Array(entries) => part.parse::<usize>().ok().and_then(|at| entries.get(at)).inspect(|value| {
                span = Some(value.span());
            }),
            _ => None,
        });
    }
    span
}

/// A text as TOML writes it.
fn toml_string(text: &str) -> String {
    let escaped: String = text
        .chars()
        .map(|c| match c {
            '"' | '\\' => format!("\\{c}"),
            c if c.is_control() => format!("\\u{:04X}", c as u32),
            c => c.to_string(),
        })
        .collect();
    format!("\"{escaped}\"")
}

//! What is read, what is refused, and where.

use super::*;

const SMALL: &str = r#"title = "small"
[[nodes]]
count = 5
[[phase]]
name = "form"
for = "10 s"
[[phase]]
name = "store"
put = {}
until = "goldilocks"
[[phase]]
name = "read"
get = { by = "fresh" }
"#;

fn cases(text: &str, sets: &[&str]) -> Result<Vec<Case>, String> {
    let sets: Vec<String> = sets.iter().map(|set| set.to_string()).collect();
    let source = Source::new("s.toml", text.into(), &sets);
    source.and_then(|source| source.cases()).map_err(|problem| problem.to_string())
}

fn wrong(text: &str, sets: &[&str]) -> String {
    cases(text, sets).err().unwrap_or_else(|| panic!("{sets:?} was taken"))
}

#[test]
fn defaults_are_as_documented() {
    let cases = cases(SMALL, &[]).unwrap();
    let s = &cases[0].scenario;
    assert_eq!((cases.len(), s.runs, s.seed, s.sample), (1, 1, 1, units::Time::from_s(1)));
    assert_eq!((s.world.network, s.world.contacts, s.nodes[0].name()), (Network::Lan, None, "desktop"));
    assert_eq!(s.phase[1].waits(), Some(units::Time::from_s(60)));
    let get = s.phase[2].get.as_ref().unwrap();
    assert_eq!((get.by, get.wait, get.count, get.same), (By::Fresh, units::Time::from_s(10), None, false));
}

#[test]
fn what_is_wrong_is_told_with_its_line() {
    let changed = |from: &str, to: &str| wrong(&SMALL.replacen(from, to, 1), &[]);
    for (from, to, what) in [
        ("count = 5", "cont = 5", "s.toml:3: unknown field `cont`"),
        ("count = 5", "count = -5", "s.toml:3: "),
        ("count = 5", "count = 0", "s.toml:2: there is no node"),
        ("count = 5", "count = 2", "s.toml:3: 3 copies are wanted and there are 2 nodes"),
        ("count = 5", "count = 5\nconfig.replicas = 6", "s.toml:4: 6 copies are wanted and there are 5 nodes"),
        ("count = 5", "count = 5\nlimits.known = 0", "s.toml:4: no node can work without"),
        ("count = 5", "", "s.toml:2: how many? give count, or share"),
        ("count = 5", "share = \"50 %\"", "s.toml:3: a share of how many?"),
        ("count = 5", "count = 5\nshare = \"50 %\"", "s.toml:4: give count or share"),
        ("count = 5", "share = 0\n[world]\nnodes = 5", "s.toml:2: all shares are 0"),
        ("count = 5", "share = 1\n[world]\nnodes = 200001", "s.toml:5: 200001 nodes: a world has at most"),
        ("count = 5", "count = 5\n[world]\nnodes = 5", "s.toml:3: nodes of [world] are shared out"),
        ("count = 5", "count = 5\nmachine = \"abacus\"", "s.toml:4: unknown variant `abacus`, expected"),
        ("count = 5", "count = 5\naccess = { up = \"2 MB/s\" }", "s.toml:4: `MB/s` is no unit here"),
        ("count = 5", "count = 5\nnat = { kind = \"symmetric\" }", "s.toml:4: all nodes are on one local network"),
        ("count = 5", "count = 5\nnat = { kind = \"none\" }", "s.toml:4: unknown variant `none`"),
        (
            "count = 5",
            "count = 300\nnat.kind = \"symmetric\"\n[world]\nnetwork = \"internet\"",
            "s.toml:4: 300 NATs: a world has at most 255",
        ),
        ("count = 5", "count = 5\n[world]\ntopology = \"rng\"", "s.toml:5: unknown variant `rng`, expected"),
        ("count = 5", "count = 5\n[world]\ntopology = { random-regular = { degree = 5 } }", "s.toml:5: 5 nodes cannot"),
        ("count = 5", "count = 5\n[world]\ntopology = { file = \"none.txt\" }", "s.toml:5: none.txt: "),
        ("count = 5", "count = 5\n[world]\ntopology = \"ring\"\nstart = \"9 s\"", "s.toml:6: who knows whom"),
        ("count = 5", "count = 5\n[world]\nnetwork = \"internet\"\nmulticast = true", "s.toml:6: only a local network"),
        ("put = {}", "load = {}", "s.toml:9: the load lasts as long as the phase"),
        ("put = {}", "for = \"9 s\"\nload = { put = 0 }", "s.toml:10: nothing is put that could be got"),
        ("put = {}", "for = \"9 s\"\nload = { rate = \"0 per s\" }", "s.toml:10: a load with rate 0"),
        ("put = {}", "for = \"9 s\"\nload = { popularity = { zipf = 11 } }", "s.toml:10: 11 is no exponent"),
        ("put = {}", "expect_loss = true", "s.toml:9: the loss is expected from a churn's rate"),
        ("put = {}", "kill.which.prefix = 1", "s.toml:9: there are no prefixes"),
        ("10 s", "10 sec", "s.toml:6: `sec` is no unit here"),
        ("put = {}", "put = { per_node = 0 }", "s.toml:9: put at least one"),
        ("put = {}", "measure = true", "s.toml:9: nothing is measured in no time"),
        ("put = {}", "churn = { rate = \"-1/5 per s\" }", "s.toml:9: "),
        ("put = {}", "kill.which.site = 3", "s.toml:9: there are no sites: give sites = 2 or more"),
        ("put = {}", "kill.which = {}", "s.toml:9: which nodes?"),
        ("put = {}", "", "s.toml:13: nothing has been put before"),
        ("put = {}", "follow.file = \"none.txt\"", "s.toml:9: none.txt: "),
        ("name = \"store\"", "name = \"form\"", "s.toml:8: there are two phases \"form\""),
        ("name = \"store\"", "name = \"The store\"", "s.toml:8: a phase's name has"),
        ("title = \"small\"", "title = \"small", "s.toml:1: "),
        (
            "title = \"small\"",
            "title = \"small\"\n[target.read_gt]\nat_least = 3",
            "s.toml:2: there is no figure `read_gt`",
        ),
        ("title = \"small\"", "title = \"small\"\nshow = [\"hld\"]", "s.toml:2: there is no figure `hld`"),
    ] {
        let said = changed(from, to);
        assert!(said.starts_with(what), "{to}: {said}");
    }
}

#[test]
fn the_command_line_changes_keys_and_its_mistakes_are_named() {
    let s = cases(
        SMALL,
        &["nodes.0.count=7", "phase.form.for=20s", "nodes.desktop.config.beat=\"2 s\"", "title=two words"],
    );
    assert!(s.unwrap_err().starts_with("--set nodes.desktop.config.beat=\"2 s\": `nodes` has no entry `desktop`"));
    let s =
        cases(SMALL, &["nodes.0.count=7", "phase.form.for=20s", "nodes.0.config.beat=2 s", "title=two words"]).unwrap();
    let s = &s[0].scenario;
    assert_eq!((s.nodes[0].count(), s.phase[0].lasts, &*s.title), (7, units::Time::from_s(20), "two words"));
    assert_eq!(s.nodes[0].spec_machine().config.beat_ms, 2_000);
    for (set, what) in [
        ("runs", "--set runs: write KEY=VALUE"),
        ("a..b=3", "--set a..b=3: the key has an empty part"),
        ("nodes.0.count=2", "--set nodes.0.count=2: 3 copies are wanted"),
        ("nodes.3.count=2", "--set nodes.3.count=2: `nodes` has no entry `3`"),
        ("phase.frm.for=1s", "--set phase.frm.for=1s: `phase` has no entry `frm`: form, store, read"),
        ("phase.form.fr=1s", "--set phase.form.fr=1s: unknown field `fr`"),
        ("phase.form.for=1", "--set phase.form.for=1: 1 has no unit"),
        ("title.x=1", "--set title.x=1: `title` is a value"),
        ("target.held.at_least=x", "--set target.held.at_least=x: invalid type"),
    ] {
        let said = wrong(SMALL, &["runs=3", set]);
        assert!(said.starts_with(what), "{said}");
    }
}

#[test]
fn cases_change_the_base_and_the_command_line_changes_both() {
    let text = format!(
        "{SMALL}[[case]]\nname = \"a\"\nset.nodes.0.count = 6\n[[case]]\nname = \"b\"\n[case.set]\n\
         \"phase.form.for\" = \"1 s\"\ntarget.read_got.at_least = 99\n"
    );
    let read = |sets: &[&str]| {
        let of = |case: Case| (case.name, case.scenario.nodes[0].count(), case.scenario.phase[0].lasts.s());
        cases(&text, sets).unwrap().into_iter().map(of).collect::<Vec<_>>()
    };
    assert_eq!(read(&[]), [("a".into(), 6, 10.0), ("b".into(), 5, 1.0)]);
    assert_eq!(read(&["nodes.0.count=9"]), [("a".into(), 9, 10.0), ("b".into(), 9, 1.0)]);
    let target = cases(&text, &[]).unwrap()[1].scenario.target["read_got"];
    assert!(target.reached(99.0) && !target.reached(98.9));
    let said = wrong(&text.replace("count = 6", "count = 1"), &[]);
    assert!(said.starts_with("s.toml:16: 3 copies are wanted and there are 1 nodes"), "{said}");
    assert!(said.ends_with("(case \"a\")"), "{said}");
    assert!(wrong(&format!("{SMALL}[[case]]\nnme = 1\n"), &[]).starts_with("s.toml:15: unknown field `nme`"));
    assert!(wrong(&format!("case = 3\n{SMALL}"), &[]).starts_with("s.toml:1: write [[case]]"));
}

#[test]
fn memory_grows_with_nodes_and_content() {
    let memory = |set: &str| memory_bytes(&cases(SMALL, &[set]).unwrap()[0].scenario);
    let (few, many) = (memory("nodes.0.count=1000"), memory("nodes.0.count=10000"));
    assert!((9 * few..12 * few).contains(&many), "{few} {many}");
    assert!(memory("phase.store.put.per_node=100") > 2 * memory("phase.store.put.per_node=10"));
    // What was measured per node at 100,000 with tables of 256 is some 100 to 200 KiB.
    assert!((30_000..300_000).contains(&(many / 10_000)), "{}", many / 10_000);
}

/// Every key stands in SCENARIOS.md.
#[test]
fn every_key_is_explained() {
    let reference = include_str!("../../SCENARIOS.md");
    let sources = [
        include_str!("model.rs"),
        include_str!("nodes.rs"),
        include_str!("../net/access.rs"),
        include_str!("../topology.rs"),
    ];
    let load = include_str!("../load.rs").split("impl Default").next().unwrap_or_default();
    let mut keys: Vec<&str> = Vec::new();
    for line in sources.iter().flat_map(|source| source.lines()).chain(load.lines()) {
        let line = line.trim();
        let renamed = line.split_once("rename = \"").and_then(|(_, rest)| rest.split('"').next());
        let field = line
            .strip_prefix("pub ")
            .filter(|rest| !rest.starts_with("fn") && !rest.starts_with("const"))
            .and_then(|rest| rest.split_once(": "));
        keys.extend(renamed);
        keys.extend(field.map(|(name, _)| name).filter(|name| !["lasts", "text", "struct"].contains(name)));
    }
    keys.extend(Settings::NAMES);
    keys.extend(Tables::NAMES);
    keys.extend(["rate", "lives", "replace", "down", "keep_disk"]);
    assert!(keys.len() > 90, "{}", keys.len());
    let missing: Vec<&&str> = keys.iter().filter(|key| !reference.contains(&format!("`{key}`"))).collect();
    assert!(missing.is_empty(), "not in SCENARIOS.md: {missing:?}");
    let values = "multicast random-regular ring star power-law two-clusters edges file degree links full-cone restricted \
                  port-restricted symmetric uniform zipf tiny microcontroller board laptop desktop server";
    let missing: Vec<&str> = values.split_whitespace().filter(|value| !reference.contains(value)).collect();
    assert!(missing.is_empty(), "not in SCENARIOS.md: {missing:?}");
}

#[test]
fn shares_of_all_nodes_become_counts_and_an_order_that_is_drawn() {
    let text = SMALL.replacen(
        "count = 5",
        "machine = \"board\"\nshare = \"70 %\"\n[[nodes]]\nmachine = \"server\"\nshare = \"30 %\"\n[world]\nnodes = 11",
        1,
    );
    let s = &cases(&text, &[]).unwrap()[0].scenario;
    assert_eq!([s.nodes[0].count(), s.nodes[1].count()], [8, 3]);
    assert_ne!(s.order(1), s.order(2));
    assert_eq!(s.order(1).iter().filter(|kind| **kind == 1).count(), 3);
    let more = &cases(&text, &["world.nodes=100"]).unwrap()[0].scenario;
    assert_eq!([more.nodes[0].count(), more.nodes[1].count()], [70, 30]);
    assert!(wrong(&text, &["nodes.0.count=3"]).starts_with("s.toml:4: give count or share, not both"));
}

//! What can be known of a scenario before it is run.

use std::collections::BTreeSet;

use butter_core::config::Config;
use butter_core::memory::Limits;

use super::figures::figure_names;
use super::model::{By, Network, PathPlan, Phase, Scenario, Which};
use super::nodes::{NODES_MAX, Nodes};
use super::units::Time;
use crate::chance;
use crate::fault::Trace;
use crate::topology::Topology;

/// The most nodes of a local network; those that replace others take addresses, too.
const LOCAL_MAX: u64 = 30_000;
/// The most NATs of a world: each has an /16 behind it.
const NATS_MAX: u32 = 255;
/// The most runs of a case.
const RUNS_MAX: u32 = 100_000;
/// The longest that all phases together last.
const TIME_MAX: Time = Time::from_s(366 * 86_400);
/// Bytes per node of its place in the world, its sessions' keys and its checkers, beside its tables.
const PLACE_BYTES: u64 = 8 * 1024;
/// Bytes per block of content: the block, and what indexes and checkers keep of it.
const BLOCK_BYTES: u64 = 4096 + 256;

/// A path in the file, and what is wrong there.
type Wrong = (String, String);

fn wrong(path: impl Into<String>, what: impl Into<String>) -> Result<(), Wrong> {
    Err((path.into(), what.into()))
}

/// What is wrong with it first, if anything.
pub fn check(scenario: &Scenario) -> Option<Wrong> {
    all(scenario).err()
}

fn all(s: &Scenario) -> Result<(), Wrong> {
    if !(1..=RUNS_MAX).contains(&s.runs) {
        return wrong("runs", format!("runs is 1 to {RUNS_MAX}"));
    }
    if s.sample.us() < 10_000 {
        return wrong("sample", "the world can be looked at every 10 ms at most often");
    }
    if s.world.contacts.is_some_and(|contacts| contacts > 64) {
        return wrong("world.contacts", "a node can be told of at most 64 hosts");
    }
    let changes =
        [("world.path", s.world.path != PathPlan::default()), ("phase", s.phase.iter().any(|p| p.path.is_some()))];
    if let Some((path, _)) = changes.iter().find(|(_, changed)| *changed && s.world.network == Network::Earth) {
        return wrong(*path, "the ways between regions of the earth cannot be changed: take network = \"continental\"");
    }
    nodes(s)?;
    topology(s)?;
    let mut names = BTreeSet::new();
    for (i, phase) in s.phase.iter().enumerate() {
        if !names.insert(&phase.name) {
            return wrong(format!("phase.{i}.name"), format!("there are two phases {:?}: name them apart", phase.name));
        }
        self::phase(s, phase).map_err(|(path, what)| {
            let dot = if path.is_empty() { "" } else { "." };
            (format!("phase.{i}{dot}{path}"), what)
        })?;
    }
    if s.phase.is_empty() {
        return wrong("phase", "nothing happens: add a [[phase]]");
    }
    if planned(s) > TIME_MAX {
        return wrong("phase", "all phases together last longer than a year");
    }
    let there = figure_names(s);
    let known = |name: &String, path: String| match there.contains(name) {
        true => Ok(()),
        false => wrong(path, format!("there is no figure `{name}`: there are {}", there.join(", "))),
    };
    s.show.iter().try_for_each(|name| known(name, "show".into()))?;
    s.target.keys().try_for_each(|name| known(name, format!("target.{name}")))?;
    s.beside.keys().try_for_each(|name| known(name, format!("beside.{name}")))
}

fn nodes(s: &Scenario) -> Result<(), Wrong> {
    let total: u64 = s.nodes.iter().map(|nodes| u64::from(nodes.count())).sum();
    if total == 0 {
        return wrong("nodes", "there is no node: give a count of at least 1");
    }
    if nodes_max(s) > NODES_MAX {
        return wrong("nodes", format!("{} nodes: a world has at most {NODES_MAX}", nodes_max(s)));
    }
    let mut names = BTreeSet::new();
    for (i, nodes) in s.nodes.iter().enumerate() {
        let at = |key: &str| format!("nodes.{i}{}{key}", if key.is_empty() { "" } else { "." });
        if !names.insert(nodes.name()) {
            return wrong(at("name"), format!("two kinds of nodes have the name {:?}: name them apart", nodes.name()));
        }
        let machine = nodes.spec_machine();
        if u64::from(machine.config.replicas) > total {
            let replicas = machine.config.replicas;
            let what =
                format!("{replicas} copies are wanted and there are {total} nodes: more nodes, or fewer replicas");
            // Either may be the mistake: replicas, where the file asks for more than is usual.
            let said = nodes.config.replicas.is_some_and(|said| said > Config::default().replicas);
            return wrong(at(if said { "config.replicas" } else { "count" }), what);
        }
        if let Err(error) = machine.config.check() {
            return wrong(at("config"), format!("no node can work so: {error}"));
        }
        limits(&machine.limits).map_err(|(path, what)| (at(&format!("limits.{path}")), what))?;
        let local = s.world.network.is_local();
        if let Some(nat) = nodes.nat {
            if local {
                return wrong(at("nat"), "all nodes are on one local network: take network = \"internet\"");
            }
            if nodes.public == Some(true) {
                return wrong(at("public"), "behind a NAT there is no public address: leave it out");
            }
            if nat.hosts == 0 || nat.mappings == Some(0) {
                return wrong(at("nat"), "hosts and mappings are at least 1");
            }
            continue;
        }
        let public = nodes.public.unwrap_or(!local);
        if !public && !local {
            return wrong(at("public"), "without a local network there are only public addresses");
        }
        if nodes.prefixes > 0 && !public {
            return wrong(at("prefixes"), "only public addresses have prefixes: add public = true");
        }
        if !public && nodes_max(s) > LOCAL_MAX {
            return wrong(at("count"), format!("a local network has room for {LOCAL_MAX} nodes: add public = true"));
        }
    }
    let nats: u32 = s.nodes.iter().map(Nodes::nats).sum();
    if nats > NATS_MAX {
        let i = s.nodes.iter().position(|nodes| nodes.nat.is_some()).unwrap_or(0);
        let what =
            format!("{nats} NATs: a world has at most {NATS_MAX}; put more hosts behind each, such as hosts = 10");
        return wrong(format!("nodes.{i}.nat"), what);
    }
    Ok(())
}

fn topology(s: &Scenario) -> Result<(), Wrong> {
    let world = &s.world;
    if world.multicast == Some(true) && !world.network.is_local() {
        return wrong("world.multicast", "only a local network has multicast: take network = \"lan\" or \"home\"");
    }
    let Some(topology) = &world.topology else { return Ok(()) };
    if *topology == Topology::Multicast {
        return match world.has_multicast() {
            true => Ok(()),
            false => wrong("world.topology", "there is no multicast here: take another topology, or contacts"),
        };
    }
    if world.start != Time::default() {
        return wrong("world.start", "who knows whom is told when all nodes run: leave out start, or take contacts");
    }
    if s.nodes.iter().any(|nodes| nodes.nat.is_some()) {
        return wrong("world.topology", "nobody can know the address of a node behind a NAT: take contacts instead");
    }
    let total: u32 = s.nodes.iter().map(Nodes::count).sum();
    // Whether there is such a topology does not depend on what is drawn.
    let edges = topology.edges(total, &mut chance::stream(0, "topology", 0));
    edges.map(drop).map_err(|why| ("world.topology".to_owned(), why))
}

fn limits(limits: &Limits) -> Result<(), Wrong> {
    let needed = [
        ("hosts", limits.hosts),
        ("peers", limits.peers),
        ("handshakes", limits.handshakes),
        ("outbox", limits.outbox),
        ("calls", limits.calls),
        ("serves", limits.serves),
        ("large_buffers", limits.large_buffers),
        ("known", limits.known),
        ("operations", limits.operations),
        ("jobs", limits.jobs),
        ("events", limits.events),
    ];
    if let Some((name, _)) = needed.iter().find(|(_, n)| *n == 0) {
        return wrong(*name, "no node can work without at least 1");
    }
    if let Some((name, n)) = needed.iter().find(|(_, n)| *n > 65_535) {
        return wrong(*name, format!("{n} entries: at most 65535"));
    }
    if !(4_224..=65_536).contains(&limits.large_bytes) {
        return wrong("large_bytes", "a large buffer has 4224 to 65536 bytes");
    }
    Ok(())
}

fn phase(s: &Scenario, phase: &Phase) -> Result<(), Wrong> {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_';
    if phase.name.is_empty() || !phase.name.chars().all(plain) {
        return wrong("name", "a phase's name has lower-case letters, digits and _: figures begin with it");
    }
    if phase.at_most.is_some() && phase.until.is_none() {
        return wrong("at_most", "at_most belongs to until: what is waited for?");
    }
    if phase.churn.is_some() && phase.lasts == Time::default() {
        return wrong("churn", "the churn lasts as long as the phase: say how long, such as for = \"30 s\"");
    }
    if phase.measure && phase.lasts == Time::default() {
        return wrong(
            "measure",
            "nothing is measured in no time: say how long the phase lasts, such as for = \"60 s\"",
        );
    }
    let kind = |of: &Option<String>, path: &str| match of {
        Some(of) if !s.nodes.iter().any(|nodes| nodes.name() == of) => {
            let names: Vec<&str> = s.nodes.iter().map(Nodes::name).collect();
            wrong(path, format!("there are no nodes {of:?}: there are {}", names.join(", ")))
        }
        _ => Ok(()),
    };
    let chosen = |which: &Which, path: &str| {
        kind(&which.of, &format!("{path}.of"))?;
        let domains = [which.site, which.power, which.prefix].map(|domain| domain.is_some());
        let ways = [which.nodes.is_some(), which.share.is_some()].into_iter().chain(domains);
        match ways.filter(|way| *way).count() {
            0 if which.of.is_none() => wrong(path, "which nodes? give one of nodes, share, site, power, prefix, of"),
            0 | 1 => Ok(()),
            _ => wrong(path, "give only one of nodes, share, site, power and prefix"),
        }?;
        let most = nodes_max(s);
        if which.nodes.is_some_and(|n| u64::from(n) > most) {
            return wrong(format!("{path}.nodes"), format!("there are at most {most} nodes"));
        }
        let most = |of: fn(&Nodes) -> u16| s.nodes.iter().map(of).max().unwrap_or(0);
        let domains = [
            ("site", "sites", which.site, most(|nodes| nodes.sites)),
            ("power", "powers", which.power, most(|nodes| nodes.powers)),
            ("prefix", "prefixes", which.prefix, most(|nodes| nodes.prefixes)),
        ];
        for (key, all, number, most) in domains {
            if number.is_some_and(|number| number == 0 || number > most) {
                let what = match most {
                    0 => format!("there are no {all}: give {all} = 2 or more to [[nodes]]"),
                    _ => format!("{all} are numbered from 1 to {most}: see {all} of [[nodes]]"),
                };
                return wrong(format!("{path}.{key}"), what);
            }
        }
        Ok(())
    };
    let groups = [
        (phase.kill.as_ref().map(|kill| &kill.which), "kill.which"),
        (phase.restart.as_ref().map(|restart| &restart.which), "restart.which"),
        (phase.pause.as_ref().map(|pause| &pause.which), "pause.which"),
        (phase.partition.as_ref().map(|partition| &partition.which), "partition.which"),
        (phase.disk.as_ref().map(|disk| &disk.which), "disk.which"),
    ];
    for (which, path) in groups {
        which.map_or(Ok(()), |which| chosen(which, path))?;
    }
    if phase.kill.as_ref().is_some_and(|kill| kill.detect) && phase.lasts == Time::default() {
        return wrong("kill.detect", "to detect takes time: say how long the phase lasts, such as for = \"10 s\"");
    }
    if let Some(join) = &phase.join {
        kind(&join.of, "join.of")?;
    }
    if let Some(follow) = &phase.follow {
        kind(&follow.of, "follow.of")?;
    }
    if phase.expect_loss && phase.churn.as_ref().is_none_or(|churn| churn.rate().is_none()) {
        return wrong("expect_loss", "the loss is expected from a churn's rate: give churn = { rate = … }");
    }
    if let Some(load) = &phase.load {
        if phase.lasts == Time::default() {
            return wrong("load", "the load lasts as long as the phase: say how long, such as for = \"60 s\"");
        }
        let mut before = s.phase.iter().take_while(|other| other.name != phase.name).chain([phase]);
        if load.get.ppm() > 0 && load.put.ppm() == 0 && !before.any(|phase| phase.put.is_some()) {
            return wrong("load", "nothing is put that could be got: give the load puts, or a phase before it");
        }
    }
    if let Some(put) = &phase.put {
        kind(&put.of, "put.of")?;
        if put.per_node == 0 || put.size.bytes() == 0 {
            return wrong("put", "put at least one object per node, of at least 1 B");
        }
    }
    if let Some(get) = &phase.get {
        let before = s.phase.iter().take_while(|other| other.name != phase.name).chain([phase]);
        if !get.absent && !before.into_iter().any(|phase| phase.put.is_some()) {
            return wrong("get", "nothing has been put before: add a phase with put");
        }
        if get.at_once == Some(0) || get.count == Some(0) {
            return wrong("get", "at_once and count are at least 1");
        }
        if get.absent && get.count.is_none() {
            return wrong("get", "how many absent objects? give count");
        }
        if get.same && get.by == By::Fresh && get.count.is_none() {
            return wrong("get", "how many gets of the same object? give count");
        }
    }
    Ok(())
}

/// Virtual time that all phases together last at most, gets and puts not counted.
pub fn planned(s: &Scenario) -> Time {
    let phase = |phase: &Phase| {
        let wait = phase.get.as_ref().map_or(0, |get| if get.by == By::Fresh { get.wait.us() } else { 0 });
        phase.lasts.us() + phase.waits().map_or(0, Time::us) + wait
    };
    Time::from_us(s.world.start.us() + s.phase.iter().map(phase).sum::<u64>())
}

/// The most nodes that run at the same time.
pub fn nodes_max(s: &Scenario) -> u64 {
    let joined = s.phase.iter().filter_map(|phase| Some(u64::from(phase.join.as_ref()?.count)));
    let follow = s.phase.iter().filter_map(|phase| Trace::read(&phase.follow.as_ref()?.text).ok());
    let followed = follow.map(|trace| u64::from(trace.nodes()));
    s.nodes.iter().map(|nodes| u64::from(nodes.count())).chain(joined).chain(followed).sum()
}

/// An estimate of the memory of one run, in bytes: tables as full as so many nodes and objects make them, and all content.
pub fn memory_bytes(s: &Scenario) -> u64 {
    let nodes = nodes_max(s);
    let mut objects = 0;
    let mut blocks = 0;
    for put in s.phase.iter().filter_map(|phase| phase.put.as_ref()) {
        let puts = u64::from(put.per_node) * put.nodes.map_or(nodes, u64::from);
        objects += puts;
        blocks += puts * put.size.blocks();
    }
    let copies = s.nodes.iter().map(|nodes| u64::from(nodes.spec_machine().config.replicas)).max().unwrap_or(1);
    let held = (blocks * copies).div_ceil(nodes.max(1));
    let tables = |kind: &Nodes| {
        let all = kind.spec_machine().limits;
        let most = |n: u64, limit: usize| limit.min(usize::try_from(n).unwrap_or(usize::MAX));
        // What is seldom in use takes little: tables grow as they are used.
        let used = Limits {
            hosts: most(nodes, all.hosts),
            peers: most(nodes.min(48), all.peers),
            handshakes: 1,
            outbox: all.outbox.min(32),
            strays: all.strays.min(4),
            relays: 0,
            calls: all.calls.min(8),
            serves: all.serves.min(8),
            small_buffers: 4,
            large_buffers: 0,
            known: most(nodes, all.known),
            items: most(held, all.items),
            pointers: most(2 * held, all.pointers),
            operations: 1,
            events: 8,
            ..all
        };
        u64::from(kind.count()) * (used.bytes() as u64 + PLACE_BYTES)
    };
    let kinds: u64 = s.nodes.iter().map(tables).sum();
    let first: u64 = s.nodes.iter().map(|nodes| u64::from(nodes.count())).sum();
    kinds * nodes / first.max(1) + blocks * copies * BLOCK_BYTES + objects * 256
}

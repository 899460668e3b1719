//! What `butter help` says.

use crate::args::Topic;

const ALL: &str = "\
butter: a node that finds others and keeps content alive with them

Usage: butter [COMMAND] [OPTIONS]

Commands:
  run      run a node in this terminal (also without any command)
  id       show the node's id
  peers    show the hosts that the running node knows
  groups   show the groups in which it keeps content
  put      store files
  get      fetch what was stored
  status   show how the running node is
  sim      run a simulated network
  help     explain a command: butter help put

Options of all commands:
  --data DIR     where the node keeps its identity and hosts; each directory is a node of
                 its own [default: ~/.local/share/butter, or your system's equivalent]
  --json         results as JSON on standard output
  -v, -vv        more messages;  -q: errors only
  -h, --help     explain the command
  -V, --version  show the version

Try it, with two terminals on one machine:
  butter run                              a node
  butter put holiday.mp4                  prints the id of what is stored
  butter run --data /tmp/second           a second node: it finds the first by itself
  butter get ID -o copy.mp4 --data /tmp/second

Results go to standard output, messages to standard error. Exit codes:
  0  it worked                        4  no node runs in the data directory
  1  it failed; the message says why  5  fewer nodes hold it than --min-replicas asked
  2  the command line makes no sense  130  interrupted
  3  what was asked for is not there
";

const RUN: &str = "\
butter run: run a node in this terminal

Usage: butter run [OPTIONS]

The node finds others on the local network by itself, and others elsewhere by --join.
Ctrl-C stops it: it first hands what it keeps to others, for 5 seconds at most; a second
Ctrl-C stops it at once. Its identity and the hosts it knows survive in the data
directory. What it stores for the network is kept in memory.

Options:
  --network NAME      the network to be in: nodes of different networks ignore each other
                      [default: that of the ticket joined by, else butter]
  --secret-file FILE  close the network with a secret: without it not even a ping is
                      answered. FILE holds 32 random bytes as 64 hexadecimal digits (or
                      52 characters of z-base-32). A passphrase will not do.
  --listen ADDR       IP address and port to listen at [default: all addresses of the
                      machine, any free port]
  --join ADDR         join by this node, such as example.org:4000; may be repeated
  --join TICKET       join by the ticket that another node printed
  --no-lan            do not look for nodes on the local network, nor be found there
  --storage SIZE      memory to give to the network: 500M (10^6 bytes), 10GiB (2^30), …
                      [default: 1GiB]
  --place PLACE       where this node stands, a name or a number: copies are spread over
                      places, as what stands together fails together
  --data DIR, --json, -v, -q: see butter help

With --json one line is printed when the node is ready:
  {\"id\",\"network\",\"closed\",\"addresses\",\"ticket\",\"control\"}

Examples:
  butter run
  butter run --network home --storage 20GiB --place cellar
  openssl rand -hex 32 > home.secret && chmod 600 home.secret
  butter run --network home --secret-file home.secret
  butter run --listen 0.0.0.0:4000                 with port 4000/udp forwarded, then
  butter run --join example.org:4000               at somebody else's
";

const ID: &str = "\
butter id: show the node's id

Usage: butter id [--data DIR] [--json]

An id is the node's public key, 52 characters. If there is no node in the data directory
yet, its identity is made now. The node need not be running.

With --json: {\"id\"}

Examples:
  butter id
  butter id --data /tmp/second
";

const PEERS: &str = "\
butter peers: show the hosts that the running node knows

Usage: butter peers [--data DIR] [--json]

STATE is connected, met (there was a session), heard (somebody told of it) or vanished.
CLASS says what a host has more of (+) than the mean of all that the node knows.

With --json an array of
  {\"id\",\"addresses\",\"state\",\"quality\":{\"uptime_min\",\"free_bytes\",\"hosts\",\"power\",
   \"ambassador\",\"storage\",\"place\"},\"class\",\"rtt_ms\",\"last_seen_s\"}
The numbers in quality are what the host says of itself, rounded down to powers of two;
rtt_ms is null while not known.

Examples:
  butter peers
  butter peers --json | jq -r '.[] | select(.state == \"connected\") | .id'
";

const GROUPS: &str = "\
butter groups: show the groups in which the running node keeps content

Usage: butter groups [--data DIR] [--json]

A group is a small set of nodes that together keep many items. It is cold with fewer live
members than wanted (it recruits), goldilocks with just as many, hot with more.

With --json an array of
  {\"id\",\"state\":\"cold\"|\"goldilocks\"|\"hot\",\"members\":[id …],\"wanted\",\"agreeing\",
   \"items\",\"bytes\",\"free\"}
agreeing counts the other members that had the same items at their last beat.

Examples:
  butter groups
  butter groups --json | jq 'all(.state == \"goldilocks\")'
";

const PUT: &str = "\
butter put: store files

Usage: butter put FILE... [--min-replicas N] [--data DIR] [--json]

Stores each file, or standard input as -, and prints its id: one line for each, in the
order given. It ends when as many nodes hold it as should, or all that can.

Options:
  --min-replicas N  fewer nodes that hold it are an error (exit code 5), its id is then
                    printed on standard error only
  --data DIR, --json, -v, -q: see butter help

With --json a line for each file: {\"id\",\"bytes\",\"blocks\",\"replicas\",\"seconds\",\"file\"},
or {\"file\",\"error\"}.

Examples:
  butter put holiday.mp4
  tar c photos | butter put -
  butter put *.txt > ids                many small files at once, 32 at a time
  butter put --min-replicas 3 thesis.pdf
";

const GET: &str = "\
butter get: fetch what was stored

Usage: butter get ID [-o FILE] [--data DIR] [--json]

Writes the object to standard output, or to FILE: first to FILE.ID.part beside it, renamed
when it is complete. If it is interrupted, the same command goes on where it stopped.
Every block is checked against the id. Exit code 3: nobody asked has it.

Options:
  -o, --output FILE  where to write it
  --data DIR, --json, -v, -q: see butter help

With --json and -o: {\"id\",\"bytes\",\"seconds\",\"file\"}

Examples:
  butter get ID -o holiday.mp4
  butter get ID | tar x
";

const STATUS: &str = "\
butter status: show how the running node is

Usage: butter status [--data DIR] [--json]

With --json:
  {\"id\",\"network\",\"closed\",\"version\",\"pid\",\"addresses\",\"ticket\",\"uptime_s\",\"peers\",
   \"hosts\",\"groups\":{\"cold\",\"goldilocks\",\"hot\",\"known\"},\"items\",\"bytes\",\"free\",
   \"storage\",\"counters\":{…}}
The counters are of everything that was done, dropped, refused or evicted since start.

Examples:
  butter status
  butter status --json | jq .counters.bytes_out
";

const SIM: &str = "\
butter sim: run a simulated network

Usage: butter sim SCENARIO.toml [--seed N] [--runs K] [--set KEY=VALUE]... [--json]
                  [--case NAME]... [--report DIR] [--threads N]

Runs many real nodes in one process, on a virtual clock, as a scenario says: who is there,
how packets travel, what goes wrong, what is put and got. Prints what was measured: means
over the runs with 95 % intervals, targets, and what each figure counts. The same scenario
with the same seed gives the same figures on every machine, whatever --threads says.
Ctrl-C keeps the runs that have ended; a second one ends at once.

Options:
  --seed N         seed of the first run; run i has seed N + i  [default: the scenario's]
  --runs K         runs of each case                            [default: the scenario's]
  --set KEY=VALUE  change a key of the scenario; may be repeated. Parts of a key join
                   by dots; entries of a list are named by name or number, from 0
  --case NAME      run only the case with this name; may be repeated  [default: all]
  --report DIR     write DIR/index.html, a page with plots over time
  --threads N      runs at the same time                            [default: all cores]
  --json           everything, in the form that adapters/sim/SCENARIOS.md explains
  -v               counting rules of all figures;  -q: no progress

Instead of a scenario, worlds drawn from seeds: troubled, healed, keeping every rule:
  butter sim --swarm [--seed N] [--runs K] [--seconds S] [--threads N] [--json]
  --seconds S      no run begins after that                [default: 60, without --runs]
  --seed N         the first seed                                   [default: a new one]
  --without KINDS  what is not to happen, such as kill,pause
  --nodes N, --for-ms MS   less of it
  --shrink         look for a smaller case that fails
  --log FILE       append a line that says what was run

Exit codes: 1 a rule of the protocol was broken, 2 the scenario makes no sense (the error
says where: file:line).

Examples:
  butter sim tests/scenarios/original-retention.toml --runs 200
  butter sim tests/scenarios/original-retention.toml --case 'p = 1/50' --threads 1
  butter sim tests/scenarios/home.toml --set nodes.0.count=12 --report home-report

The format of scenarios: adapters/sim/SCENARIOS.md
";

/// The help on a command, or on all of them.
pub fn text(topic: Option<Topic>) -> &'static str {
    match topic {
        None | Some(Topic::Help) => ALL,
        Some(Topic::Run) => RUN,
        Some(Topic::Id) => ID,
        Some(Topic::Peers) => PEERS,
        Some(Topic::Groups) => GROUPS,
        Some(Topic::Put) => PUT,
        Some(Topic::Get) => GET,
        Some(Topic::Status) => STATUS,
        Some(Topic::Sim) => SIM,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_is_explained_within_eighty_or_so_columns() {
        for topic in Topic::ALL {
            let text = text(Some(*topic));
            assert!(text.lines().all(|line| line.chars().count() <= 90), "{topic:?}");
            assert!(text.starts_with("butter") && text.contains("Usage: "), "{topic:?}");
            assert!(ALL.contains(&format!("\n  {}", topic.name())), "{topic:?}");
        }
    }
}

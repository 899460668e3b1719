//! The command line, understood and checked before anything is done.

use std::ffi::OsString;
use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use butter_core::id::Key;
use butter_core::identity::NETWORK_NAME_MAX;
use butter_core::ticket::{TICKET_PREFIX, Ticket};
use lexopt::{Arg, Parser, ValueExt};

use crate::failure::Failure;
use crate::sim::Sim;
use crate::swarm::kinds;
use crate::units::parse_size;

/// Storage given when nothing is said: 1 GiB.
const STORAGE: u64 = 1 << 30;
/// The most nodes that can be asked to hold something.
const REPLICAS_MAX: u8 = 8;

/// What is to be done.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Command {
    /// Run a node.
    Run(Run),
    /// Show the node's id.
    Id,
    /// Show the hosts that the node knows.
    Peers,
    /// Show the groups that the node is in.
    Groups,
    /// Show how the node is.
    Status,
    /// Store files, `-` being standard input.
    Put {
        /// Which, in order.
        files: Vec<PathBuf>,
        /// Fewer nodes that hold it are an error.
        min_replicas: u8,
    },
    /// Fetch an object.
    Get {
        /// Which.
        id: Key,
        /// Into which file; `None`: to standard output.
        output: Option<PathBuf>,
    },
    /// Run a simulation.
    Sim(Sim),
    /// Explain a command, or all of them.
    Help(Option<Topic>),
    /// Show the version.
    Version,
}

/// How a node is to be run.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Run {
    /// The network's name; `None`: the ticket's, or else `butter`.
    pub network: Option<String>,
    /// The file with a closed network's secret.
    pub secret_file: Option<PathBuf>,
    /// The address to listen at.
    pub listen: Option<SocketAddr>,
    /// By whom to join.
    pub join: Vec<Join>,
    /// Whether to look for nodes on the local network.
    pub lan: bool,
    /// Bytes of storage given to the network.
    pub storage: u64,
    /// The place of this node; 0 is not set.
    pub place: u16,
}

impl Default for Run {
    fn default() -> Run {
        Run { network: None, secret_file: None, listen: None, join: Vec::new(), lan: true, storage: STORAGE, place: 0 }
    }
}

/// By whom to join.
#[derive(Clone, PartialEq, Eq, Debug)]
pub enum Join {
    /// Host and port.
    Addr(String),
    /// A ticket.
    Ticket(Box<Ticket>),
}

/// A whole command line.
#[derive(Clone, PartialEq, Eq, Debug)]
pub struct Args {
    /// What is to be done.
    pub command: Command,
    /// The data directory; `None`: the platform's default.
    pub data: Option<PathBuf>,
    /// Results as JSON.
    pub json: bool,
    /// −1 errors only, 0 what happens, 1 details, 2 everything.
    pub verbosity: i8,
}

macro_rules! topics {
    ($($variant:ident $name:literal,)*) => {
        /// A command, by name.
        #[derive(Clone, Copy, PartialEq, Eq, Debug)]
        #[allow(missing_docs, reason = "the names say it")]
        pub enum Topic { $($variant,)* }

        impl Topic {
            /// All, in the order of the help.
            pub const ALL: &[Topic] = &[$(Topic::$variant,)*];

            /// Its name on the command line.
            pub const fn name(self) -> &'static str {
                match self { $(Topic::$variant => $name,)* }
            }
        }
    };
}

topics! {
    Run "run",
    Id "id",
    Peers "peers",
    Groups "groups",
    Put "put",
    Get "get",
    Status "status",
    Sim "sim",
    Help "help",
}

/// The options, and the command that each belongs to; `None`: all of them.
const OPTIONS: &[(&str, Option<Topic>)] = &[
    ("data", None),
    ("json", None),
    ("verbose", None),
    ("quiet", None),
    ("help", None),
    ("version", None),
    ("network", Some(Topic::Run)),
    ("secret-file", Some(Topic::Run)),
    ("listen", Some(Topic::Run)),
    ("join", Some(Topic::Run)),
    ("no-lan", Some(Topic::Run)),
    ("storage", Some(Topic::Run)),
    ("place", Some(Topic::Run)),
    ("min-replicas", Some(Topic::Put)),
    ("output", Some(Topic::Get)),
    ("seed", Some(Topic::Sim)),
    ("runs", Some(Topic::Sim)),
    ("set", Some(Topic::Sim)),
    ("case", Some(Topic::Sim)),
    ("report", Some(Topic::Sim)),
    ("threads", Some(Topic::Sim)),
    ("swarm", Some(Topic::Sim)),
    ("seconds", Some(Topic::Sim)),
    ("without", Some(Topic::Sim)),
    ("nodes", Some(Topic::Sim)),
    ("for-ms", Some(Topic::Sim)),
    ("shrink", Some(Topic::Sim)),
    ("log", Some(Topic::Sim)),
];

/// The name that was probably meant.
fn nearest<'a>(name: &str, all: impl Iterator<Item = &'a str>) -> Option<&'a str> {
    let distance = |other: &str| strsim::damerau_levenshtein(name, other);
    // Names that begin the same are meant, too: `--secret`.
    let begins = |other: &str| name.len() >= 3 && other.starts_with(name);
    all.map(|other| (if begins(other) { 1 } else { distance(other) }, other))
        .filter(|(distance, other)| *distance <= 1 + other.len() / 4)
        .min()
        .map(|(_, other)| other)
}

fn unknown_option(name: &str) -> Failure {
    let hint = match nearest(name, OPTIONS.iter().map(|(name, _)| *name)) {
        Some(near) => format!("did you mean --{near}?"),
        None => "`butter help` shows all there are".to_owned(),
    };
    Failure::usage(format!("there is no option --{name}; {hint}"))
}

/// Finds a command by its name.
fn topic(name: &str) -> Result<Topic, Failure> {
    let found = Topic::ALL.iter().copied().find(|topic| topic.name() == name);
    found.ok_or_else(|| {
        let hint = match nearest(name, Topic::ALL.iter().map(|topic| topic.name())) {
            Some(near) => format!("did you mean `butter {near}`?"),
            None => "`butter help` shows all there are".to_owned(),
        };
        Failure::usage(format!("there is no command {name:?}; {hint}"))
    })
}

/// All that may be said, before it is known for which command.
#[derive(Default)]
struct Said {
    topic: Option<Topic>,
    operands: Vec<OsString>,
    options: Vec<&'static str>,
    data: Option<PathBuf>,
    verbosity: i8,
    run: Run,
    min_replicas: u8,
    output: Option<PathBuf>,
    sim: Sim,
}

impl Said {
    fn has(&self, name: &str) -> bool {
        self.options.contains(&name)
    }

    fn option(&mut self, name: &'static str, parser: &mut Parser) -> Result<(), Failure> {
        if self.has(name) && !["join", "set", "case", "verbose"].contains(&name) {
            return Err(Failure::usage(format!("--{name} is given twice")));
        }
        self.options.push(name);
        let mut value = || -> Result<OsString, Failure> {
            parser.value().map_err(|_| Failure::usage(format!("--{name} needs a value after it: see `butter help`")))
        };
        match name {
            "data" => self.data = Some(value()?.into()),
            "verbose" => self.verbosity = self.verbosity.saturating_add(1),
            "quiet" => self.verbosity = -1,
            "network" => self.run.network = Some(network(text(name, value()?)?)?),
            "secret-file" => self.run.secret_file = Some(value()?.into()),
            "listen" => self.run.listen = Some(listen(&text(name, value()?)?)?),
            "join" => self.run.join.push(join(text(name, value()?)?)?),
            "no-lan" => self.run.lan = false,
            "storage" => self.run.storage = storage(&text(name, value()?)?)?,
            "place" => self.run.place = place(&text(name, value()?)?)?,
            "min-replicas" => self.min_replicas = min_replicas(&text(name, value()?)?)?,
            "output" => self.output = Some(value()?.into()),
            "seed" => self.sim.seed = Some(number(name, &text(name, value()?)?, 0)?),
            "runs" => self.sim.runs = Some(number(name, &text(name, value()?)?, 1)?),
            "threads" => self.sim.threads = Some(number(name, &text(name, value()?)?, 1)?),
            "set" => self.sim.sets.push(text(name, value()?)?),
            "case" => self.sim.only.push(text(name, value()?)?),
            "report" => self.sim.report = Some(value()?.into()),
            "swarm" => drop(self.sim.swarm.get_or_insert_default()),
            "seconds" => {
                self.sim.swarm.get_or_insert_default().seconds = Some(number(name, &text(name, value()?)?, 1)?)
            }
            "without" => self.sim.swarm.get_or_insert_default().less.without = kinds(&text(name, value()?)?)?,
            "nodes" => {
                self.sim.swarm.get_or_insert_default().less.nodes = Some(number(name, &text(name, value()?)?, 2)?)
            }
            "for-ms" => {
                self.sim.swarm.get_or_insert_default().less.for_ms = Some(number(name, &text(name, value()?)?, 1)?)
            }
            "shrink" => self.sim.swarm.get_or_insert_default().shrink = true,
            "log" => self.sim.swarm.get_or_insert_default().log = Some(value()?.into()),
            _ => {}
        }
        Ok(())
    }

    fn operand(&mut self, value: OsString) -> Result<(), Failure> {
        match (self.topic, value.to_str()) {
            (None, Some(name)) => self.topic = Some(topic(name)?),
            (None, None) => {
                return Err(Failure::usage(format!(
                    "there is no command {value:?}; `butter help` shows all there are"
                )));
            }
            (Some(_), _) => self.operands.push(value),
        }
        Ok(())
    }

    fn command(&mut self) -> Result<Command, Failure> {
        if self.has("version") {
            return Ok(Command::Version);
        }
        if self.has("help") {
            return Ok(Command::Help(self.topic));
        }
        let topic = self.topic.unwrap_or(Topic::Run);
        let stranger =
            |name: &&&'static str| OPTIONS.iter().any(|(n, of)| *n == **name && of.is_some_and(|of| of != topic));
        if let Some(name) = self.options.iter().find(stranger) {
            let of = OPTIONS.iter().find(|(n, _)| n == name).and_then(|(_, of)| *of).map_or("", Topic::name);
            return Err(Failure::usage(format!("--{name} belongs to `butter {of}`, not to `butter {}`", topic.name())));
        }
        let operands = std::mem::take(&mut self.operands);
        let (fewest, most, wants) = match topic {
            Topic::Put => (1, usize::MAX, "a file to store, or - for standard input: butter put FILE"),
            Topic::Sim if self.has("swarm") => (0, 0, "no scenario with --swarm"),
            Topic::Sim => (1, 1, "a scenario's file: butter sim SCENARIO.toml"),
            Topic::Get => (1, 1, "the id of one object: butter get ID"),
            Topic::Help => (0, 1, "at most one command to explain"),
            _ => (0, 0, "nothing after it but options"),
        };
        if operands.len() < fewest || operands.len() > most {
            return Err(Failure::usage(format!("`butter {}` wants {wants}", topic.name())));
        }
        Ok(match topic {
            Topic::Run => Command::Run(self.checked_run()?),
            Topic::Id => Command::Id,
            Topic::Peers => Command::Peers,
            Topic::Groups => Command::Groups,
            Topic::Status => Command::Status,
            Topic::Put => {
                if operands.iter().filter(|file| *file == "-").count() > 1 {
                    return Err(Failure::usage("standard input can be stored only once: give - once"));
                }
                Command::Put {
                    files: operands.into_iter().map(PathBuf::from).collect(),
                    min_replicas: self.min_replicas,
                }
            }
            Topic::Get => {
                let id = operands.into_iter().next().unwrap_or_default();
                Command::Get {
                    id: key(&id.to_string_lossy())?,
                    output: self.output.take().filter(|path| path.as_os_str() != "-"),
                }
            }
            Topic::Sim if self.sim.swarm.is_some() && !self.has("swarm") => {
                return Err(Failure::usage(
                    "--seconds, --without, --nodes, --for-ms, --shrink and --log go with --swarm",
                ));
            }
            Topic::Sim => {
                let scenario = operands.into_iter().next().unwrap_or_default().into();
                Command::Sim(Sim { scenario, ..std::mem::take(&mut self.sim) })
            }
            Topic::Help => Command::Help(match operands.first() {
                Some(name) => Some(self::topic(&name.to_string_lossy())?),
                None => None,
            }),
        })
    }

    /// The settings of a node, which must fit each other.
    fn checked_run(&mut self) -> Result<Run, Failure> {
        let mut run = std::mem::take(&mut self.run);
        for join in &run.join {
            let Join::Ticket(ticket) = join else { continue };
            let network = run.network.get_or_insert_with(|| ticket.network.as_str().to_owned());
            if *network != *ticket.network {
                return Err(Failure::usage(format!(
                    "the ticket is for the network {:?}, not {network:?}: a node is in one network",
                    ticket.network
                )));
            }
        }
        Ok(run)
    }
}

fn text(name: &str, value: OsString) -> Result<String, Failure> {
    value.string().map_err(|_| Failure::usage(format!("the value of --{name} is not UTF-8")))
}

/// A whole number that is at least `least`.
fn number<T: std::str::FromStr + PartialOrd + std::fmt::Display>(
    name: &str,
    text: &str,
    least: T,
) -> Result<T, Failure> {
    match text.parse::<T>() {
        Ok(n) if n >= least => Ok(n),
        _ => Err(Failure::usage(format!("--{name} is a whole number from {least} on, not {text:?}"))),
    }
}

fn network(name: String) -> Result<String, Failure> {
    if (1..=NETWORK_NAME_MAX).contains(&name.len()) {
        return Ok(name);
    }
    Err(Failure::usage(format!("the name of a network has 1 to {NETWORK_NAME_MAX} bytes, this one {}", name.len())))
}

fn listen(text: &str) -> Result<SocketAddr, Failure> {
    text.parse::<SocketAddr>().map_err(|_| {
        let hint = match text.parse::<IpAddr>() {
            Ok(ip) => format!("add a port, 0 for any free one: {}", SocketAddr::new(ip, 0)),
            Err(_) => "write an IP address of this machine and a port, such as 0.0.0.0:4000 or [::]:4000".to_owned(),
        };
        Failure::usage(format!("cannot listen at {text:?}: {hint}"))
    })
}

/// Whether a text is meant to be a ticket. `butter:4000` is not: a host may have that name.
fn is_ticket(text: &str) -> bool {
    let begins = text.get(..TICKET_PREFIX.len()).is_some_and(|begin| begin.eq_ignore_ascii_case(TICKET_PREFIX));
    begins && text.get(TICKET_PREFIX.len()..).is_some_and(|rest| rest.parse::<u16>().is_err())
}

fn join(text: String) -> Result<Join, Failure> {
    if is_ticket(&text) {
        let ticket: Ticket = text.parse().map_err(|error| {
            Failure::usage(format!("cannot join by this ticket: {error}; copy all of it once more"))
        })?;
        if ticket.hosts.is_empty() {
            return Err(Failure::usage("cannot join by this ticket: it has no address"));
        }
        return Ok(Join::Ticket(Box::new(ticket)));
    }
    let port = match text.parse::<SocketAddr>() {
        Ok(addr) => Some(addr.port()),
        Err(_) => text
            .rsplit_once(':')
            .filter(|(host, _)| !host.is_empty() && !host.contains(':'))
            .and_then(|(_, port)| port.parse().ok()),
    };
    match port {
        Some(1..) => Ok(Join::Addr(text)),
        Some(0) => Err(Failure::usage(format!("cannot join {text:?}: no node has port 0"))),
        None => Err(Failure::usage(format!(
            "cannot join {text:?}: write a host and its port, such as example.org:4000 or [2001:db8::1]:4000, or a ticket"
        ))),
    }
}

fn storage(text: &str) -> Result<u64, Failure> {
    parse_size(text).ok_or_else(|| {
        Failure::usage(format!(
            "{text:?} is not a size: write a number of bytes, or with a unit, such as 500M, 1.5G or 10GiB"
        ))
    })
}

/// Places are numbers to the network; a name is made one, the same at every node.
fn place(text: &str) -> Result<u16, Failure> {
    match text.parse::<u16>() {
        Ok(0) => Err(Failure::usage("0 is no place: give a name, or a number from 1 to 65535")),
        Ok(number) => Ok(number),
        Err(_) if text.trim().is_empty() => Err(Failure::usage("the name of a place is not empty")),
        Err(_) => {
            let hash = butter_core::id::route(text).0;
            Ok((hash >> 16 ^ hash) as u16 | 1)
        }
    }
}

fn min_replicas(text: &str) -> Result<u8, Failure> {
    match text.parse::<u8>() {
        Ok(n) if n <= REPLICAS_MAX => Ok(n),
        _ => Err(Failure::usage(format!("--min-replicas is a number from 0 to {REPLICAS_MAX}, not {text:?}"))),
    }
}

fn key(text: &str) -> Result<Key, Failure> {
    text.parse().map_err(|error| {
        Failure::usage(format!("{text:?} is not the id of an object: {error}; `butter put` prints ids"))
    })
}

/// Understands a command line: all that follows the program's name.
///
/// # Errors
/// Says what makes no sense, and what would.
pub fn parse(args: impl IntoIterator<Item = impl Into<OsString>>) -> Result<Args, Failure> {
    let mut parser = Parser::from_args(args);
    let mut said = Said::default();
    loop {
        let arg = parser.next().map_err(|error| Failure::usage(error.to_string()))?;
        let name = match arg {
            None => break,
            Some(Arg::Value(value)) => {
                said.operand(value)?;
                continue;
            }
            Some(Arg::Long(name)) => {
                let known = OPTIONS.iter().find(|(known, _)| *known == name).map(|(known, _)| *known);
                known.ok_or_else(|| unknown_option(name))?
            }
            Some(Arg::Short('h')) => "help",
            Some(Arg::Short('V')) => "version",
            Some(Arg::Short('v')) => "verbose",
            Some(Arg::Short('q')) => "quiet",
            Some(Arg::Short('o')) => "output",
            Some(Arg::Short(letter)) => {
                return Err(Failure::usage(format!("there is no option -{letter}; `butter help` shows all there are")));
            }
        };
        said.option(name, &mut parser)?;
    }
    if said.has("verbose") && said.has("quiet") {
        return Err(Failure::usage("-v and -q contradict each other"));
    }
    let command = said.command()?;
    Ok(Args { command, json: said.has("json"), data: said.data, verbosity: said.verbosity })
}

#[cfg(test)]
#[path = "args_tests.rs"]
mod tests;

use butter_core::id::NodeId;

use super::*;

fn ok(line: &str) -> Args {
    parse(line.split_whitespace()).unwrap_or_else(|failure| panic!("{line}: {failure}"))
}

fn err(line: &str) -> String {
    match parse(line.split_whitespace()) {
        Err(failure) => {
            assert_eq!(failure.exit, crate::failure::Exit::Usage, "{line}");
            failure.message
        }
        Ok(args) => panic!("{line} was understood as {args:?}"),
    }
}

fn ticket(network: &str) -> Ticket {
    let addr: SocketAddr = "192.0.2.7:4000".parse().unwrap();
    let hosts = [(NodeId([9; 32]), addr.into())].into_iter().collect();
    Ticket { network: network.try_into().unwrap(), hosts, object: None }
}

#[test]
fn no_command_runs_a_node() {
    assert_eq!(ok("").command, Command::Run(Run::default()));
    assert_eq!(ok("--no-lan").command, Command::Run(Run { lan: false, ..Run::default() }));
}

#[test]
fn options_may_stand_before_and_after_the_command() {
    let before = ok("--data d --json peers");
    assert_eq!(before, ok("peers --json --data=d"));
    assert_eq!(before.data, Some("d".into()));
    assert!(before.json);
}

#[test]
fn all_of_run_is_understood() {
    let line = "run --network home --secret-file s --listen 127.0.0.1:0 --join example.org:1 --join [::1]:2 --no-lan --storage 1Mi --place 7 -vv";
    let args = ok(line);
    assert_eq!(args.verbosity, 2);
    let run = Run {
        network: Some("home".into()),
        secret_file: Some("s".into()),
        listen: Some("127.0.0.1:0".parse().unwrap()),
        join: vec![Join::Addr("example.org:1".into()), Join::Addr("[::1]:2".into())],
        lan: false,
        storage: 1 << 20,
        place: 7,
    };
    assert_eq!(args.command, Command::Run(run));
}

#[test]
fn a_ticket_brings_the_network_with_it() {
    let ticket = ticket("lab");
    let Command::Run(run) = ok(&format!("--join {ticket}")).command else { panic!() };
    assert_eq!(run.network.as_deref(), Some("lab"));
    assert_eq!(run.join, [Join::Ticket(Box::new(ticket.clone()))]);
    assert!(err(&format!("--join {ticket} --network home")).contains("\"lab\""));
}

#[test]
fn damaged_tickets_are_not_joined() {
    let text = ticket("lab").to_string();
    assert!(err(&format!("--join {}", &text[..text.len() - 1])).contains("ticket"));
    assert!(err(&format!("--join {}", Ticket::default())).contains("no address"));
}

#[test]
fn a_host_may_be_called_butter() {
    let Command::Run(run) = ok("--join butter:4000").command else { panic!() };
    assert_eq!(run.join, [Join::Addr("butter:4000".into())]);
}

#[test]
fn mistakes_are_named_with_a_way_out() {
    for (line, says) in [
        ("peer", "did you mean `butter peers`?"),
        ("frobnicate", "`butter help`"),
        ("--lisen 1", "did you mean --listen?"),
        ("--secret x", "did you mean --secret-file?"),
        ("-x", "no option -x"),
        ("--json=yes", "unexpected argument for option '--json'"),
        ("--data", "needs a value"),
        ("--data a --data b", "twice"),
        ("-v -q", "contradict"),
        ("get --listen 127.0.0.1:1 x", "belongs to `butter run`"),
        ("put", "wants a file"),
        ("put - -", "only once"),
        ("put f --min-replicas 9", "0 to 8"),
        ("get", "the id of one object"),
        ("get short", "52 characters"),
        ("status now", "nothing after it"),
        ("--listen 127.0.0.1", "127.0.0.1:0"),
        ("--listen example.org:1", "IP address"),
        ("--join example.org", "example.org:4000"),
        ("--join example.org:0", "port 0"),
        ("--join ::1:4000", "[2001:db8::1]:4000"),
        ("--storage lots", "500M"),
        ("--place 0", "1 to 65535"),
        ("help peer", "did you mean `butter peers`?"),
    ] {
        let message = err(line);
        assert!(message.contains(says), "{line}: {message}");
    }
    assert!(parse(["--network", ""]).is_err() && parse(["--network".to_owned(), "n".repeat(65)]).is_err());
}

#[test]
fn what_begins_with_a_dash_can_be_a_file() {
    let Command::Put { files, .. } = ok("put -- -v --json").command else { panic!() };
    assert_eq!(files, [PathBuf::from("-v"), PathBuf::from("--json")]);
}

#[test]
fn places_have_names_or_numbers() {
    assert_eq!(place("7"), Ok(7));
    assert_eq!(place("cellar"), place("cellar"));
    assert_ne!(place("cellar"), place("attic"));
    assert_ne!(place("cellar"), Ok(0));
}

#[test]
fn help_is_understood_everywhere() {
    assert_eq!(ok("help put").command, Command::Help(Some(Topic::Put)));
    assert_eq!(ok("put --help").command, Command::Help(Some(Topic::Put)));
    assert_eq!(ok("-h").command, Command::Help(None));
    assert_eq!(ok("--version").command, Command::Version);
}

//! A world in some trouble, in which two microcontrollers are recorded.

use butter_core::id::Key;
use butter_crypto::RustCrypto;
use butter_replay::Call;
use butter_sim::scenario::units::Share;
use butter_sim::{Job, Loss, Machine, Path, Recording, Spec, Who, World, WorldConfig};

/// Nodes that are not recorded: a desktop program, and microcontrollers as the recorded ones.
const OTHERS: usize = 14;
/// When the recorded ones start, in virtual milliseconds.
const STARTS_MS: [u64; 2] = [500, 20_000];
/// Virtual seconds, in each of which every recorded node is asked for something. In every third one of the others is replaced.
const SECONDS: u64 = 90;
/// When the first of the recorded ones restarts: what is recorded of it is its second life, with the hosts that it knew.
const RESTART_S: u64 = 15;
/// Bytes of the objects that others put: less than a block, and several blocks.
const LENGTHS: [usize; 2] = [1_500, 10_000];

/// Counters of what has to have happened to the recorded nodes.
const HAPPENED: [&str; 6] = ["sessions_begun", "requests_retried", "groups_joined", "beats_out", "doubts", "lookups"];

/// Runs the world, and returns what was recorded.
pub fn record(seed: u64) -> Vec<Recording> {
    // Enough loss that everything is tried again now and then.
    let lan = Path { loss: Loss::Independent(Share::from_ppm(20_000)), ..Path::LAN };
    let mut world = World::new(&RustCrypto, WorldConfig { seed, lan, ..WorldConfig::default() });
    let micro = Spec { machine: Machine::microcontroller(), ..Spec::default() };
    let (desktop, mut others) = (Spec::default(), Vec::new());
    for n in 0..OTHERS {
        others.push(world.add(if n == 0 { &desktop } else { &micro }));
    }
    let recorded = STARTS_MS.map(|ms| {
        let who = world.add_at(&micro, world.now().plus_ms(ms as u32));
        world.record(who);
        who
    });
    let mut puts = Vec::new();
    for second in 0..SECONDS {
        world.run_for(1_000);
        if second == RESTART_S {
            world.restart(recorded[0], true);
        }
        let at = second as usize % others.len();
        if second % 3 == 1 {
            let bytes = (0..LENGTHS[second as usize % 2]).map(|i| (i as u64 * 31 + second) as u8).collect();
            puts.extend(world.begin_put(others[at], bytes));
        }
        for who in recorded {
            ask(&mut world, who, second, others[second as usize * 7 % others.len()], &puts);
        }
        if second % 3 == 2 {
            others[at] = world.replace(others[at]);
        }
    }
    let count = |name: &str| {
        let of = |who: &Who| {
            let all = world.node(*who).into_iter().flat_map(|node| node.counters().iter());
            all.filter(|(other, _)| *other == name).map(|(_, n)| n).sum::<u32>()
        };
        recorded.iter().map(of).sum::<u32>()
    };
    for name in HAPPENED {
        assert!(count(name) > 0, "a recording in which {name} is 0 proves little");
    }
    recorded.map(|who| world.recording(who).expect("nobody killed it")).into()
}

/// Puts, gets, serves and calls, in turns. A node that does not run is not asked.
fn ask(world: &mut World<'_>, who: Who, second: u64, other: Who, puts: &[Job]) {
    let call = match second % 4 {
        0 => Call::Serve,
        1 => Call::Put(1_000 + second * 100),
        2 => {
            // What somebody put; before that, what nobody has.
            let keys = puts.iter().filter_map(|job| world.outcome(*job)?.key()).collect::<Vec<_>>();
            Call::Get(keys.get(second as usize % keys.len().max(1)).copied().unwrap_or(Key([7; 32])))
        }
        _ => Call::Ask(world.id(other)),
    };
    world.play(who, &call);
}

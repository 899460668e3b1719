//! One run: a world that a seed draws, in trouble, then healed.

use std::collections::BTreeMap;

use butter_core::id::Key;
use butter_core::inspect::Inspect;
use butter_core::node::Refused;
use butter_core::rng::Rng;
use butter_core::time::Instant;

use super::calls::Calls;
use super::draw::{Action, Draw, Kind, Less, Topology};
use super::rest::{apart, at_rest};
use crate::chance;
use crate::check::{ITEM_MAX, Violation};
use crate::crypto::FakeCrypto;
use crate::disk::DiskFaults;
use crate::net::{Loss, Path, SegmentId, Way};
use crate::scenario::units::{Share, Time};
use crate::world::{Job, Outcome, Spec, Who, World, WorldConfig};

/// Virtual milliseconds between looks at what must hold.
const LOOK_MS: u64 = 10_000;
/// Which packets are lost in a healed world.
const HEALED: Loss = Loss::Independent(Share::from_ppm(10_000));
/// Objects that are got at the end, at most.
const GETS: usize = 24;
/// Virtual milliseconds in which an object that is held must be found at last.
const FIND_MS: u64 = 600_000;

/// What a run without a violation was.
#[derive(Clone, Copy, PartialEq, Eq, Default, Debug)]
pub struct Ended {
    /// Virtual microseconds that all nodes ran together.
    pub node_us: u64,
    /// Virtual microseconds of the world.
    pub world_us: u64,
    /// Things that happened.
    pub steps: u64,
    /// The world's trace.
    pub trace: u128,
    /// Faults and uses.
    pub actions: u64,
    /// Objects acknowledged.
    pub acknowledged: u64,
    /// Those whose last copy died.
    pub lost: u64,
    /// Objects got at the end, and those of them that were not found at once.
    pub found: (u64, u64),
    /// Calls answered, and calls that failed.
    pub calls: (u64, u64),
    /// Virtual milliseconds from healing until rest.
    pub rest_ms: u64,
}

struct Run<'c> {
    draw: Draw,
    world: World<'c>,
    calls: Calls,
    rng: Rng,
    /// Ends of what lasts for a while.
    ends: Vec<(Instant, End)>,
    puts: Vec<(Job, Vec<u8>)>,
    objects: BTreeMap<Key, Vec<u8>>,
    gets: Vec<Job>,
    counted_at: Instant,
    ended: Ended,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum End {
    Loss,
    Disk(Who),
    Leave(Who),
    /// It is up again.
    Down(Who),
}

/// Runs what a seed draws.
///
/// # Errors
/// The first rule that was broken.
pub fn run(seed: u64, less: &Less) -> Result<Ended, Violation> {
    let draw = Draw::of(seed, less);
    let crypto = FakeCrypto::new();
    let config = WorldConfig { seed, lan: draw.lan.clone(), internet: draw.internet.clone(), keep_violation: true };
    let mut world = World::new(&crypto, config);
    for _ in 1..draw.segments.len() {
        world.net().add_segment(&draw.lan);
    }
    for (i, multicast) in draw.segments.iter().enumerate() {
        world.net().set_casts(SegmentId(i as u16), *multicast, *multicast);
    }
    let mut run = Run {
        rng: chance::stream(seed, "swarm run", 0),
        draw,
        world,
        calls: Calls::default(),
        ends: Vec::new(),
        puts: Vec::new(),
        objects: BTreeMap::new(),
        gets: Vec::new(),
        counted_at: Instant::ZERO,
        ended: Ended::default(),
    };
    run.calls.hook(&mut run.world);
    match run.trouble().and_then(|()| run.heal()) {
        Some(()) => Ok(run.end()),
        None => {
            Err(run.world.violation().cloned().unwrap_or_else(|| unreachable!("a run ends well or by a violation")))
        }
    }
}

impl Run<'_> {
    /// Phase one: tries to break what must always hold.
    fn trouble(&mut self) -> Option<()> {
        let began = self.world.now();
        for i in 0..self.draw.nodes {
            let at = began.plus_ms(chance::up_to(&mut self.rng, self.draw.start_ms));
            self.add(i, at);
        }
        for action in std::mem::take(&mut self.draw.actions) {
            self.pass_to(began.plus_us(action.at_ms * 1000))?;
            self.ended.actions += 1;
            self.act(action);
        }
        self.pass_to(began.plus_us(self.draw.for_ms * 1000))
    }

    /// Lets time pass, ends what ends, and looks at what must hold; `None` when it does not.
    fn pass_to(&mut self, until: Instant) -> Option<()> {
        loop {
            let next = self.ends.iter().map(|(at, _)| *at).min().unwrap_or(Instant::NEVER);
            let at = until.min(next).min(self.world.now().plus_us(LOOK_MS * 1000));
            self.world.run_to(at);
            let now = self.world.now();
            self.ended.node_us += self.world.up().count() as u64 * now.since(self.counted_at);
            self.counted_at = now;
            let due: Vec<End> = self.ends.extract_if(.., |(at, _)| *at <= now).map(|(_, end)| end).collect();
            due.into_iter().for_each(|end| self.finish(end));
            self.collect();
            if let Some((who, what)) = self.calls.wrong(&self.world) {
                self.world.violated("answer", Some(who), what);
            }
            if self.world.violation().is_some() {
                return None;
            }
            if now >= until {
                return Some(());
            }
        }
    }

    fn add(&mut self, number: u32, at: Instant) {
        let tiny = number.wrapping_mul(0x9e37_79b9) >> 29 < self.draw.tiny_eighths;
        let machine = if tiny { 0 } else { 1 + (number % 3 / 2) as usize };
        let segments = self.draw.segments.len() as u32;
        let segment = SegmentId((number % segments) as u16);
        let spec =
            Spec { machine: self.draw.machines[machine].clone(), segment, public: segments > 1, ..Spec::default() };
        let who = self.world.add_at(&spec, at);
        if at <= self.world.now() {
            self.settle(who);
        } else {
            // As soon as it runs.
            self.world.run_to(at);
            self.settle(who);
        }
    }

    /// Whether multicast reaches all nodes.
    fn all_hear(&self) -> bool {
        self.draw.segments == [true]
    }

    /// What a node's owner does when it has started.
    fn settle(&mut self, who: Who) {
        self.calls.serve(&mut self.world, who);
        if self.all_hear() {
            return;
        }
        let others: Vec<Who> = self.world.up().filter(|other| *other != who).collect();
        let earlier = others.iter().filter(|other| **other < who).count();
        let Some(most) = others.len().checked_sub(1) else { return };
        let at = match self.draw.topology {
            Topology::Star => 0,
            Topology::Chain => earlier.saturating_sub(1),
            Topology::Tree => self.rng.below(others.len() as u32) as usize,
        };
        let _ = self.world.meet(who, others[at.min(most)]);
    }

    /// A running node that does not stand still.
    fn pick(&self, pick: u32) -> Option<Who> {
        let up: Vec<Who> = self.world.up().filter(|who| !self.world.is_paused(*who)).collect();
        up.get(pick as usize % up.len().max(1)).copied()
    }

    fn act(&mut self, Action { kind, pick, amount, .. }: Action) {
        let Some(who) = self.pick(pick) else { return };
        let until = self.world.now().plus_ms(amount);
        let up = self.world.up().count() as u32;
        match kind {
            Kind::Kill if up > self.draw.nodes.div_ceil(2).max(1) => self.kill(who),
            Kind::Together => {
                for i in 0..(up / 4).max(1) {
                    if let Some(who) = self.pick(pick.rotate_left(i)) {
                        self.replace(who);
                    }
                }
            }
            Kind::Replace => self.replace(who),
            Kind::Restart | Kind::Wipe if up > 1 => {
                self.calls.died(who);
                let down_ms = amount.min(20_000);
                self.world.restart_after(who, kind == Kind::Restart, Time::from_ms(down_ms.into()));
                self.ends.push((self.world.now().plus_ms(down_ms), End::Down(who)));
            }
            Kind::Pause => {
                self.world.pause(who, amount.into());
                self.calls.late(who, amount);
            }
            Kind::Cut => {
                if let Some(other) = self.pick(pick.rotate_left(16)).filter(|other| *other != who) {
                    self.world.note(who, "is not heard any more by node", other.0.into());
                    self.world.partition(&[who], Some(&[other]), Way::Out, Time::from_ms(amount.into()));
                }
            }
            Kind::Split => {
                let side: Vec<Who> = self.world.up().filter(|who| pick.rotate_left(who.0) & 1 == 1).collect();
                self.world.note(who, "sees the network split; on the other side are", side.len() as u64);
                self.world.partition(&side, None, Way::Both, Time::from_ms(amount.into()));
            }
            Kind::Loss => {
                let percent = 5 + pick % 40;
                self.world.note(who, "sees packets lost, of 100", percent.into());
                self.set_loss(Some(Loss::Independent(Share::from_ppm(percent * 10_000))));
                self.ends.push((until, End::Loss));
            }
            Kind::Disk => {
                let faults = DiskFaults {
                    full: pick >> 28 & 1 == 1,
                    slow: if pick >> 29 & 1 == 1 { 20 } else { 1 },
                    failing_permille: if pick >> 30 & 1 == 1 { 200 } else { 0 },
                    torn: pick >> 31 == 1,
                    damaging_permille: 0,
                };
                self.world.note(who, "has a bad disk (full, slow, failing, torn as bits)", u64::from(pick >> 28));
                self.world.disk_faults(who, faults);
                self.ends.push((until, End::Disk(who)));
            }
            Kind::Clock => {
                if pick >> 31 == 1 {
                    self.world.note(who, "has a clock that runs too fast or slow", 0);
                    self.world.clock_drift(who, (pick & 0x3_ffff) as i32 - 0x2_0000);
                } else {
                    // A jump forward by more would end leases before their time.
                    let ms = (pick & 0x3fff) as i64 - 0x2000;
                    self.world.note(who, "has a clock that jumps by ms", ms.unsigned_abs());
                    self.calls.late(who, ms.unsigned_abs() as u32);
                    self.world.clock_jump(who, ms * 1000);
                }
            }
            Kind::Leave if up > self.draw.nodes.div_ceil(2).max(1) => {
                self.world.note(who, "leaves within ms", amount.into());
                self.world.call(who, |clock, node| node.leave(clock, amount));
                self.ends.push((until.plus_ms(1_000), End::Leave(who)));
            }
            Kind::Join if up < 2 * self.draw.nodes => {
                let now = self.world.now();
                self.add(self.world.len() as u32, now);
            }
            Kind::Put => {
                let bytes = object(self.draw.seed, self.puts.len() as u64, amount as usize);
                if let Ok(job) = self.world.begin_put(who, bytes.clone()) {
                    self.puts.push((job, bytes));
                }
            }
            Kind::Get => {
                let known = self.objects.keys().nth(pick as usize % self.objects.len().max(1)).copied();
                let key = known.filter(|_| pick % 8 != 0).unwrap_or(Key([pick as u8; 32]));
                self.gets.extend(self.world.begin_get(who, key).ok());
            }
            Kind::Call => {
                if let Some(other) = self.pick(pick.rotate_left(16)) {
                    self.calls.call(&mut self.world, who, other, pick as usize % 3_000, amount.max(100));
                }
            }
            Kind::Kill | Kind::Leave | Kind::Join | Kind::Restart | Kind::Wipe => {}
        }
    }

    fn kill(&mut self, who: Who) {
        self.calls.died(who);
        self.world.kill(who);
    }

    fn replace(&mut self, who: Who) {
        self.calls.died(who);
        let new = self.world.replace(who);
        self.settle(new);
    }

    /// Changes which packets are lost, or goes back to what was drawn.
    fn set_loss(&mut self, loss: Option<Loss>) {
        let lossy = |path: &Path| Path { loss: loss.unwrap_or(path.loss), ..path.clone() };
        let (lan, internet) = (lossy(&self.draw.lan), lossy(&self.draw.internet));
        for i in 0..self.draw.segments.len() {
            self.world.net().set_path(SegmentId(i as u16), &lan);
        }
        self.world.net().set_internet(&internet);
    }

    fn finish(&mut self, end: End) {
        match end {
            End::Loss => self.set_loss(None),
            End::Disk(who) => self.world.disk_faults(who, DiskFaults::default()),
            End::Down(who) => {
                self.world.start_at(who, self.world.now());
                self.settle(who);
            }
            End::Leave(who) => {
                if !self.world.node(who).is_some_and(|node| node.leaving()) {
                    // It died before its time, or is another one by now.
                } else if self.world.up().count() > 1 {
                    self.kill(who);
                } else {
                    self.calls.died(who);
                    self.world.restart(who, true);
                    self.settle(who);
                }
            }
        }
    }

    /// Takes what jobs have ended with.
    fn collect(&mut self) {
        let world = &mut self.world;
        let mut wrong = None;
        for (job, bytes) in &mut self.puts {
            if bytes.is_empty() {
                continue;
            }
            if let Some(outcome) = world.outcome(*job) {
                // Once it has ended, its bytes are kept only if they were acknowledged.
                let bytes = std::mem::take(bytes);
                if let Some(key) = outcome.key() {
                    self.objects.insert(key, bytes);
                }
            }
        }
        self.gets.retain(|job| match world.outcome(*job) {
            None => true,
            Some(Outcome::Got(bytes, _)) => {
                if !self.objects.is_empty() && !self.objects.values().any(|object| object == bytes) {
                    wrong = Some(world.place(*job));
                }
                false
            }
            Some(_) => false,
        });
        if let Some(who) = wrong {
            world.violated("bytes", Some(who), "got bytes that nobody put".into());
        }
    }

    /// Phase two: all that was done is undone, and the world must come to rest.
    fn heal(&mut self) -> Option<()> {
        for (_, end) in std::mem::take(&mut self.ends) {
            self.finish(end);
        }
        self.world.net().heal_all();
        // Nothing that lasts is healed by itself; little enough is lost that all must work.
        (self.draw.lan.loss, self.draw.internet.loss) = (HEALED, HEALED);
        self.set_loss(None);
        let healed = self.world.now();
        self.world.note(Who(0), "sees all healed", 0);
        let until = healed.plus_us(self.draw.converge_ms() * 1000);
        // Those who stand still go on by themselves.
        let longest = self.world.up().filter(|who| self.world.is_paused(*who)).count();
        let until = if longest > 0 { until.plus_ms(800_000) } else { until };
        let mut told = false;
        let step_ms = self.draw.beat_ms().max(1_000);
        loop {
            self.pass_to(self.world.now().plus_us(step_ms * 1000))?;
            if self.world.up().any(|who| self.world.is_paused(who)) {
                continue;
            }
            if !std::mem::replace(&mut told, true) && !self.all_hear() {
                for who in apart(&self.world) {
                    let first = self.world.up().next()?;
                    self.world.note(who, "is told the address of node", first.0.into());
                    let _ = self.world.meet(who, first);
                }
            }
            match at_rest(&self.world) {
                Ok(()) => break,
                Err((who, what)) if self.world.now() > until => {
                    let seconds = self.world.now().since(healed) / 1_000_000;
                    self.world.violated("rest", who, format!("{seconds} s after all was healed: {what}"));
                    return None;
                }
                Err(_) => {}
            }
        }
        self.ended.rest_ms = self.world.now().since(healed) / 1000;
        self.find()
    }

    /// Every object that was acknowledged and that a running node holds is found by any node.
    fn find(&mut self) -> Option<()> {
        // Of what has several items the first alone does not say whether the others are alive.
        let known = |key: &Key| self.objects.get(key).is_some_and(|object| object.len() as u64 <= ITEM_MAX);
        let mut owed: Vec<Key> = self.world.owed().into_iter().filter(known).collect();
        while owed.len() > GETS {
            owed.swap_remove(self.rng.below(owed.len() as u32) as usize);
        }
        for key in owed {
            let until = self.world.now().plus_us(FIND_MS * 1000);
            let mut tries = 0;
            loop {
                let pick = self.rng.next_u32();
                let who = self.pick(pick)?;
                let got = self.get(who, key)?;
                tries += 1;
                if got.as_ref() == self.objects.get(&key) {
                    break;
                }
                if got.is_some() {
                    self.world.violated("bytes", Some(who), format!("got other bytes than were put as {key:?}"));
                    return None;
                }
                // Its lease may have ended, or its last holder may have shed it, meanwhile.
                if !self.world.owed().contains(&key) {
                    break;
                }
                if self.world.now() > until {
                    let holders: Vec<u32> = self.world.holders(key).map(|who| who.0).collect();
                    let what = format!("has not found {key:?} in {tries} tries by now, which {holders:?} hold");
                    self.world.violated("found", Some(who), what);
                    return None;
                }
                self.pass_to(self.world.now().plus_ms(10_000))?;
            }
            self.ended.found.0 += 1;
            self.ended.found.1 += u64::from(tries > 1);
        }
        Some(())
    }

    /// Gets an object, in time that is looked at as all other; no bytes if it was not found.
    #[allow(clippy::option_option)]
    fn get(&mut self, who: Who, key: Key) -> Option<Option<Vec<u8>>> {
        let job = loop {
            match self.world.begin_get(who, key) {
                Ok(job) => break job,
                Err(Refused::Unknown) => return Some(None),
                Err(_) => self.pass_to(self.world.now().plus_ms(1_000))?,
            }
        };
        while self.world.outcome(job).is_none() {
            self.pass_to(self.world.now().plus_ms(200))?;
        }
        Some(self.world.outcome(job).and_then(Outcome::bytes).map(<[u8]>::to_vec))
    }

    fn end(mut self) -> Ended {
        (self.ended.acknowledged, self.ended.lost) = self.world.acknowledged();
        self.ended.world_us = self.world.now().as_micros();
        self.ended.steps = self.world.steps();
        self.ended.trace = self.world.trace();
        self.ended.calls = self.calls.counts();
        self.ended
    }
}

/// Bytes that no other object has.
fn object(seed: u64, number: u64, len: usize) -> Vec<u8> {
    let mut bytes = vec![0; len.max(16)];
    chance::stream(seed, "object", number).fill(&mut bytes);
    bytes
}

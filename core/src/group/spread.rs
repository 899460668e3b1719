//! How groups come to be known: hints told in exchanges, and pulled from whoever knows others than we do (PROTOCOL §5.4).

use core::num::NonZeroU32;

use heapless::Vec;

use super::{Groups, Phase};
use crate::exchange::{Body, Failure, Owner, Served, Status};
use crate::id::GroupId;
use crate::node::{Node, PeerId};
use crate::route::internal;
use crate::table::Handle;
use crate::wire::{GroupHint, Writer};

/// Groups named in one request, 2 bytes each: what is asked fits a small buffer.
const NAMED: usize = 240;
/// Groups expected in the range of ids that one request is about: few enough that nearly all are named.
const RANGE: usize = 192;
/// Hints in one answer: as many as surely fit a packet.
const HINTS: usize = 8;
/// Answers without news after which a pull ends, unless the ids are in fewer ranges than that.
const QUIET: u8 = 3;
/// Milliseconds to answer.
const PULL_MS: u32 = 3_000;
/// The smallest table worth filling by pulls: exchanges fill smaller ones as fast.
const WORTH: usize = 32;
/// Known groups of which the one heard of last is told.
const SAMPLE: u32 = 4;

/// Two bytes of a group's id: where it is among the ranges.
fn place(group: &GroupId) -> u16 {
    u16::from_be_bytes([group.0[0], group.0[1]])
}

/// Two other bytes, by which it is named within its range.
fn name(group: &GroupId) -> [u8; 2] {
    [group.0[2], group.0[3]]
}

/// What a pull asks: groups whose ids begin with `from` to `to`, but for those named. 4 bytes, and 2 per name.
struct Question<'a> {
    from: u16,
    to: u16,
    names: &'a [[u8; 2]],
}

impl<'a> Question<'a> {
    fn write(&self, writer: &mut Writer<'_>) -> bool {
        writer.bytes(&self.from.to_le_bytes())
            && writer.bytes(&self.to.to_le_bytes())
            && writer.bytes(self.names.as_flattened())
    }

    fn read(body: &'a [u8]) -> Option<Self> {
        let (ends, names) = body.split_first_chunk::<4>()?;
        let (from, to) = (u16::from_le_bytes([ends[0], ends[1]]), u16::from_le_bytes([ends[2], ends[3]]));
        Some(Question { from, to, names: names.as_chunks().0 })
    }

    fn is_in(&self, group: &GroupId) -> bool {
        (self.from..=self.to).contains(&place(group))
    }
}

/// A pull under way: from whom, and answers in a row that brought nothing.
#[derive(Clone, Copy, Debug)]
pub(super) struct Pull {
    from: PeerId,
    quiet: u8,
}

impl Groups<'_> {
    /// All groups, ours first, from a random one of the known on.
    fn all_from(&self, start: u16) -> impl Iterator<Item = GroupId> {
        let ours = self.seats.iter().filter(|(_, seat)| seat.phase == Phase::Member).map(|(_, seat)| seat.id);
        let used = self.known.used();
        let known =
            (start..used).chain(0..start.min(used)).filter_map(|at| self.known.at(at)).map(|known| known.hint.id);
        ours.chain(known)
    }

    /// Into how many ranges of ids our groups are split.
    fn ranges(&self) -> NonZeroU32 {
        NonZeroU32::MIN.saturating_add((self.len() / RANGE) as u32)
    }

    fn known_start(&self, rng: &mut crate::rng::Rng) -> u16 {
        rng.below(self.known.used().into()) as u16
    }
}

impl Node<'_> {
    /// Somebody told of a group that was new to us: while our table has room, we ask it for all others that we do not know.
    pub(crate) fn groups_pull(&mut self, from: PeerId) {
        if self.groups.pull.is_none() && self.groups.known.limit() >= WORTH {
            self.pull_on(Pull { from, quiet: 0 });
        }
    }

    /// Asks for groups of a random range of ids.
    fn pull_on(&mut self, pull: Pull) {
        self.groups.pull = None;
        let ranges = self.groups.ranges();
        if self.groups.known.is_full() || u32::from(pull.quiet) >= ranges.get().min(QUIET.into()) {
            return;
        }
        let range = self.env.rng.below(ranges.get());
        let (from, to) = ((range << 16) / ranges, ((range + 1) << 16) / ranges - 1);
        let mut names: Vec<[u8; 2], NAMED> = Vec::new();
        let question = Question { from: from as u16, to: to as u16, names: &[] };
        for group in self.groups.all_from(0).filter(|group| question.is_in(group)) {
            let _ = names.push(name(&group));
        }
        let question = Question { names: &names, ..question };
        if self.ask(pull.from, internal::GROUPS, Owner::Groups, PULL_MS, |writer| question.write(writer)).is_some() {
            self.groups.pull = Some(pull);
            self.env.counters.pulls += 1;
        }
    }

    pub(crate) fn pulled(&mut self, result: Result<Body<'_>, Failure>) {
        let pull = self.groups.pull.take();
        let hints: Option<Vec<GroupHint, HINTS>> = result.ok().and_then(|body| self.decode(body));
        let (Some(pull), Some(hints)) = (pull, hints) else { return };
        let news = hints.iter().filter(|hint| self.learn_hint(hint)).count() > 0;
        self.pull_on(Pull { quiet: if news { 0 } else { pull.quiet + 1 }, ..pull });
    }

    /// Tells of groups that the asker does not name.
    pub(crate) fn serve_groups(&mut self, _peer: PeerId, body: Body<'_>, reply: &mut Writer<'_>) -> Served {
        let start = self.groups.known_start(&mut self.env.rng);
        let mut lacking: Vec<GroupId, HINTS> = Vec::new();
        let question = Question::read(self.body_bytes(&body));
        if let Some(question) = &question {
            let lacks = |group: &GroupId| question.is_in(group) && !question.names.contains(&name(group));
            for group in self.groups.all_from(start).filter(lacks).take(HINTS) {
                let _ = lacking.push(group);
            }
        }
        let refused = question.is_none();
        self.free_body(Ok(body));
        if refused {
            return Served::Refuse(Status::Bad);
        }
        let mut hints: Vec<GroupHint, HINTS> = lacking.iter().filter_map(|group| self.hint(group)).collect();
        while !reply.value(&hints) {
            if hints.pop().is_none() {
                return Served::Refuse(Status::Failed);
            }
        }
        Served::Reply
    }

    /// Up to 5 random groups that we are not in, for a host that is new to us.
    pub(super) fn known_to_tell(&mut self) -> Vec<GroupId, 5> {
        let mut groups: Vec<GroupId, 5> = Vec::new();
        for _ in 0..8 {
            let at = self.env.rng.below(self.groups.known.used().into()) as u16;
            let known = self.groups.known.handle_at(at).and_then(|h| self.groups.known.get(h));
            if let Some(known) = known.filter(|known| !groups.contains(&known.hint.id)) {
                let _ = groups.push(known.hint.id);
            }
        }
        groups
    }

    /// Up to 3 groups to be told in an exchange: one of ours, then known ones, of a few random ones that heard of last.
    pub(crate) fn hints_to_tell(&mut self) -> Vec<GroupHint, 3> {
        let mut groups: Vec<GroupId, 3> = Vec::new();
        let at = self.env.rng.below(self.groups.seats.used().into()) as u16;
        groups.extend(self.groups.seats.handle_at(at).and_then(|seat: Handle| self.groups.group_in(seat)));
        for _ in 0..4 {
            let used = self.groups.known.used();
            let mut picked = (0..SAMPLE).filter_map(|_| self.groups.known.at(self.env.rng.below(used.into()) as u16));
            let first = picked.next();
            let latest = picked.fold(first, |best, next| best.filter(|best| best.heard >= next.heard).or(Some(next)));
            if let Some(known) = latest.filter(|known| !groups.contains(&known.hint.id)) {
                let _ = groups.push(known.hint.id);
            }
        }
        groups.iter().filter_map(|group| self.hint(group)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn s5_4_what_a_pull_asks_fits_a_small_buffer_and_is_read_as_written() {
        let names = [[7, 9]; NAMED];
        let question = Question { from: 300, to: 65535, names: &names };
        let mut buf = [0; crate::node::SMALL];
        let mut writer = Writer::new(&mut buf);
        assert!(question.write(&mut writer));
        let read = Question::read(writer.written()).unwrap();
        assert_eq!((read.from, read.to, read.names), (300, 65535, &names[..]));
        assert!(read.is_in(&GroupId([0xff; 16])) && !read.is_in(&GroupId([1; 16])));
        assert!(Question::read(&[1, 2, 3]).is_none());
    }
}

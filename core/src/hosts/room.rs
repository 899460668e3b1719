//! Who is taken and who makes room (PROTOCOL §4.2 to §4.4).

use super::choose::around;
use super::class::HostClass;
use super::{Host, Hosts, Standing, Turn};
use crate::addr::Addr;
use crate::table::{Handle, Index};

/// One in so many hosts of the most crowded class is taken by a full table all the same, so that the network
/// does not freeze into one shape.
pub(super) const MIX: u32 = 32;
/// Heard-of hosts on public addresses of one /24 (IPv6 /48).
const NARROW_MAX: usize = 2;
/// Candidates compared when one must make room. A larger sample finds a less useful host; cost is one cache line each.
const CANDIDATES: usize = 32;
/// Buckets in which heard-of hosts are counted by their /16 (IPv6 /32). Those that share a bucket count together;
/// which do is secret.
pub(super) const WIDE: usize = 64;

/// Whether there is room for a newcomer.
pub(super) enum Room {
    /// There is a free place, or will be one.
    Free,
    /// Once this one is gone.
    Replacing(Handle),
    /// No.
    None,
}

impl Hosts<'_> {
    /// Places kept for heard-of hosts in a full table; as many are kept free of them.
    fn reserve(&self) -> usize {
        self.hosts.limit() / 4
    }

    /// Places in which vanished hosts are safe: 1/16 of the table, at least 1, none in tables too small for that.
    fn vanished_safe(&self) -> usize {
        match self.hosts.limit() {
            0..4 => 0,
            limit => (limit / 16).max(1),
        }
    }

    fn vanished_spare(&self) -> bool {
        self.census.count(Standing::Vanished) > self.vanished_safe()
    }

    /// Whether a safe place for a vanished host is free, made so if it is held by one that was dialled in vain thrice.
    pub(super) fn vanished_room(&mut self, turn: &mut Turn<'_>) -> bool {
        let count = self.census.count(Standing::Vanished);
        if count < self.vanished_safe() {
            return true;
        }
        let hopeless = |host: &Host| host.standing == Standing::Vanished && host.missed >= 3 && !host.well_known();
        let given_up = if count == 0 { None } else { self.sample::<1>(turn.rng, 1, hopeless).first().copied() };
        given_up.inspect(|handle| self.drop_host(*handle)).is_some()
    }

    /// Room for somebody we heard of. A met host makes room only where met hosts have more than their three quarters.
    pub(super) fn room_for_heard(&self, turn: &mut Turn<'_>, host: &Host) -> Room {
        let heard = self.census.count(Standing::Heard);
        let class = self.census.class_of(&host.facts);
        if heard >= self.hosts.limit() - self.reserve() {
            self.compete(turn, Standing::Heard, class, false)
        } else if !self.hosts.is_full() {
            Room::Free
        } else if self.vanished_spare() {
            self.replace(turn, Standing::Vanished)
        } else if heard < self.reserve() {
            self.replace(turn, Standing::Met)
        } else {
            self.compete(turn, Standing::Heard, class, false)
        }
    }

    /// Room for somebody met whom the table does not hold, or holds as heard-of (`known`).
    pub(super) fn room_for_met(&self, turn: &mut Turn<'_>, host: &Host, known: bool) -> Room {
        // Nobody is left out: who says that it knows nobody is always taken.
        let lonely = host.facts.hosts == 0;
        let heard = self.census.count(Standing::Heard);
        if !self.hosts.is_full() {
            Room::Free
        } else if !known && self.vanished_spare() {
            self.replace(turn, Standing::Vanished)
        } else if heard > self.reserve() {
            if known { Room::Free } else { self.replace(turn, Standing::Heard) }
        } else if known && self.census.count(Standing::Met) == 0 {
            Room::Free
        } else {
            self.compete(turn, Standing::Met, self.census.class_of(&host.facts), lonely)
        }
    }

    fn compete(&self, turn: &mut Turn<'_>, standing: Standing, class: HostClass, lonely: bool) -> Room {
        if !lonely && self.census.is_crowd(standing, class) && !turn.rng.chance(1, MIX) {
            return Room::None;
        }
        self.replace(turn, standing)
    }

    fn replace(&self, turn: &mut Turn<'_>, standing: Standing) -> Room {
        self.least_useful(turn, standing, self.census.crowd(standing)).map_or(Room::None, Room::Replacing)
    }

    /// The least useful of up to 32 hosts of a class, looked for from a random place on. Cost: in a table where the
    /// class is a share s of all, about 32 / s slots; never more than one scan.
    fn least_useful(&self, turn: &mut Turn<'_>, standing: Standing, class: HostClass) -> Option<Handle> {
        let used = u32::from(self.hosts.used());
        let start = turn.rng.below(used);
        (0..used)
            .filter_map(|i| self.hosts.handle_at(around(start + i, used) as u16))
            .filter_map(|handle| self.hosts.get(handle).map(|host| (handle, host)))
            .filter(|(_, host)| host.standing == standing && host.class == class)
            .take(CANDIDATES)
            .min_by_key(|(_, host)| host.worth(turn.now_s))
            .map(|(handle, _)| handle)
    }

    /// Nobody takes over: whether heard-of hosts at this address' prefix are too many for another. Addresses that are
    /// not public are not counted: they are as many as a local network has.
    pub(super) fn prefix_full(&self, addr: &Addr) -> bool {
        if !addr.is_public() {
            return false;
        }
        let prefix = addr.prefix();
        let mut narrow = 0;
        self.prefixes.find(self.narrow_hash(addr), |slot| {
            narrow += usize::from(self.at(slot).is_some_and(|host| host.addr.prefix() == prefix));
            narrow >= NARROW_MAX
        });
        let share = self.hosts.limit() - self.reserve();
        narrow >= NARROW_MAX || usize::from(self.wide[self.wide_bucket(addr)]) >= (share / 10).max(NARROW_MAX)
    }

    pub(super) fn narrow_hash(&self, addr: &Addr) -> u32 {
        Index::mix(self.secret, &addr.prefix())
    }

    pub(super) fn wide_bucket(&self, addr: &Addr) -> usize {
        // Of an IPv4 prefix [0, 0, 4, a, b, c] the first two bytes of the address; of IPv6 the first four.
        let prefix = addr.prefix();
        let wide = if addr.ip().is_ipv4() { &prefix[..5] } else { &prefix[..4] };
        Index::mix(self.secret.rotate_left(17), wide) as usize % WIDE
    }
}

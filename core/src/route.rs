//! Routes: names that an application serves, and the protocol's own.

/// Routes that the core serves itself; an application's have the top bit set.
pub(crate) mod internal {
    use crate::id::RouteId;

    /// Exchange of host records and group hints (§4.5).
    pub const SHUFFLE: RouteId = RouteId(1);
    /// Who has this, or should (§6.2)?
    pub const LOCATE: RouteId = RouteId(2);
    /// Keep this block (§6.3).
    pub const STORE: RouteId = RouteId(3);
    /// Give me that block (§6.4).
    pub const FETCH: RouteId = RouteId(4);
    /// Would you join this group (§5.6)?
    pub const OFFER: RouteId = RouteId(5);
    /// You are a member of this group now (§5.6).
    pub const ADMIT: RouteId = RouteId(6);
    /// Which items of this group do you hold (§5.8)?
    pub const LIST: RouteId = RouteId(7);
    /// Found a group for me (§5.5).
    pub const FOUND: RouteId = RouteId(8);
}

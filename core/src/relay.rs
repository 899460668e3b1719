//! Relaying for others: slots, envelopes, introductions (PROTOCOL §2.8, §9).

use crate::table::{Slot, Slots, Store};

/// A client for which we relay.
#[derive(Debug)]
pub struct Relay {}

/// All clients.
#[derive(Debug)]
pub(crate) struct Relays<'m> {
    _clients: Slots<'m, Relay>,
}

impl<'m> Relays<'m> {
    pub fn new(clients: Store<'m, Slot<Relay>>) -> Self {
        Relays { _clients: Slots::new(clients) }
    }
}

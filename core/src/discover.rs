//! Discovery on the local network, and of addresses given by hand (PROTOCOL §3).

use crate::node::Node;

/// What discovery remembers between its pings.
#[derive(Debug)]
pub(crate) struct Discover {}

impl Discover {
    pub fn new() -> Self {
        Discover {}
    }
}

impl Node<'_> {
    pub(crate) fn discover_begin(&mut self) {}

    pub(crate) fn discover_timeout(&mut self) {}
}

//! §2: handshakes and session packets.

use butter_core::node::Event;

use crate::world::World;

#[test]
fn s3_two_nodes_find_each_other_by_multicast() {
    let mut world = World::lan(2);
    world.run_ms(200);
    assert!(world.linked(0, 1));
    for member in &world.members {
        assert!(matches!(member.events[..], [Event::PeerUp(_)]), "{:?}", member.events);
        assert_eq!(member.node.counters().sessions_begun, 1);
    }
}

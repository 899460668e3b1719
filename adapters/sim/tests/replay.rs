//! What was recorded of a node can be replayed: the same inputs, the same outputs (N7).

#[path = "../examples/record/world.rs"]
mod world;

use butter_replay::{Broken, Replayed, replay};

fn replayed(mut bytes: &[u8]) -> Result<Replayed, Broken> {
    replay(|buffer| std::io::Read::read(&mut bytes, buffer).unwrap_or(0))
}

#[test]
fn recorded_nodes_say_the_same_again() {
    let recordings = world::record(1);
    for recording in &recordings {
        assert_eq!(replayed(&recording.bytes), Ok(recording.replayed));
        assert!(recording.replayed.outputs > 1_000, "little was said: {}", recording.replayed);
    }
    assert_ne!(recordings[0].replayed.trace, recordings[1].replayed.trace);

    // Of each length of recording that is none, and of each input that is another, something is noticed.
    let recording = &recordings[0];
    let half = &recording.bytes[..recording.bytes.len() / 2];
    assert_ne!(replayed(half), Ok(recording.replayed));
    let mut other = recording.bytes.clone();
    other[40] ^= 1;
    assert_ne!(replayed(&other), Ok(recording.replayed), "with other randomness it said the same");
    assert_eq!(replayed(&[]), Err(Broken::Short));
    assert_eq!(replayed(&[255, 255, 0]), Err(Broken::Frame));
}

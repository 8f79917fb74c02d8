//! What a node remembers of its peers: the file `peers` of its data directory, made by
//! [`vivace_fuzz::text_file`].

#![no_main]

use libfuzzer_sys::fuzz_target;
use vivace_core::{Incarnation, NodeId};
use vivace_fuzz::{Scratch, text_file};
use vivace_node::storage::identity::{DirectoryId, StartId};
use vivace_node::storage::peer_states::{FILE, FORMAT, MetState, PeerStates};
use vivace_node::storage::sealed_text::SealedTextError;

const HOME: DirectoryId = DirectoryId([1; 16]);

const NEWS: MetState = MetState {
    directory: DirectoryId([3; 16]),
    life: Incarnation(4),
    start: StartId(5),
};

thread_local! {
    static SCRATCH: Scratch = Scratch::default();
}

/// All that is remembered.
fn met(states: &PeerStates) -> Vec<Option<MetState>> {
    (0..=u16::MAX).map(|node| states.of(NodeId(node))).collect()
}

fn check(bytes: &[u8], scratch: &Scratch) {
    let file = text_file(bytes, &format!("vivace-peers {FORMAT}"), HOME);
    let path = scratch.write(FILE, &file);
    let before = scratch.contents();
    let read = PeerStates::read(scratch.path(), HOME);
    assert_eq!(scratch.contents(), before, "a look changes nothing");
    let states = match read {
        Ok(states) => states,
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(&*path.to_string_lossy()), "{text}");
            match error {
                SealedTextError::Damaged { .. } => {}
                SealedTextError::Foreign { found, .. } => assert_ne!(found, HOME, "{text}"),
                SealedTextError::Newer { found, .. } => assert!(found > FORMAT, "{text}"),
                SealedTextError::Io { .. } => panic!("{text}"),
            }
            return;
        }
    };
    let mut expected = met(&states);
    states.keep(NodeId(2), NEWS).expect("there is space");
    expected[2] = Some(NEWS);
    let again = PeerStates::read(scratch.path(), HOME).expect("it was written just now");
    assert!(met(&again) == expected, "one is not as it was");
}

fuzz_target!(|bytes: &[u8]| SCRATCH.with(|scratch| check(bytes, scratch)));

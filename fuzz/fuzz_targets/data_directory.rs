//! Whose a data directory is: its file `identity`, then, behind a zero, the witness beside
//! the node's configuration, both made by [`vivace_fuzz::text_file`].

#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use vivace_core::NodeId;
use vivace_fuzz::{Scratch, text_file};
use vivace_node::storage::identity::{DataDirectory, DirectoryId, IdentityError, Owner};

const NODE: NodeId = NodeId(7);

const HOME: DirectoryId = DirectoryId([9; 16]);

thread_local! {
    static SCRATCH: Scratch = {
        let scratch = Scratch::default();
        scratch.empty("data");
        scratch
    };
}

fn lay_out(scratch: &Scratch, bytes: &[u8]) {
    let mut files = bytes.splitn(2, |byte| *byte == 0);
    let identity = text_file(files.next().unwrap_or_default(), "vivace-data 5", HOME);
    scratch.write("data/identity", &identity);
    match files.next() {
        Some(witness) => {
            scratch.write("witness", &text_file(witness, "vivace-witness 2", HOME));
        }
        None => drop(fs::remove_file(scratch.join("witness"))),
    }
}

fn claim(scratch: &Scratch) -> Result<DataDirectory, IdentityError> {
    let witness = scratch.join("witness");
    DataDirectory::claim(
        &scratch.join("data"),
        &Owner::named("fuzz", NODE),
        &[],
        Some(&witness),
    )
}

fn check(scratch: &Scratch) {
    let before = scratch.contents();
    let mut claimed = match claim(scratch) {
        Ok(claimed) => claimed,
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(&*scratch.path().to_string_lossy()), "{text}");
            assert!((10..=22).contains(&error.exit_code()), "{text}");
            if let IdentityError::Unreadable { line, .. } = error {
                assert!((1..=10).contains(&line), "{text}");
            }
            assert_eq!(scratch.contents(), before, "a refusal changes nothing");
            return;
        }
    };
    let (id, was_new) = (claimed.id(), claimed.is_new());
    let Ok(life) = claimed.next_life() else {
        return;
    };
    assert_eq!(was_new, life.0 == 1);
    assert_eq!(scratch.contents(), before, "a look changes nothing");
    assert_eq!(claimed.begin_life().expect("there is a life left"), life);
    drop(claimed);
    let again = claim(scratch).expect("who has begun may go on");
    assert_eq!((again.id(), again.is_new()), (id, false));
    match again.next_life() {
        Ok(next) => assert_eq!(next.0, life.0 + 1),
        Err(_) => assert_eq!(life.0, u16::MAX),
    }
    drop(again);
    // A state from before is noticed now.
    let identity = &before[&scratch.join("data/identity")];
    scratch.write("data/identity", identity);
    let older = claim(scratch).err().expect("the witness knows better");
    assert!([11, 13].contains(&older.exit_code()), "{older}");
}

fuzz_target!(|bytes: &[u8]| {
    SCRATCH.with(|scratch| {
        lay_out(scratch, bytes);
        check(scratch);
    });
});

//! How the containers were laid out whose state a data directory holds: its file `layout`,
//! made by [`vivace_fuzz::text_file`].

#![no_main]

use std::fs;

use libfuzzer_sys::fuzz_target;
use vivace_core::NodeId;
use vivace_fuzz::{Scratch, text_file};
use vivace_node::storage::identity::{DataDirectory, Owner};
use vivace_node::storage::layout::{FILE, FORMAT, Layout};
use vivace_node::storage::sealed_text::SealedTextError;

thread_local! {
    static HOME: (Scratch, DataDirectory) = {
        let scratch = Scratch::default();
        let home = scratch.join("data");
        let owner = Owner::named("fuzz", NodeId(7));
        DataDirectory::make(&home, &owner).expect("there is space");
        let mut directory = DataDirectory::claim(&home, &owner, &[], None)
            .expect("it was made for it");
        directory.begin_life().expect("the first of many");
        (scratch, directory)
    };
}

fn check(bytes: &[u8], scratch: &Scratch, directory: &DataDirectory) {
    let path = directory.path().join(FILE);
    let file = text_file(bytes, &format!("vivace-layout {FORMAT}"), directory.id());
    fs::write(&path, file).expect("it is ours");
    let before = scratch.contents();
    let remembered = Layout::remembered(directory.path(), directory.id());
    assert_eq!(scratch.contents(), before, "a look changes nothing");
    let layout = match remembered {
        Ok(layout) => layout.expect("the file is there"),
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(&*path.to_string_lossy()), "{text}");
            let code = error.exit_code();
            match error {
                SealedTextError::Damaged { .. } => assert_eq!(code, 21, "{text}"),
                SealedTextError::Foreign {
                    found, expected, ..
                } => {
                    assert!(found != expected && expected == directory.id(), "{text}");
                }
                SealedTextError::Newer { found, .. } => assert!(found > FORMAT, "{text}"),
                other => panic!("{other}"),
            }
            return;
        }
    };
    let prepared = layout.prepare(directory).expect("there is space");
    prepared.put().expect("there is space");
    let again = Layout::remembered(directory.path(), directory.id());
    let again = again
        .expect("it was written just now")
        .expect("it is there");
    assert_eq!(again, layout);
    assert!(
        layout.check(directory.path(), &again).is_ok(),
        "nothing has changed"
    );
}

fuzz_target!(|bytes: &[u8]| {
    HOME.with(|(scratch, directory)| check(bytes, scratch, directory));
});

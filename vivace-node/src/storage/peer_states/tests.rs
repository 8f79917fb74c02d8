//! What is remembered is read again, and nothing else is.

use std::fs;

use super::*;

const HOME: DirectoryId = DirectoryId([1; 16]);

fn state(life: u16, start: u64) -> MetState {
    MetState {
        directory: DirectoryId([2; 16]),
        life: Incarnation(life),
        start: StartId(start),
    }
}

#[test]
fn what_was_kept_is_read_again() {
    let home = tempfile::tempdir().expect("a directory");
    let states = PeerStates::read(home.path(), HOME).expect("it is sound");
    assert_eq!(states.of(NodeId(2)), None);
    states
        .keep(NodeId(2), state(1, 10))
        .expect("there is space");
    states
        .keep(NodeId(3), state(65_535, u64::MAX))
        .expect("there is space");
    states
        .keep(NodeId(2), state(2, 11))
        .expect("there is space");
    let text = fs::read_to_string(home.path().join(FILE)).expect("it is ours");
    let again = PeerStates::read(home.path(), HOME).expect("it is sound");
    assert_eq!(again.of(NodeId(2)), Some(state(2, 11)));
    assert_eq!(again.of(NodeId(3)), Some(state(65_535, u64::MAX)));
    let expected = "vivace-peers 1\n\
        directory 01010101010101010101010101010101\n\
        node 2 life 2 directory 02020202020202020202020202020202 start 000000000000000b\n\
        node 3 life 65535 directory 02020202020202020202020202020202 start ffffffffffffffff\n";
    let checksum = crc32c::crc32c(expected.as_bytes());
    assert_eq!(text, format!("{expected}checksum {checksum:08x}\n"));
}

#[test]
fn no_news_is_not_written() {
    let home = tempfile::tempdir().expect("a directory");
    let states = PeerStates::read(home.path(), HOME).expect("it is sound");
    states
        .keep(NodeId(2), state(1, 10))
        .expect("there is space");
    fs::remove_file(home.path().join(FILE)).expect("it is ours");
    states
        .keep(NodeId(2), state(1, 10))
        .expect("there is space");
    assert!(!home.path().join(FILE).exists());
}

#[test]
fn what_can_not_be_written_is_tried_again() {
    let home = tempfile::tempdir().expect("a directory");
    let states = PeerStates::read(home.path(), HOME).expect("it is sound");
    let in_the_way = home.path().join("peers.new");
    fs::create_dir(&in_the_way).expect("it is ours");
    states
        .keep(NodeId(2), state(1, 10))
        .expect_err("a directory is in the way");
    assert_eq!(states.of(NodeId(2)), None);
    fs::remove_dir(&in_the_way).expect("it is ours");
    states
        .keep(NodeId(2), state(1, 10))
        .expect("there is space");
    assert_eq!(states.of(NodeId(2)), Some(state(1, 10)));
}

#[test]
fn damage_is_told_by_its_place_and_nothing_is_changed() {
    let seal = |text: &str| {
        let checksum = crc32c::crc32c(text.as_bytes());
        format!("{text}checksum {checksum:08x}\n")
    };
    let head = "vivace-peers 1\ndirectory 01010101010101010101010101010101\n";
    let line = "node 2 life 2 directory 02020202020202020202020202020202 start 000000000000000b\n";
    let cases = [
        (String::new(), "line 1", 21),
        ("vivace-peers 0\n".into(), "line 1", 21),
        ("vivace-peers 2\n".into(), "format 2", 14),
        ("vivace-peers 1\n".into(), "line 2", 21),
        (head.into(), "checksum", 21),
        (format!("{head}{line}checksum 00000000\n"), "checksum", 21),
        (seal(&head.replace("0101", "0202")), "belongs to", 12),
        (seal(&format!("{head}node 2\n")), "line 3", 21),
        (seal(&format!("{head}{line}{line}")), "line 4", 21),
        (
            seal(&format!("{head}{}", line.replace("life 2", "life 65536"))),
            "line 3",
            21,
        ),
        (
            seal(&format!("{head}{}", line.replace("0b\n", "0b more\n"))),
            "line 3",
            21,
        ),
    ];
    for (text, says, code) in cases {
        let home = tempfile::tempdir().expect("a directory");
        let path = home.path().join(FILE);
        fs::write(&path, &text).expect("it is ours");
        let error = PeerStates::read(home.path(), HOME).expect_err("it is damaged");
        let words = error.to_string();
        assert!(words.contains(says), "{words}");
        assert!(words.contains(&*path.to_string_lossy()), "{words}");
        assert_eq!(error.exit_code(), code, "{words}");
        assert_eq!(fs::read_to_string(&path).expect("it is ours"), text);
    }
}

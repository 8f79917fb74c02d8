//! The rows of the paper's Fig. 3, and those of this tree.

use super::{CONTAINER, Copies, Count, Setting, Sum};
use crate::client_protocol::{Request, SessionId};
use crate::cluster::Kind;
use crate::machine::StateMachine;
use crate::machine::builtin::{Counter, counter};
use crate::{KeyName, Timestamp, codec};

fn key() -> KeyName {
    KeyName::new(b"k").expect("a key of one byte is valid")
}

fn write() -> Request {
    Request::Write {
        container: CONTAINER.into(),
        key: key(),
        value: bytes::Bytes::from_static(b"value").into(),
        durability: None,
    }
}

fn read() -> Request {
    Request::Read {
        container: CONTAINER.into(),
        key: key(),
    }
}

fn add(session: u64) -> Request {
    Request::Execute {
        container: CONTAINER.into(),
        key: key(),
        machine: Counter::NAME.into(),
        session: SessionId(Timestamp {
            time: session,
            ..Timestamp::ZERO
        }),
        sequence: 1,
        repeated: false,
        command: codec::encode(&counter::Command::Add(1)).into(),
        durability: None,
    }
}

fn read_state() -> Request {
    Request::ReadState {
        container: CONTAINER.into(),
        key: key(),
        machine: Counter::NAME.into(),
    }
}

/// Fig. 3 of the paper row by row, each followed by what this tree makes of it.
///
/// # Panics
/// Where an operation fails, or takes a time that is no sum of message delays.
pub fn counts() -> Vec<Count> {
    [of_registers(), of_machines()].concat()
}

fn of_registers() -> Vec<Count> {
    let abd = Setting::common(Kind::Abd);
    let printed = Setting::common(Kind::Rw).printed();
    let ours = Setting::common(Kind::Rw);
    let worst = Setting::worst(Kind::Rw);
    let written_and_read = [write(), read()];
    vec![
        Count {
            algorithm: "ABD",
            operation: "write",
            paper: Some(Sum::of(0, 0, 2)),
            counted: abd.count_last(&[write()]),
            why: "",
        },
        Count {
            algorithm: "ABD",
            operation: "read",
            paper: Some(Sum::of(0, 0, 4)),
            counted: abd.clone().without_skip().count_last(&written_and_read),
            why: "",
        },
        Count {
            algorithm: "ABD",
            operation: "read, with §3.4.1",
            paper: None,
            counted: abd.count_last(&written_and_read),
            why: "not in Fig. 3: the write-back is skipped when a majority agrees",
        },
        Count {
            algorithm: "Alg. 1 as printed",
            operation: "write",
            paper: Some(Sum::of(2, 2, 0)),
            counted: printed.count_last(&[write()]),
            why: "",
        },
        Count {
            algorithm: "Alg. 1 as printed",
            operation: "read",
            paper: Some(Sum::of(2, 4, 0)),
            counted: printed.count_last(&written_and_read),
            why: "",
        },
        Count {
            algorithm: "Alg. 1 as printed",
            operation: "read, with §3.4.1",
            paper: Some(Sum::of(2, 2, 0)),
            counted: printed.clone().with_skip().count_last(&written_and_read),
            why: "",
        },
        Count {
            algorithm: "Alg. 1 as printed",
            operation: "read, worst case",
            paper: Some(Sum::of(0, 5, 2)),
            counted: worst
                .clone()
                .printed()
                .count_worst(&write(), &read(), false),
            why: "",
        },
        Count {
            algorithm: "RW here",
            operation: "write",
            paper: Some(Sum::of(2, 2, 0)),
            counted: ours.count_last(&[write()]),
            why: "",
        },
        Count {
            algorithm: "RW here",
            operation: "write without a trusted clock",
            paper: None,
            counted: ours.clone().by_query().count_last(&[write()]),
            why: "the paper assumes clocks; a majority is asked, then the copies are bound",
        },
        Count {
            algorithm: "RW here",
            operation: "read",
            paper: Some(Sum::of(2, 2, 0)),
            counted: ours.count_last(&written_and_read),
            why: "the site's replica answers R-TS and R-DATA at once",
        },
        Count {
            algorithm: "RW here",
            operation: "read, timestamp first",
            paper: Some(Sum::of(2, 2, 0)),
            counted: ours.clone().timestamp_first().count_last(&written_and_read),
            why: "",
        },
        Count {
            algorithm: "RW here",
            operation: "read, without §3.4.1",
            paper: Some(Sum::of(2, 4, 0)),
            counted: ours.without_skip().count_last(&written_and_read),
            why: "the site's replica answers R-TS and R-DATA at once",
        },
        Count {
            algorithm: "RW here",
            operation: "read, worst case",
            paper: Some(Sum::of(0, 5, 2)),
            counted: worst.count_worst(&write(), &read(), true),
            why: "no write-back (§3.4.1); the writer's local set answers the reader itself",
        },
        Count {
            algorithm: "RW here",
            operation: "read, worst case, writer's site silent",
            paper: Some(Sum::of(0, 5, 2)),
            counted: worst.count_worst(&write(), &read(), false),
            why: "no write-back (§3.4.1)",
        },
    ]
}

fn of_machines() -> Vec<Count> {
    let lan = Setting::common(Kind::LanRmw);
    let printed = Setting::common(Kind::Rmw).printed();
    let ours = Setting::common(Kind::Rmw);
    let worst = Setting::worst(Kind::Rmw);
    let twice = [add(1), add(2)];
    vec![
        Count {
            algorithm: "Alg. 2",
            operation: "execute",
            paper: Some(Sum::of(0, 0, 4)),
            counted: lan.count_last(&twice),
            why: "",
        },
        Count {
            algorithm: "Alg. 2",
            operation: "read-only command",
            paper: Some(Sum::of(0, 0, 4)),
            counted: lan.count_last(&[add(1), read_state()]),
            why: "it changes nothing, and the promises confirm what it read",
        },
        Count {
            algorithm: "Alg. 3 as printed",
            operation: "execute",
            paper: Some(Sum::of(4, 4, 0)),
            counted: printed.count_last(&twice),
            why: "",
        },
        Count {
            algorithm: "Alg. 3 as printed",
            operation: "execute, worst case",
            paper: Some(Sum::of(2, 5, 2)),
            counted: worst.clone().printed().count_worst(&add(1), &add(2), false),
            why: "",
        },
        Count {
            algorithm: "RMW here",
            operation: "execute",
            paper: Some(Sum::of(4, 4, 0)),
            counted: ours.count_last(&twice),
            why: "the acceptance of the round before promised this one",
        },
        Count {
            algorithm: "RMW here",
            operation: "execute, another site's was the last",
            paper: Some(Sum::of(4, 4, 0)),
            counted: ours.clone().asking().count_last(&twice),
            why: "",
        },
        Count {
            algorithm: "RMW here",
            operation: "execute, the object's first",
            paper: Some(Sum::of(4, 4, 0)),
            counted: ours.count_last(&[add(1)]),
            why: "there is no version to fetch",
        },
        Count {
            algorithm: "RMW here",
            operation: "execute, worst case",
            paper: Some(Sum::of(2, 5, 2)),
            counted: worst.count_worst(&add(1), &add(2), true),
            why: "the writer's local set answers itself",
        },
        Count {
            algorithm: "RMW here",
            operation: "read-only command",
            paper: Some(Sum::of(4, 4, 0)),
            counted: ours.count_last(&[add(1), read_state()]),
            why: "no round where a majority holds the newest; the site's replica sends it at once",
        },
        Count {
            algorithm: "RMW here",
            operation: "read-only command, timestamp first",
            paper: Some(Sum::of(4, 4, 0)),
            counted: ours.timestamp_first().count_last(&[add(1), read_state()]),
            why: "no round where a majority holds the newest",
        },
    ]
}

/// Copies of a value that cross a link from a site with a local set of 3 to a site with
/// two replicas.
///
/// # Panics
/// Where the write fails.
pub fn copies() -> Vec<Copies> {
    let of = |kind| {
        let local_sets: [&[u16]; 3] = [&[1, 2, 3], &[5], &[8]];
        Setting::new(kind, &[4, 3, 3], &[1, 5, 6, 8, 9], &local_sets)
    };
    let row = |algorithm, setting: &Setting, wrote: &Request, why| Copies {
        algorithm,
        local_set: 3,
        replicas: 2,
        paper: 6,
        counted: setting.copies(wrote),
        why,
    };
    let one = "one member sends, one replica of a site relays";
    vec![
        row("Alg. 1 as printed", &of(Kind::Rw).printed(), &write(), ""),
        row("Alg. 3 as printed", &of(Kind::Rmw).printed(), &add(1), ""),
        row(
            "RW here, member by replica",
            &of(Kind::Rw).member_by_replica(),
            &write(),
            "",
        ),
        row("RW here", &of(Kind::Rw), &write(), one),
        row("RMW here", &of(Kind::Rmw), &add(1), one),
    ]
}

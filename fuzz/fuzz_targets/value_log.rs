//! A directory of values, in a form that gets past its checksums: headers, frames and
//! lists are as they should be, or not, as the input says (docs/formats.md).

#![no_main]

use std::collections::{BTreeMap, BTreeSet};

use libfuzzer_sys::fuzz_target;
use vivace_core::stored::ValueId;
use vivace_core::{ContainerId, Key, KeyName, NodeId, Timestamp, Value, WriterId, codec};
use vivace_fuzz::{Input, Scratch};
use vivace_node::storage::identity::DirectoryId;
use vivace_node::storage::values::{Change, Lookup, Saving, ValueLog, ValueStore};

const DIRECTORY: DirectoryId = DirectoryId([9; 16]);
const SEGMENTS_MAX: u32 = 4;

thread_local! {
    static SCRATCH: Scratch = Scratch::default();
}

fn id(number: u8) -> ValueId {
    let key = Key {
        container: ContainerId(1),
        name: KeyName::new(vec![b'k', number]).expect("a name"),
    };
    let writer = WriterId::new(NodeId(7), vivace_core::Incarnation(1));
    ValueId::version(&key, Timestamp { time: 1, writer })
}

fn format_of(how: u8) -> u8 {
    match how {
        1 => 4,
        4 => 1,
        5 => 2,
        _ => 3,
    }
}

fn segment_header(how: u8, segment: u32) -> Vec<u8> {
    let mut header = b"VIVACEVL".to_vec();
    header.extend_from_slice(&[format_of(how), 0, 0, 0]);
    header.extend_from_slice(if how == 2 { &[8; 16] } else { &DIRECTORY.0 });
    header.extend_from_slice(&segment.to_le_bytes());
    // The file had so many bytes as an earlier segment.
    let earlier_bytes: u32 = if how >= 6 { 150 } else { 0 };
    header.extend_from_slice(&earlier_bytes.to_le_bytes());
    header.resize(60, 0);
    let checksum = crc32c::crc32c(&header) ^ u32::from(how == 3);
    header.extend_from_slice(&checksum.to_le_bytes());
    header
}

/// A frame of segment `seal`, or of an earlier format.
fn frame(seal: Option<u32>, key: &[u8], kind: u8, value: &[u8], damage: u32) -> Vec<u8> {
    let body = crc32c::crc32c_append(crc32c::crc32c(key), value) ^ damage;
    let mut rest = body.to_le_bytes().to_vec();
    rest.extend_from_slice(&(value.len() as u32).to_le_bytes());
    rest.push(kind);
    rest.extend_from_slice(&(key.len() as u16).to_le_bytes());
    rest.extend_from_slice(key);
    let mut header = crc32c::crc32c(&rest);
    if let Some(segment) = seal {
        header = crc32c::crc32c_append(header, &segment.to_le_bytes());
    }
    [b"VVAL", &header.to_le_bytes()[..], &rest, value].concat()
}

fn list(entries: &[u8], segment: u32) -> Vec<u8> {
    let sum = crc32c::crc32c_append(crc32c::crc32c(entries), &segment.to_le_bytes());
    let sum = crc32c::crc32c_append(sum, &DIRECTORY.0);
    [entries, &sum.to_le_bytes()].concat()
}

/// What was written where, for the judge.
#[derive(Default)]
struct Written {
    /// The contents that were ever written, whole, under each of our ids.
    contents: BTreeMap<u8, Vec<Value>>,
    /// Those that were ever written as records of themselves.
    records: BTreeSet<u8>,
    /// Bytes that are of no frame may be anything.
    has_raw_bytes: bool,
    /// Lists of no frames may call anything a record.
    has_raw_lists: bool,
}

/// Writes the files that the input tells of.
fn lay_out(scratch: &Scratch, input: &mut Input<'_>) -> Written {
    let mut written = Written::default();
    let home = scratch.empty("values");
    for segment in 1..=SEGMENTS_MAX {
        let how = input.byte() % 8;
        let mut bytes = segment_header(how, segment);
        let seal = (format_of(how) >= 3).then_some(segment);
        let mut entries = Vec::new();
        let mut listing = None;
        while !input.is_empty() && listing.is_none() {
            let how = input.byte() % 11;
            match how {
                0..=4 => {
                    let number = input.byte();
                    let (key, mut kind, content) = (codec::encode(&id(number)), 1, input.string());
                    let mut value = Value::from(bytes::Bytes::copy_from_slice(content));
                    if how == 1 && content.is_empty() {
                        (kind, value) = (0, Value::Tombstone);
                    } else if how == 2 {
                        kind = 2;
                        written.records.insert(number);
                    }
                    let damage = u32::from(how == 4);
                    let frame = frame(seal, &key, kind, content, damage);
                    if damage == 0 {
                        written.contents.entry(number).or_default().push(value);
                    }
                    entries.extend_from_slice(&(key.len() as u16).to_le_bytes());
                    entries.extend_from_slice(&key);
                    entries.extend_from_slice(&(bytes.len() as u32).to_le_bytes());
                    let bit = u32::from(kind == 2) << 31;
                    entries.extend_from_slice(&(frame.len() as u32 | bit).to_le_bytes());
                    bytes.extend_from_slice(&frame);
                }
                5 => {
                    written.has_raw_bytes = true;
                    let (key, kind) = (input.string(), input.byte());
                    bytes.extend_from_slice(&frame(seal, key, kind, input.string(), 0));
                }
                6 => {
                    written.has_raw_bytes = true;
                    bytes.extend_from_slice(input.string());
                }
                7 => {
                    // What another segment left there, which never counts.
                    let (key, content) = (codec::encode(&id(input.byte())), input.string());
                    bytes.extend_from_slice(&frame(Some(segment + 9), &key, 1, content, 0));
                }
                8 => listing = Some(Some(list(&entries, segment))),
                9 => {
                    written.has_raw_lists = true;
                    listing = Some(Some(list(input.string(), segment)));
                }
                _ => listing = Some(None),
            }
        }
        std::fs::write(home.join(format!("{segment:08x}.values")), bytes).expect("it is ours");
        match listing {
            Some(Some(list)) => {
                let path = home.join(format!("{segment:08x}.ids"));
                std::fs::write(path, list).expect("it is ours");
            }
            Some(None) => {}
            None => break,
        }
    }
    written
}

fn check(scratch: &Scratch, written: &Written) {
    let home = scratch.join("values");
    let before = scratch.contents();
    let open = || ValueLog::open(&home, DIRECTORY, &|_, _| {});
    let (log, _) = match open() {
        Ok(opened) => opened,
        Err(error) => {
            let text = error.to_string();
            assert!(text.contains(&*home.to_string_lossy()), "{text}");
            assert_eq!(scratch.contents(), before, "a refusal changes nothing");
            return;
        }
    };
    let all = |log: &ValueLog| -> BTreeMap<ValueId, Option<Value>> {
        let ids = log.parts().into_iter().flat_map(|part| log.ids(part));
        let found = |id: ValueId| match log.get(&id) {
            Lookup::Found(value) => (id, Some(value)),
            Lookup::Missing | Lookup::Damaged(_) => (id, None),
        };
        ids.map(found).collect()
    };
    let first = all(&log);
    for number in 0..=u8::MAX {
        let Some(Some(value)) = first.get(&id(number)) else {
            continue;
        };
        let known = written.contents.get(&number);
        let is_known = known.is_some_and(|contents| contents.contains(value));
        assert!(is_known || written.has_raw_bytes, "{number}: {value:?}");
    }
    for (found, _) in log.parts().into_iter().flat_map(|part| log.records(part)) {
        let is_known = written.records.iter().any(|number| id(*number) == found);
        let is_raw = written.has_raw_bytes || written.has_raw_lists;
        assert!(is_known || is_raw, "{found:?} is no record");
        assert!(log.contains(&found));
    }
    // It goes on from there, and what is stored now is there at the next start.
    let more = ValueId::version(&id(0).key, Timestamp::MAX);
    let value = Value::from(bytes::Bytes::from_static(b"more"));
    let store = [Change::Store {
        id: more.clone(),
        value: value.clone(),
        is_record: true,
    }];
    log.apply(&store).expect("there is space");
    assert_eq!(log.get(&more), Lookup::Found(value.clone()));
    drop(log);
    let (log, recovered) = open().expect("what was opened opens again");
    assert_eq!(recovered.cut_bytes, 0, "it was cut off the first time");
    assert_eq!(log.get(&more), Lookup::Found(value));
    let mut records = log.parts().into_iter().flat_map(|part| log.records(part));
    assert!(records.any(|record| record == (more.clone(), 4)));
    for (id, value) in &first {
        if let Some(value) = value {
            assert_eq!(&log.get(id), &Lookup::Found(value.clone()), "{id:?}");
        }
    }
    // Space that nobody needs is given back, and nothing else with it.
    let others = first.into_keys().filter(|id| *id != more);
    let forget: Vec<Change> = others.map(Change::Forget).collect();
    log.apply(&forget).expect("there is space");
    while log.tidy(Saving::Space).expect("there is space") {}
    assert!(matches!(log.get(&more), Lookup::Found(_)));
}

fuzz_target!(|bytes: &[u8]| {
    SCRATCH.with(|scratch| {
        let written = lay_out(scratch, &mut Input(bytes));
        check(scratch, &written);
    });
});

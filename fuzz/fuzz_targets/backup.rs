//! A backup: its manifest and a file of objects, both sealed as they should be, or not, as
//! the input says (docs/formats.md).

#![no_main]

use std::collections::BTreeSet;

use libfuzzer_sys::fuzz_target;
use ring::digest::{SHA256, digest};
use vivace_client::backup::{self, FileManifest, Manifest};
use vivace_fuzz::{Input, Scratch};

/// Files of one backup, all with the same objects.
const FILES_MAX: usize = 4;

thread_local! {
    static SCRATCH: Scratch = Scratch::default();
}

fn hex(bytes: &[u8]) -> String {
    let sum = digest(&SHA256, bytes);
    sum.as_ref()
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect()
}

/// A file of objects: how many there are, the bytes of their values, and whether all is as it
/// should be.
fn objects(input: &mut Input<'_>) -> (Vec<u8>, u64, u64, bool) {
    let mut file = b"VIVACEBK\x01\0\0\0".to_vec();
    let (mut count, mut value_bytes, mut is_whole) = (0, 0, true);
    while !input.is_empty() {
        let how = input.byte() % 8;
        if how == 7 {
            file.extend_from_slice(input.string());
            is_whole = false;
            continue;
        }
        let (name, value) = (input.string(), input.string());
        let mut rest = vec![name.len() as u8];
        rest.extend_from_slice(&(value.len() as u32).to_le_bytes());
        rest.extend_from_slice(name);
        rest.extend_from_slice(value);
        let damage = u32::from(how == 6);
        let sum = crc32c::crc32c(&rest) ^ damage;
        file.extend_from_slice(&sum.to_le_bytes());
        file.extend_from_slice(&rest);
        (count, value_bytes) = (count + 1, value_bytes + value.len() as u64);
        is_whole &= damage == 0 && !name.is_empty();
    }
    (file, count, value_bytes, is_whole)
}

fn is_plain(file: &FileManifest) -> bool {
    let plain = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-.".contains(c);
    file.name.ends_with(".objects") && file.name.chars().all(plain)
}

fn lay_out(scratch: &Scratch, bytes: &[u8]) -> Option<(Manifest, bool)> {
    let mut input = Input(bytes);
    let (seals, corrects) = (input.byte() % 4 != 0, input.byte() % 4 != 0);
    let text_bytes = usize::from(input.byte()) | usize::from(input.byte()) << 8;
    let text = input.bytes(text_bytes);
    scratch.empty("backup");
    scratch.write("backup/manifest.json", text);
    let mut manifest: Manifest = serde_json::from_slice(text).ok()?;
    let (file, count, value_bytes, mut is_whole) = objects(&mut input);
    for container in manifest.containers.iter_mut().filter(|_| corrects) {
        let files = container.files.len() as u64;
        (container.objects, container.bytes) = (files * count, files * value_bytes);
    }
    is_whole &= corrects || manifest.containers.is_empty();
    let mut names = BTreeSet::new();
    let files = manifest.containers.iter_mut().flat_map(|c| &mut c.files);
    for (number, told) in files.enumerate() {
        if corrects {
            told.bytes = file.len() as u64;
            told.objects = count;
            told.sha256 = hex(&file);
        }
        is_whole &= is_plain(told) && names.insert(told.name.clone());
        if number < FILES_MAX && is_plain(told) && told.name.len() < 100 {
            scratch.write(&format!("backup/{}", told.name), &file);
        } else {
            is_whole = false;
        }
    }
    if seals {
        let inner = serde_json::to_string(&manifest).expect("it was JSON");
        let sum = hex(inner.as_bytes());
        let sealed = format!("{{\"sha256\":\"{sum}\",\"backup\":{inner}}}");
        scratch.write("backup/manifest.json", sealed.as_bytes());
    }
    let is_whole = is_whole && seals && manifest.format == 1;
    Some((manifest, is_whole))
}

fuzz_target!(|bytes: &[u8]| {
    SCRATCH.with(|scratch| {
        let laid_out = lay_out(scratch, bytes);
        let before = scratch.contents();
        let mut seen = 0;
        let checked = backup::check(&scratch.join("backup"), |progress| {
            assert!(progress.objects > seen);
            seen = progress.objects;
            true
        });
        assert_eq!(scratch.contents(), before, "a check changes nothing");
        match (checked, laid_out) {
            (Ok(found), Some((manifest, _))) => assert_eq!(found.manifest, manifest),
            (Ok(found), None) => panic!("{found:?} of no manifest"),
            (Err(error), laid_out) => {
                let text = error.to_string();
                assert!(
                    text.starts_with(&*scratch.path().to_string_lossy()),
                    "{text}"
                );
                assert!(laid_out.is_none_or(|(_, is_whole)| !is_whole), "{text}");
            }
        }
    });
});

//! `vivace admin backup`, `verify` and `restore`: what they make, what they refuse, and how
//! they end. With real nodes: `vivace-node/tests/backup.rs`.

#![allow(clippy::unwrap_used)]

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use serde_json::Value;
use vivace_client::client_protocol::{Failure, Request};

use crate::authority::Authority;
use crate::command::{Ended, Shell};
use crate::fake_node::{Action, FakeNode};
use crate::store::Store;

/// A node, and a backup of five values, one of them deleted, and a counter.
async fn backed_up() -> (Shell, PathBuf) {
    let shell = Shell::serving();
    for (key, value) in [("a", "1"), ("b", ""), ("c", "33"), ("d", "4"), ("e", "5")] {
        let put = shell.run(&["put", &format!("some-rw/{key}"), value]).await;
        assert_eq!(put.code, Some(0), "{put:?}");
    }
    for words in [
        &["delete", "some-rw/d"][..],
        &["exec", "some-rmw/n", "counter", "add", "5"],
        &["admin", "backup", "saved"],
    ] {
        let done = shell.run(words).await;
        assert_eq!(done.code, Some(0), "{done:?}");
    }
    let saved = shell.path("saved");
    (shell, saved)
}

fn files(directory: &Path) -> Vec<(String, Vec<u8>)> {
    let mut files: Vec<(String, Vec<u8>)> = fs::read_dir(directory)
        .unwrap()
        .map(|entry| {
            let entry = entry.unwrap();
            let name = entry.file_name().into_string().unwrap();
            (name, fs::read(entry.path()).unwrap())
        })
        .collect();
    files.sort();
    files
}

#[tokio::test]
async fn a_backup_is_a_manifest_and_what_it_names() {
    let (shell, saved) = backed_up().await;
    let names: Vec<String> = files(&saved).into_iter().map(|(name, _)| name).collect();
    assert_eq!(
        names,
        [
            "container-1-00001.objects",
            "container-2-00001.objects",
            "manifest.json"
        ]
    );
    assert!(!shell.path("saved.incomplete").exists());
    let verified = shell.run(&["--json", "admin", "verify", "saved"]).await;
    let manifest: Value = serde_json::from_slice(&verified.stdout).unwrap();
    let (rw, rmw) = (&manifest["containers"][0], &manifest["containers"][1]);
    assert_eq!((&rw["objects"], &rw["deleted"]), (&4.into(), &1.into()));
    assert_eq!((&rw["bytes"], &rmw["objects"]), (&4.into(), &1.into()));
    let sum = Command::new("sha256sum")
        .arg(saved.join("container-1-00001.objects"))
        .output();
    // Where the tool is there, it agrees.
    if let Ok(sum) = sum {
        let text = String::from_utf8(sum.stdout).unwrap();
        let said = rw["files"][0]["sha256"].as_str().unwrap();
        assert!(text.starts_with(said), "{text}");
    }
}

#[tokio::test]
async fn a_restore_brings_everything_into_another_cluster() {
    let (shell, saved) = backed_up().await;
    let anew = Shell::serving();
    let saved = saved.to_str().unwrap();
    let restored = anew.run(&["admin", "restore", saved]).await;
    assert_eq!(restored.code, Some(0), "{restored:?}");
    assert!(restored.text().starts_with("restored: 5 objects"));
    for (key, value) in [("a", "1"), ("b", ""), ("c", "33"), ("e", "5")] {
        let got = anew.run(&["get", &format!("some-rw/{key}")]).await;
        assert_eq!((got.code, got.text().as_str()), (Some(0), value), "{key}");
    }
    let deleted = anew.run(&["get", "some-rw/d"]).await;
    assert_eq!(deleted.code, Some(1), "{deleted:?}");
    let counter = anew.run(&["exec", "some-rmw/n", "counter", "get"]).await;
    assert_eq!(counter.text().trim(), "5");

    // A second time, and into the cluster that it is from: both have objects.
    for other in [&anew, &shell] {
        let refused = other.run(&["admin", "restore", saved]).await;
        assert_eq!(refused.code, Some(14), "{refused:?}");
        assert!(refused.stderr.contains("--again"), "{refused:?}");
    }
    let again = anew.run(&["admin", "restore", "--again", saved]).await;
    assert_eq!(again.code, Some(0), "{again:?}");
}

/// Each kind of damage has its own words and exit status; verify and restore agree, the
/// restore without a word to the cluster; and what is there stays as it is.
#[tokio::test]
async fn a_backup_that_is_not_whole_is_refused_and_left_alone() {
    let (shell, saved) = backed_up().await;
    let objects = saved.join("container-1-00001.objects");
    let manifest = saved.join("manifest.json");
    let right = fs::read(&objects).unwrap();
    let told = fs::read_to_string(&manifest).unwrap();
    // No node answers: nothing may be asked of one.
    let alone = Shell::serving();
    fs::remove_file(alone.path("client.toml")).unwrap();

    let refused = async |code: i32, words: &str| {
        let before = saved.is_dir().then(|| files(&saved));
        for action in ["verify", "restore"] {
            let words_of = ["admin", action, saved.to_str().unwrap()];
            let ended: Ended = alone.run(&words_of).await;
            assert_eq!(ended.code, Some(code), "{action}: {ended:?}");
            assert!(ended.stderr.contains(words), "{action}: {ended:?}");
        }
        assert_eq!(before, saved.is_dir().then(|| files(&saved)));
    };
    let put_right = || {
        fs::write(&objects, &right).unwrap();
        fs::write(&manifest, &told).unwrap();
    };

    fs::remove_file(&objects).unwrap();
    refused(10, "container-1-00001.objects: is missing").await;
    fs::create_dir(&objects).unwrap();
    let ended = alone
        .run(&["admin", "verify", saved.to_str().unwrap()])
        .await;
    assert_eq!(ended.code, Some(12), "{ended:?}");
    assert!(ended.stderr.contains("it is no file"), "{ended:?}");
    fs::remove_dir(&objects).unwrap();
    put_right();
    let named = alone
        .run(&["admin", "verify", objects.to_str().unwrap()])
        .await;
    assert_eq!(named.code, Some(8), "{named:?}");
    assert!(named.stderr.contains("name the directory"), "{named:?}");
    fs::write(&objects, &right[..right.len() - 1]).unwrap();
    refused(11, "is cut short").await;
    let mut altered = right.clone();
    altered[20] ^= 1;
    fs::write(&objects, &altered).unwrap();
    refused(12, "was altered").await;
    fs::write(&objects, [&right[..], b"x"].concat()).unwrap();
    refused(12, "was altered").await;
    put_right();
    fs::write(
        &manifest,
        told.replacen("\"objects\": 4", "\"objects\": 3", 1),
    )
    .unwrap();
    refused(12, "manifest.json: was altered").await;
    fs::write(&manifest, told.replace("\"format\": 1", "\"format\": 2")).unwrap();
    refused(9, "format 2, written by vivace").await;
    put_right();
    fs::write(saved.join("notes.txt"), "mine").unwrap();
    refused(13, "notes.txt: does not belong").await;
    fs::remove_file(saved.join("notes.txt")).unwrap();
    fs::remove_file(&manifest).unwrap();
    refused(8, "there is no manifest.json").await;
    let broken_off = saved.with_file_name("saved.incomplete");
    fs::rename(&saved, &broken_off).unwrap();
    let verified = shell.run(&["admin", "verify", "saved.incomplete"]).await;
    assert_eq!(verified.code, Some(8), "{verified:?}");
    assert!(verified.stderr.contains("was broken off"), "{verified:?}");
    fs::rename(&broken_off, &saved).unwrap();
    put_right();
    let verified = shell.run(&["admin", "verify", "saved"]).await;
    assert_eq!(verified.code, Some(0), "{verified:?}");
    fs::remove_dir_all(&saved).unwrap();
    refused(8, "there is no such directory").await;
}

#[tokio::test]
async fn a_backup_never_touches_what_is_there() {
    let (shell, saved) = backed_up().await;
    let before = files(&saved);
    let refused = shell.run(&["admin", "backup", "saved"]).await;
    assert_eq!(refused.code, Some(7), "{refused:?}");
    assert!(refused.stderr.contains("exists"), "{refused:?}");
    assert!(!refused.stderr.contains("--config"), "{refused:?}");
    assert_eq!(files(&saved), before);
    fs::create_dir(shell.path("other.incomplete")).unwrap();
    let refused = shell.run(&["admin", "backup", "other"]).await;
    assert_eq!(refused.code, Some(7), "{refused:?}");
    assert!(refused.stderr.contains("broken off"), "{refused:?}");
    assert!(shell.path("other.incomplete").exists());
}

#[tokio::test]
async fn a_restore_leaves_an_object_alone_that_clients_have_changed() {
    let (_shell, saved) = backed_up().await;
    let authority = Authority::new();
    let store = Store::default();
    let node = FakeNode::start(&authority, move |request| match request {
        Request::RestoreObject { .. } => Action::Reply(Err(Failure::Conflict {
            reason: "another object is here".into(),
        })),
        _ => Action::Reply(store.answer(request)),
    });
    let anew = Shell::new(&authority, node);
    let words = ["admin", "restore", "--again", saved.to_str().unwrap()];
    let ended = anew.run(&words).await;
    assert_eq!(ended.code, Some(3), "{ended:?}");
    assert!(ended.stderr.contains("some-rmw/n: conflict"), "{ended:?}");
    assert!(ended.stderr.contains("before clients use it"), "{ended:?}");
    // Those that were on their way meanwhile count too.
    let count = "4 other objects were restored";
    assert!(ended.stderr.contains(count), "{ended:?}");
    assert!(!ended.stderr.contains("Nothing was changed"), "{ended:?}");
}

/// A node that answers no copy.
fn stuck() -> Shell {
    let authority = Authority::new();
    let store = Store::default();
    store
        .answer(&Request::Write {
            container: "some-rw".into(),
            key: vivace_client::KeyName::new("a").unwrap(),
            value: bytes::Bytes::from("1").into(),
            durability: None,
        })
        .unwrap();
    let node = FakeNode::start(&authority, move |request| match request {
        Request::CopyObject { .. } => Action::Reply(Err(Failure::Busy {
            reason: "much to do".into(),
        })),
        _ => Action::Reply(store.answer(request)),
    });
    Shell::new(&authority, node)
}

#[tokio::test]
async fn an_object_that_can_not_be_read_fails_the_backup_which_leaves_nothing() {
    let shell = stuck();
    let words = ["admin", "backup", "--patience", "1s", "saved"];
    let failed = shell.run(&words).await;
    assert_eq!(failed.code, Some(4), "{failed:?}");
    assert!(failed.stderr.contains("some-rw/a"), "{failed:?}");
    assert!(!shell.path("saved").exists() && !shell.path("saved.incomplete").exists());
}

#[tokio::test]
async fn ctrl_c_and_sigterm_leave_nothing_of_a_backup() {
    for signal in ["-INT", "-TERM"] {
        interrupted_with(signal).await;
    }
}

async fn interrupted_with(signal: &'static str) {
    let shell = stuck();
    let mut command = shell.command(&["admin", "backup", "saved"]);
    let incomplete = shell.path("saved.incomplete");
    let ended = tokio::task::spawn_blocking(move || {
        let mut child = command.spawn().unwrap();
        let begun = Instant::now();
        while !incomplete.exists() {
            assert!(begun.elapsed() < Duration::from_secs(10), "it never began");
            std::thread::sleep(Duration::from_millis(10));
        }
        let pid = child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().unwrap();
        assert!(sent.success());
        child.wait().unwrap()
    });
    assert_eq!(ended.await.unwrap().code(), Some(130), "{signal}");
    assert!(!shell.path("saved").exists() && !shell.path("saved.incomplete").exists());
}

//! The client file: what is read from it, and how its faults are named.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use tempfile::TempDir;
use vivace_client::{ClientConfig, ConfigFileError, TIMEOUT_DEFAULT};

use crate::authority::Authority;

const GOOD: &str = r#"
cluster = "test"
nodes = ["127.0.0.1:7003", "[::1]:7013"]
ca = "ca.pem"
certificate = "client.pem"
key = "client.key"
"#;

/// A folder with a client file and what it names.
pub fn folder(client_file: &str) -> (TempDir, PathBuf) {
    let folder = tempfile::tempdir().expect("a folder");
    let authority = Authority::new();
    let client = authority.client();
    let write = |name: &str, text: &str| {
        fs::write(folder.path().join(name), text).expect("a file is written");
    };
    write("ca.pem", &authority.certificate_pem());
    write("client.pem", &client.certificate_pem);
    write("client.key", &client.key_pem());
    write("client.toml", client_file);
    let path = folder.path().join("client.toml");
    (folder, path)
}

fn fault(client_file: &str) -> String {
    let (_folder, path) = folder(client_file);
    match ClientConfig::from_file(path) {
        Err(error) => error.to_string(),
        Ok(config) => panic!("{config:?} must not be accepted"),
    }
}

#[test]
fn a_client_file_names_its_files_relative_to_itself() {
    let (_folder, path) = folder(GOOD);
    let config = ClientConfig::from_file(path).expect("a good file");
    assert_eq!(config.cluster, "test");
    assert_eq!(config.nodes.len(), 2);
    assert_eq!(config.timeout, TIMEOUT_DEFAULT);
    assert_eq!(
        (config.authorities.len(), config.certificates.len()),
        (1, 1)
    );
}

#[test]
fn a_timeout_may_be_given() {
    let (_folder, path) = folder(&format!("{GOOD}timeout_ms = 1500\n"));
    let config = ClientConfig::from_file(path).expect("a good file");
    assert_eq!(config.timeout, Duration::from_millis(1500));
}

#[test]
fn a_fault_names_its_field_and_what_would_be_right() {
    let swapped = |from: &str, to: &str| fault(&GOOD.replace(from, to));
    for (fault, words) in [
        (fault(&format!("{GOOD}tiemout_ms = 1\n")), "tiemout_ms"),
        (swapped("cluster = \"test\"", ""), "cluster"),
        (swapped("key = \"client.key\"", ""), "key"),
        (swapped("\"test\"", "\"Test!\""), "a-z"),
        // No certificate can be for such a name: RFC 1035 §2.3.1.
        (swapped("\"test\"", "\"-test\""), "at either end"),
        (swapped("\"test\"", "\"test-\""), "at either end"),
        (
            swapped("127.0.0.1:7003", "localhost:7003"),
            "192.0.2.1:7003",
        ),
        (swapped("\"127.0.0.1:7003\", \"[::1]:7013\"", ""), "nodes"),
        (swapped("ca.pem", "nowhere.pem"), "nowhere.pem"),
        (swapped("ca.pem", "client.key"), "holds no certificate"),
        (
            swapped("\"client.key\"", "\"ca.pem\""),
            "holds no private key",
        ),
        (fault(&format!("{GOOD}timeout_ms = 0\n")), "timeout_ms"),
        (fault(&format!("{GOOD}timeout_ms = 600001\n")), "timeout"),
        (fault("cluster = "), "client.toml"),
    ] {
        assert!(fault.contains(words), "{words:?} is not in: {fault}");
        assert!(fault.contains("client.toml"), "{fault}");
    }
}

#[test]
fn a_missing_client_file_is_named() {
    let error = ClientConfig::from_file("/nowhere/client.toml").expect_err("no such file");
    assert!(matches!(error, ConfigFileError::Unreadable { .. }));
    assert!(error.to_string().contains("/nowhere/client.toml"));
}

/// A file without a length was read until memory was full.
#[cfg(unix)]
#[test]
fn a_client_file_without_end_is_refused() {
    let error = ClientConfig::from_file("/dev/zero").expect_err("it has no end");
    assert!(matches!(error, ConfigFileError::Unreadable { .. }));
    let words = error.to_string();
    assert!(
        words.contains("/dev/zero") && words.contains("the limit is"),
        "{words}"
    );
}

//! `cluster.toml` as text: what is refused before anything is started.

use std::path::Path;

use vivace_node::config::{ClusterConfig, ConfigError};
use vivace_node::init::Layout;

fn sound() -> String {
    let layout = Layout {
        cluster: "test".into(),
        sites: 3,
        nodes_per_site: 1,
        base_port: 7000,
    };
    layout.cluster_file()
}

fn refused(text: &str) -> String {
    let path = Path::new("cluster.toml");
    ClusterConfig::from_text(text, path)
        .expect_err("it can't be used")
        .to_string()
}

/// Sites are numbered with 16 bits: one more than these had number 0, as the first.
#[test]
fn more_sites_than_numbers_are_refused() {
    let many: Vec<String> = (0..=1 << 16).map(|site| format!("\"s{site}\"")).collect();
    let text = sound();
    let line = text.lines().find(|line| line.starts_with("sites = "));
    let sites = format!("sites = [\"a\", \"b\", \"c\", {}]", many.join(", "));
    let words = refused(&text.replace(line.expect("it has sites"), &sites));
    assert!(words.contains("sites: names more than 65,536"), "{words}");
}

/// A file without a length was read until memory was full.
#[cfg(unix)]
#[test]
fn a_file_without_end_is_refused() {
    let error = ClusterConfig::from_file(Path::new("/dev/zero")).expect_err("it has no end");
    assert!(matches!(error, ConfigError::Unreadable { .. }), "{error}");
    let words = error.to_string();
    assert!(words.contains("/dev/zero: goes on beyond"), "{words}");
}

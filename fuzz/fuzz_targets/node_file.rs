//! A node's file, beside a cluster's file and certificates that are as they should be.

#![no_main]

use std::time::Duration;

use libfuzzer_sys::fuzz_target;
use vivace_fuzz::Scratch;
use vivace_node::ClockSource;
use vivace_node::config::{NodeConfig, StorageConfig};
use vivace_node::init::{Layout, init};

const LAYOUT: (u16, u16) = (3, 1);

thread_local! {
    static SCRATCH: Scratch = {
        let scratch = Scratch::default();
        let (sites, nodes_per_site) = LAYOUT;
        let layout = Layout { cluster: "fuzz".into(), sites, nodes_per_site, base_port: 7000 };
        init(scratch.path(), &layout).expect("init lays a cluster out");
        scratch
    };
}

fn whole_micros(time: Duration) -> u128 {
    time.as_micros()
}

/// The file that says the same.
fn written(config: &NodeConfig, scratch: &Scratch) -> String {
    let storage = match &config.storage {
        StorageConfig::Memory => "kind = \"memory\"".to_owned(),
        StorageConfig::Disk(disk) => {
            // As it was written: paths with a dot in them are not the same to Debug.
            let base = format!("{}/", scratch.join("node-1").display());
            let directory = disk.directory.to_str().expect("it came from a text");
            let directory = directory.strip_prefix(&base).unwrap_or(directory);
            let directory = toml::Value::from(directory);
            format!(
                "kind = \"disk\"\ndirectory = {directory}\ncache_bytes = {}\nreserve_bytes = {}",
                disk.cache_bytes, disk.reserve_bytes
            )
        }
    };
    let clock = match config.clock {
        ClockSource::Kernel => "source = \"kernel\"".to_owned(),
        ClockSource::Untrusted => "source = \"untrusted\"".to_owned(),
        ClockSource::Fixed { error } => {
            format!("source = \"fixed\"\nerror_us = {}", whole_micros(error))
        }
    };
    format!(
        "node = {}\ncluster = \"../cluster.toml\"\nca = \"../ca.pem\"\n\
         certificate = \"node.pem\"\nkey = \"node.key\"\n[storage]\n{storage}\n[clock]\n{clock}\n",
        config.node.0
    )
}

fn meaning(config: &NodeConfig) -> String {
    format!("{:?} {:?} {:?}", config.node, config.storage, config.clock)
}

fuzz_target!(|text: &str| {
    SCRATCH.with(|scratch| {
        let path = scratch.write("node-1/node.toml", text.as_bytes());
        let config = match NodeConfig::from_file(&path) {
            Ok(config) => config,
            Err(error) => {
                let text = error.to_string();
                let (file, what) = text.split_once(": ").expect("the file is named first");
                assert!(!file.is_empty() && !what.is_empty(), "{text}");
                return;
            }
        };
        assert!(config.cluster.addresses.contains_key(&config.node));
        let written = written(&config, scratch);
        scratch.write("node-1/node.toml", written.as_bytes());
        let again = NodeConfig::from_file(&path).expect(&written);
        assert_eq!(meaning(&again), meaning(&config), "{written}");
    });
});

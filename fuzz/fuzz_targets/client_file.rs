//! A client's file, beside certificates that are as they should be.

#![no_main]

use libfuzzer_sys::fuzz_target;
use vivace_client::{ClientConfig, NODES_MAX, TIMEOUT_MAX};
use vivace_fuzz::Scratch;
use vivace_node::init::{Layout, init};
use vivace_node::transport::identity::ClusterName;

thread_local! {
    static SCRATCH: Scratch = {
        let scratch = Scratch::default();
        let layout = Layout { cluster: "fuzz".into(), sites: 1, nodes_per_site: 1, base_port: 7000 };
        init(scratch.path(), &layout).expect("init lays a cluster out");
        scratch
    };
}

/// The file that says the same.
fn written(config: &ClientConfig) -> String {
    let nodes: Vec<String> = config
        .nodes
        .iter()
        .map(|node| format!("\"{node}\""))
        .collect();
    format!(
        "cluster = \"{}\"\nnodes = [{}]\nca = \"ca.pem\"\ncertificate = \"client.pem\"\n\
         key = \"client.key\"\ntimeout_ms = {}\n",
        config.cluster,
        nodes.join(", "),
        config.timeout.as_millis()
    )
}

fn meaning(config: &ClientConfig) -> String {
    format!("{} {:?} {:?}", config.cluster, config.nodes, config.timeout)
}

fuzz_target!(|text: &str| {
    SCRATCH.with(|scratch| {
        let path = scratch.write("client-a.toml", text.as_bytes());
        let config = match ClientConfig::from_file(&path) {
            Ok(config) => config,
            Err(error) => {
                let text = error.to_string();
                let what = text.strip_prefix(&*path.to_string_lossy());
                let what = what.expect("the file is named");
                let what = what.strip_prefix(": ").expect("then comes what is wrong");
                assert!(!what.is_empty(), "{text}");
                return;
            }
        };
        ClusterName::new(&config.cluster).expect("no other name is in a certificate");
        assert!((1..=NODES_MAX).contains(&config.nodes.len()));
        assert!(!config.timeout.is_zero() && config.timeout <= TIMEOUT_MAX);
        let written = written(&config);
        scratch.write("client-a.toml", written.as_bytes());
        let again = ClientConfig::from_file(&path).expect(&written);
        assert_eq!(meaning(&again), meaning(&config), "{written}");
    });
});

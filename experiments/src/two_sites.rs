//! The paper's network for its storage algorithms (Fig. 5): two sites, five nodes,
//! one link between the sites that can be filled.
//!
//! ```text
//!        site a                          site b
//!  client ─ 1 (replica)              2 (replica)
//!           4          ══ link ══    3 (replica)
//!           5
//!  local set 1, 4, 5                 local set 2, 3
//! ```

use std::time::Duration;

use anyhow::Context;
use netem::{DscpSet, LinkConfig, Site, Topology, Wan};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use vivace_client::{Client, ClientConfig};
use vivace_core::NodeId;
use vivace_core::machine::Machines;
use vivace_node::dev::DevCluster;

use crate::results::Link;

/// The DSCP of the priority class: Expedited Forwarding.
pub const PRIORITY_DSCP: u8 = 46;

/// The node beside the client.
const CLIENT_NODE: NodeId = NodeId(1);

const SITE_A: Site = Site(0);
const SITE_B: Site = Site(1);

/// How long nodes may take to find each other.
const CONNECT_PATIENCE: Duration = Duration::from_secs(20);

/// Longest value, in bytes: the longest object of an experiment and what an RMW
/// object stores beside its state.
const VALUE_BYTES_MAX: u32 = 2 << 20;

/// The nodes and containers of Fig. 5; a container for each algorithm. The
/// addresses are virtual.
fn cluster_file() -> String {
    let mut text = format!(
        "name = \"two-sites\"\nsites = [\"a\", \"b\"]\n\
         [clock]\nerror_max_us = 5000\nslack_ms = 1000\n\
         [limits]\nvalue_bytes_max = {VALUE_BYTES_MAX}\n\
         [dscp]\npriority = {PRIORITY_DSCP}\nbulk = 0\n"
    );
    for (id, site) in [(1, "a"), (2, "b"), (3, "b"), (4, "a"), (5, "a")] {
        text += &format!(
            "[[nodes]]\nid = {id}\nsite = \"{site}\"\npriority = \"10.0.0.{id}:7001\"\n\
             bulk = \"10.0.0.{id}:7002\"\nclient = \"10.0.0.{id}:7003\"\n"
        );
    }
    for (id, kind) in [(1, "abd"), (2, "rw"), (3, "lan-rmw"), (4, "rmw")] {
        text += &format!(
            "[[containers]]\nid = {id}\nname = \"{kind}\"\nkind = \"{kind}\"\nepoch = 1\n\
             replicas = [1, 2, 3]\nwrite_back_skip = true\n"
        );
        // The prior algorithms know no local sets.
        if matches!(kind, "rw" | "rmw") {
            text += "[containers.local_sets]\na = [1, 4, 5]\nb = [2, 3]\n";
        }
    }
    text
}

/// The running network, with a container named after each algorithm's kind.
pub struct TwoSites {
    cluster: DevCluster,
    load: f64,
    buffer_bytes: u64,
}

impl TwoSites {
    /// Starts the nodes over an idle link and waits until all are connected.
    ///
    /// # Errors
    /// The link is refused, or a node does not start, or finds a peer, in time.
    /// Nothing is left running.
    pub async fn start(link: &Link, seed: u64) -> anyhow::Result<Self> {
        let between = LinkConfig {
            rate_bits_per_second: link.rate_bits_per_second,
            buffer_bytes: link.buffer_bytes,
            delay: Duration::from_secs_f64(link.rtt_ms / 2000.0),
            priority_dscps: DscpSet::EXPEDITED,
            ..LinkConfig::default()
        };
        let topology = Topology::mesh(2, &between);
        let cluster = DevCluster::with(&cluster_file(), &topology, Machines::builtin(), seed)
            .context("the cluster did not start")?;
        let started = Self {
            cluster,
            load: link.load,
            buffer_bytes: link.buffer_bytes,
        };
        anyhow::ensure!(
            started.cluster.wait_until_connected(CONNECT_PATIENCE).await,
            "the nodes did not find each other within {CONNECT_PATIENCE:?}"
        );
        Ok(started)
    }

    /// The cluster.
    pub fn cluster(&self) -> &DevCluster {
        &self.cluster
    }

    /// The WAN.
    pub fn wan(&self) -> &Wan {
        self.cluster.wan()
    }

    /// A client beside node 1, which knows no other node; each operation may take
    /// `deadline`.
    ///
    /// # Errors
    /// The node does not serve it in time.
    pub async fn client(&self, deadline: Duration) -> anyhow::Result<Client> {
        let node = self
            .cluster
            .node(CLIENT_NODE)
            .context("node 1 is not running")?;
        let credentials = self.cluster.client_credentials();
        let pem = "the cluster's credentials are not PEM";
        let config = ClientConfig::new(
            self.cluster.config().name.as_str(),
            [node.client_address()],
            CertificateDer::from_pem_slice(credentials.ca.as_bytes()).context(pem)?,
            vec![
                CertificateDer::from_pem_slice(credentials.pair.certificate.as_bytes())
                    .context(pem)?,
            ],
            PrivateKeyDer::from_pem_slice(credentials.pair.key.as_bytes()).context(pem)?,
        );
        Ok(Client::connect(config.timeout(deadline)).await?)
    }

    /// Starts cross traffic both ways.
    ///
    /// # Errors
    /// The link refuses the load.
    pub fn congest(&self) -> anyhow::Result<()> {
        self.wan().congest(SITE_A, SITE_B, self.load)?;
        self.wan().congest(SITE_B, SITE_A, self.load)?;
        Ok(())
    }

    /// Waits until the buffers of both directions are nine tenths full, for at most
    /// `patience`; false where they are not by then (a load below the rate never
    /// fills them).
    pub async fn wait_until_full(&self, patience: Duration) -> bool {
        let deadline = tokio::time::Instant::now() + patience;
        loop {
            let stats = self.wan().stats();
            let mut between = stats.links.iter().filter(|link| link.from != link.to);
            if between.all(|link| link.counters.queue_bytes() * 10 >= self.buffer_bytes * 9) {
                return true;
            }
            if tokio::time::Instant::now() >= deadline {
                return false;
            }
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

//! The store as the load sees it: is it ready, is it quiet, and its objects.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, bail};
use tokio::time::Instant;
use vivace_client::status::NodeStatus;
use vivace_client::{Client, ClientConfig};

use super::etcd_gateway::Gateway;
use super::objects::{EtcdObject, Object};
use super::protocol::{LoadConfig, TargetConfig};
use super::twitter::TwitterUser;
use crate::settling::is_quiet;
use crate::step::Operation;
use crate::workload::Workload;

/// Between two looks.
const PAUSE: Duration = Duration::from_millis(50);

/// How long one look may take.
const LOOK_DEADLINE: Duration = Duration::from_secs(2);

/// How long etcd has before each measurement to have its first member lead again.
const LEAD_PATIENCE: Duration = Duration::from_secs(5);

/// The store.
pub enum Target {
    /// Nodes of Vivace.
    Vivace {
        /// Measures, by node 1.
        client: Client,
        /// Looks at this site's nodes.
        site: Client,
        /// Looks at all.
        all: Client,
    },
    /// Members of etcd, this site's first.
    Etcd(Vec<String>),
}

impl Target {
    /// Connects, as soon as the store serves.
    ///
    /// # Errors
    /// It does not in time; what it said last.
    pub async fn connect(config: &LoadConfig, patience: Duration) -> anyhow::Result<Self> {
        let deadline = Instant::now() + patience;
        match &config.target {
            TargetConfig::Vivace { client, site, all } => {
                let target = Self::Vivace {
                    client: connected(client, deadline).await?,
                    site: connected(site, deadline).await?,
                    all: connected(all, deadline).await?,
                };
                target.wait_for_peers(deadline).await?;
                Ok(target)
            }
            TargetConfig::Etcd { members } => {
                lead_from_here(members, deadline).await?;
                Ok(Self::Etcd(members.clone()))
            }
        }
    }

    /// Until every node has both connections to every other.
    async fn wait_for_peers(&self, deadline: Instant) -> anyhow::Result<()> {
        let Self::Vivace { all, .. } = self else {
            return Ok(());
        };
        loop {
            let statuses = all.statuses().await;
            let missing = statuses.iter().find_map(|(at, status)| apart(*at, status));
            let Some(missing) = missing else {
                return Ok(());
            };
            if Instant::now() >= deadline {
                bail!("the nodes did not find each other: {missing}");
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until no node of this site has an operation under way, a value that a
    /// replica lacks, or bytes that wait for a peer; whether that came, or none where
    /// the store can't tell.
    pub async fn settle(&self, patience: Duration) -> Option<bool> {
        let Self::Vivace { site, .. } = self else {
            return None;
        };
        let deadline = Instant::now() + patience;
        loop {
            let statuses = site.statuses().await;
            // A node that can't say is not known to be quiet.
            if statuses
                .iter()
                .all(|(_, status)| status.as_ref().is_ok_and(is_quiet))
            {
                return Some(true);
            }
            if Instant::now() >= deadline {
                return Some(false);
            }
            tokio::time::sleep(PAUSE).await;
        }
    }

    /// Waits until a node of this site warns of marks that the network does not keep, and
    /// yields the warning.
    pub async fn alarm(&self, patience: Duration) -> Option<String> {
        let Self::Vivace { site, .. } = self else {
            return None;
        };
        let begun = Instant::now();
        while begun.elapsed() < patience {
            for (_, status) in site.statuses().await {
                let warnings = status.map(|status| status.warnings).unwrap_or_default();
                let alarm = warnings.into_iter().find(|words| words.contains("DSCP"));
                if alarm.is_some() {
                    return alarm;
                }
            }
            tokio::time::sleep(PAUSE).await;
        }
        None
    }

    /// Has etcd's member beside the client lead, as at the start; whether it does.
    pub async fn lead_from_here(&self) -> bool {
        match self {
            Self::Vivace { .. } => true,
            Self::Etcd(members) => {
                let deadline = Instant::now() + LEAD_PATIENCE;
                lead_from_here(members, deadline).await.is_ok()
            }
        }
    }

    /// Whether etcd's member beside the client leads.
    pub async fn leads_here(&self) -> bool {
        match self {
            Self::Vivace { .. } => true,
            Self::Etcd(members) => match members.first() {
                Some(here) => {
                    let asked = Gateway::new(here).member_and_leader(LOOK_DEADLINE).await;
                    asked.is_ok_and(|(own, leader)| own == leader)
                }
                None => false,
            },
        }
    }

    /// A client's object: of the Twitter clone for its operations.
    ///
    /// # Errors
    /// The store has no such objects.
    pub fn object(
        &self,
        system: &str,
        operation: Operation,
        key: &str,
        bytes: usize,
        deadline: Duration,
        seed: u64,
    ) -> anyhow::Result<Object> {
        Ok(match (self, operation) {
            (
                Self::Vivace { client, .. },
                Operation::Post | Operation::Timeline | Operation::Friends,
            ) => Object::Twitter(TwitterUser::new(client, system, deadline)?),
            (Self::Vivace { client, .. }, _) => {
                let make = match system {
                    "lan-rmw" | "rmw" => Workload::map,
                    _ => Workload::value,
                };
                Object::Vivace(make(client, system, key, deadline, bytes, seed))
            }
            (Self::Etcd(members), Operation::Read | Operation::Write) => {
                let member = members.first().context("a member is here")?;
                Object::Etcd(EtcdObject::new(member, key, deadline, bytes, seed))
            }
            (Self::Etcd(_), other) => bail!("etcd has no {}", other.id()),
        })
    }
}

async fn connected(file: &std::path::Path, deadline: Instant) -> anyhow::Result<Client> {
    let config = ClientConfig::from_file(file)?.timeout(LOOK_DEADLINE);
    loop {
        match Client::connect(config.clone()).await {
            Ok(client) => return Ok(client),
            Err(error) if Instant::now() >= deadline => return Err(error.into()),
            Err(_) => tokio::time::sleep(PAUSE).await,
        }
    }
}

/// What keeps a node from all its peers; none where nothing does.
fn apart(
    at: SocketAddr,
    status: &Result<NodeStatus, vivace_client::OperationError>,
) -> Option<String> {
    match status {
        Ok(status) => {
            let peer = status
                .peers
                .iter()
                .find(|peer| !(peer.priority.up && peer.bulk.up))?;
            Some(format!("node {} lacks node {}", status.node, peer.node))
        }
        Err(error) => Some(format!("{at}: {error}")),
    }
}

/// Waits for a leader, and has the member beside the client lead: etcd's best case.
async fn lead_from_here(members: &[String], deadline: Instant) -> anyhow::Result<()> {
    let here = members.first().context("a member is here")?;
    let mut said = "no leader".to_owned();
    while Instant::now() < deadline {
        match try_to_lead(here, members).await {
            Ok(true) => return Ok(()),
            Ok(false) => {}
            Err(error) => said = error.said,
        }
        tokio::time::sleep(10 * PAUSE).await;
    }
    bail!("etcd does not serve: {said}")
}

async fn try_to_lead(
    here: &str,
    members: &[String],
) -> Result<bool, super::etcd_gateway::GatewayError> {
    let (own, leader) = Gateway::new(here).member_and_leader(LOOK_DEADLINE).await?;
    if leader == own && own != 0 {
        return Ok(true);
    }
    for member in members {
        let mut gateway = Gateway::new(member);
        let (id, leader) = gateway.member_and_leader(LOOK_DEADLINE).await?;
        if id == leader {
            gateway.hand_leadership_to(own, LOOK_DEADLINE).await?;
        }
    }
    Ok(false)
}

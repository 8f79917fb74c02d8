//! `vivace-node init`: a development cluster's files, with comments.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::time::Duration;

use vivace_core::{NodeId, SiteId};

use crate::storage::identity::{ClusterId, DataDirectory, IdentityError, Owner};
use crate::transport::identity::{
    ClientName, ClusterName, DevelopmentCa, IssueError, NameError, PemPair, Role,
};

/// How long development certificates are valid.
const VALID_FOR: Duration = Duration::from_secs(365 * 24 * 3600);

/// What to lay out.
#[derive(Clone, Debug)]
pub struct Layout {
    /// The cluster's name: lower-case letters, digits and dashes.
    pub cluster: String,
    /// 1 to 9.
    pub sites: u16,
    /// 1 to 9.
    pub nodes_per_site: u16,
    /// The first of the ports; node i takes three from `base_port + 10 i`.
    pub base_port: u16,
}

/// Why nothing, or not all, was laid out.
#[derive(Debug, thiserror::Error)]
pub enum InitError {
    /// The directory has files.
    #[error("{}: is not empty; init writes into a new or empty directory", .0.display())]
    NotEmpty(PathBuf),
    /// A number is out of its range.
    #[error("{field} is {value}; it must be {allowed}")]
    Range {
        /// The option.
        field: &'static str,
        /// Its value.
        value: u16,
        /// What would be right.
        allowed: &'static str,
    },
    /// The cluster's name can't be used in certificates.
    #[error("cluster: {0}")]
    Name(#[from] NameError),
    /// A certificate can't be made.
    #[error("certificates: {0}")]
    Issue(#[from] IssueError),
    /// A node's data directory can't be made.
    #[error(transparent)]
    Data(#[from] IdentityError),
    /// The operating system refused.
    #[error("{}: {source}", path.display())]
    Io {
        /// The file or directory.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
}

/// The letters that name sites: `a`, `b`, ...
pub fn site_name(site: u16) -> String {
    char::from(b'a' + site as u8).to_string()
}

impl Layout {
    /// The cluster's nodes, with their sites, numbered from 1 site by site.
    pub fn nodes(&self) -> Vec<(NodeId, SiteId)> {
        let sites = (0..self.sites).flat_map(|site| (0..self.nodes_per_site).map(move |_| site));
        (1..)
            .zip(sites)
            .map(|(node, site)| (NodeId(node), SiteId(site)))
            .collect()
    }

    fn check(&self) -> Result<(), InitError> {
        for (field, value) in [
            ("--sites", self.sites),
            ("--nodes-per-site", self.nodes_per_site),
        ] {
            if !(1..=9).contains(&value) {
                return Err(InitError::Range {
                    field,
                    value,
                    allowed: "1 to 9",
                });
            }
        }
        if !(1024..=64_000).contains(&self.base_port) {
            let (field, value) = ("--base-port", self.base_port);
            return Err(InitError::Range {
                field,
                value,
                allowed: "1024 to 64000",
            });
        }
        Ok(())
    }

    /// The replicas of the example containers: one node of each site, and with fewer
    /// than three sites as many more as make an odd number of at least three.
    fn replicas(&self) -> Vec<u16> {
        let by_rank = (0..self.nodes_per_site).flat_map(|rank| {
            (0..self.sites).map(move |site| site * self.nodes_per_site + rank + 1)
        });
        let count = usize::from(self.sites).max(3);
        let mut replicas: Vec<u16> = by_rank.take(count).collect();
        if replicas.len().is_multiple_of(2) && replicas.len() > 1 {
            replicas.pop();
        }
        replicas.sort_unstable();
        replicas
    }

    /// The text of a `cluster.toml` that has no id.
    pub fn cluster_file(&self) -> String {
        self.file_of(None)
    }

    /// The owner of `node`'s data directory, in the cluster with `id`.
    fn owner(&self, node: NodeId, id: ClusterId) -> Owner {
        Owner {
            cluster_id: Some(id),
            ..Owner::named(&self.cluster, node)
        }
    }

    fn file_of(&self, id: Option<ClusterId>) -> String {
        let id = id.map(|id| {
            format!("id = \"{id}\"  # of this cluster alone: data directories remember it\n")
        });
        let sites: Vec<String> = (0..self.sites)
            .map(|site| format!("{:?}", site_name(site)))
            .collect();
        let mut text = format!(
            "# One Vivace cluster. Every node and nobody else reads this file; it must be the\n\
             # same everywhere.\n\
             \n\
             name = {:?}           # certificates carry it\n\
             {}sites = [{}]  # places with fast links inside\n\
             \n\
             [clock]\n\
             # E, microseconds: every node whose own bound is within it signs writes with its\n\
             # own clock; others ask a majority first (one priority round trip more).\n\
             error_max_us = 5000\n\
             # A timestamp further ahead of a replica's clock than 2 E + slack is refused.\n\
             slack_ms = 1000\n\
             \n\
             [limits]\n\
             value_bytes_max = 1048576      # 1 to 8388608\n\
             backlog_bytes_max = 268435456  # values that wait for one site; then writes hear Busy\n\
             \n\
             [dscp]\n\
             priority = 46  # EF: timestamps and acknowledgments\n\
             bulk = 0       # best effort; 1 (LE, RFC 8622) yields to everything else\n",
            self.cluster,
            id.unwrap_or_default(),
            sites.join(", ")
        );
        for (node, site) in self.nodes() {
            let port = self.base_port + 10 * node.0;
            let _ = write!(
                text,
                "\n[[nodes]]\nid = {}\nsite = {:?}\npriority = \"127.0.0.1:{}\"\nbulk = \"127.0.0.1:{}\"\nclient = \"127.0.0.1:{}\"\n",
                node.0,
                site_name(site.0),
                port + 1,
                port + 2,
                port + 3
            );
        }
        for (id, name, kind, comment) in [
            (1, "kv", "rw", "read, write, delete: Vivace's Algorithm 1"),
            (
                2,
                "objects",
                "rmw",
                "commands on state machines, exactly once: Algorithm 3",
            ),
            (3, "kv-abd", "abd", "the baseline ABD, for comparison"),
            (
                4,
                "objects-lan",
                "lan-rmw",
                "the baseline Algorithm 2, for comparison",
            ),
        ] {
            self.write_container(&mut text, id, name, kind, comment);
        }
        text
    }

    fn write_container(&self, text: &mut String, id: u32, name: &str, kind: &str, comment: &str) {
        let _ = write!(
            text,
            "\n[[containers]]  # {comment}\nid = {id}\nname = {name:?}\nkind = {kind:?}\nepoch = 1\nreplicas = {:?}  # an odd number; a majority must be up\n",
            self.replicas()
        );
        if !matches!(kind, "rw" | "rmw") {
            return;
        }
        text.push_str("timestamps = \"clock\"  # or \"query\": trust no clock\n");
        text.push_str(
            "durability = \"local\"  # where a value is safe before its writer hears of success: in its site;\n\
             # \"remote\": also at a replica elsewhere; \"majority\": at a majority of replicas\n",
        );
        text.push_str("[containers.local_sets]  # per site: who holds values on their way out\n");
        for site in 0..self.sites {
            let first = site * self.nodes_per_site + 1;
            // Two would tolerate no crash and cost more than one.
            let size = if self.nodes_per_site == 2 {
                1
            } else {
                self.nodes_per_site.min(3)
            };
            let members: Vec<u16> = (first..first + size).collect();
            let _ = writeln!(text, "{} = {members:?}", site_name(site));
        }
    }

    fn node_file(&self, node: NodeId) -> String {
        format!(
            "# Node {0} of cluster {1:?}; paths count from this file.\n\
             node = {0}\n\
             cluster = \"../cluster.toml\"\n\
             ca = \"../ca.pem\"\n\
             certificate = \"node.pem\"  # names cluster, node and site\n\
             key = \"node.key\"\n\
             realtime = false  # true: small operations run before all else on this machine\n\
             # One thread for all connections (\"shared\"), or one for each class and one for clients\n\
             # (\"split\"); auto: shared where this machine has fewer than two processors for each\n\
             # node that the cluster has here.\n\
             threads = \"auto\"\n\
             \n\
             [storage]\n\
             kind = \"disk\"  # or \"memory\", which forgets all when the process ends\n\
             directory = \"data\"  # made by init: a start never makes one (docs/operations.md)\n\
             cache_bytes = 67108864     # memory for values read lately or to be sent; more saves disk reads\n\
             reserve_bytes = 536870912  # of the disk; when less is free, writes hear Busy\n\
             \n\
             [clock]\n\
             # \"kernel\": as far as the time daemon's bound says (chrony, ntpd); \"fixed\": you\n\
             # vouch for error_us; \"untrusted\": never. All nodes of this development cluster\n\
             # share one machine's clock, so a fixed bound is true here and only here.\n\
             source = \"fixed\"\n\
             error_us = 500\n\
             \n\
             # [priority]               # where the network polices the priority class\n\
             # bytes_per_s = 125000     # what it lets pass, with headers; more waits here instead\n\
             # scope = \"path\"          # to each other site; \"uplink\": to all of them together\n\
             \n\
             # [bulk]                   # where links between sites carry more than Ethernet's 1500\n\
             # packet_bytes_max = 9000  # of what this node sends; a timestamp may wait for one of them\n",
            node.0, self.cluster
        )
    }

    fn client_file(&self, site: u16) -> String {
        let first = site * self.nodes_per_site + 1;
        let nodes: Vec<String> = (first..first + self.nodes_per_site)
            .map(|node| format!("\"127.0.0.1:{}\"", self.base_port + 10 * node + 3))
            .collect();
        format!(
            "# Clients in site {:?}; paths count from this file.\n\
             cluster = {:?}\n\
             nodes = [{}]  # this site's, preferred first\n\
             ca = \"ca.pem\"\n\
             certificate = \"client.pem\"\n\
             key = \"client.key\"\n",
            site_name(site),
            self.cluster,
            nodes.join(", ")
        )
    }
}

/// What was laid out.
#[derive(Debug)]
pub struct Laid {
    /// One configuration per node.
    pub node_files: Vec<PathBuf>,
    /// One client file per site.
    pub client_files: Vec<PathBuf>,
}

/// Writes a cluster's files into `directory`.
///
/// # Errors
/// [`InitError`]; a directory with files is not touched.
pub fn init(directory: &Path, layout: &Layout) -> Result<Laid, InitError> {
    layout.check()?;
    let cluster = ClusterName::new(&layout.cluster)?;
    let io = |path: &Path| {
        let path = path.to_owned();
        move |source| InitError::Io { path, source }
    };
    fs::create_dir_all(directory).map_err(io(directory))?;
    if fs::read_dir(directory)
        .map_err(io(directory))?
        .next()
        .is_some()
    {
        return Err(InitError::NotEmpty(directory.to_owned()));
    }
    let ca = DevelopmentCa::generate(&cluster, VALID_FOR)?;
    write_pair(directory, "ca", ca.pem())?;
    let id = ClusterId(rand::random());
    write(
        &directory.join("cluster.toml"),
        &layout.file_of(Some(id)),
        PUBLIC,
    )?;
    let client = Role::Client {
        cluster: cluster.clone(),
        name: ClientName::new("dev")?,
    };
    write_pair(directory, "client", &ca.issue(&client, VALID_FOR)?)?;
    let mut laid = Laid {
        node_files: Vec::new(),
        client_files: Vec::new(),
    };
    for site in 0..layout.sites {
        let path = directory.join(format!("client-{}.toml", site_name(site)));
        write(&path, &layout.client_file(site), PUBLIC)?;
        laid.client_files.push(path);
    }
    for (node, site) in layout.nodes() {
        let home = directory.join(format!("node-{}", node.0));
        fs::create_dir(&home).map_err(io(&home))?;
        let role = Role::Node {
            cluster: cluster.clone(),
            node,
            site,
        };
        write_pair(&home, "node", &ca.issue(&role, VALID_FOR)?)?;
        let path = home.join("node.toml");
        write(&path, &layout.node_file(node), PUBLIC)?;
        DataDirectory::make(&home.join("data"), &layout.owner(node, id))?;
        laid.node_files.push(path);
    }
    Ok(laid)
}

const PUBLIC: u32 = 0o644;
const SECRET: u32 = 0o600;

fn write_pair(directory: &Path, name: &str, pair: &PemPair) -> Result<(), InitError> {
    write(
        &directory.join(format!("{name}.pem")),
        &pair.certificate,
        PUBLIC,
    )?;
    write(&directory.join(format!("{name}.key")), &pair.key, SECRET)
}

fn write(path: &Path, text: &str, mode: u32) -> Result<(), InitError> {
    use std::os::unix::fs::OpenOptionsExt;
    let mut options = fs::OpenOptions::new();
    options.write(true).create_new(true).mode(mode);
    options
        .open(path)
        .and_then(|mut file| file.write_all(text.as_bytes()))
        .map_err(|source| InitError::Io {
            path: path.to_owned(),
            source,
        })
}

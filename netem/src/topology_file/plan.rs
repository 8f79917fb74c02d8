//! A topology file checked as a whole: which links there are and what each pair takes.

use std::collections::{BTreeMap, BTreeSet};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::time::Duration;

use thiserror::Error;

use super::link_settings::{LinkSettings, SettingsError};
use super::paths::Paths;
use super::{Bytes, HOSTS_PER_SITE_MAX, HostsText, TopologyFile};
use crate::{LinkConfig, LinkError, MTU_BYTES, MTU_BYTES_MAX, Remark, SITES_MAX};

/// Longest name of a site, a host, a link or a WAN.
const NAME_BYTES_MAX: usize = 32;

/// A WAN, ready to be built.
#[derive(Clone, Debug)]
pub struct Plan {
    /// What it is called.
    pub name: String,
    /// All randomness follows from it.
    pub seed: u64,
    /// Bytes of the largest IP packet.
    pub mtu_bytes: u32,
    /// The sites, in the file's order.
    pub sites: Vec<SitePlan>,
    /// All links; those inside sites and between them first, then those with names.
    pub links: Vec<LinkPlan>,
    /// By `from * sites + to`: positions in `links`, in the order that packets take.
    pub paths: Vec<Vec<usize>>,
}

/// One site.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SitePlan {
    /// Its name.
    pub name: String,
    /// Its hosts, in the file's order.
    pub hosts: Vec<HostPlan>,
}

/// One host: a network namespace with one interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct HostPlan {
    /// Its name within the site.
    pub name: String,
    /// `10.77.SITE.HOST`, both counted from 1.
    pub ipv4: Ipv4Addr,
    /// `fd77::SITE:HOST`, both counted from 1, in hexadecimal.
    pub ipv6: Ipv6Addr,
}

/// One directed link.
#[derive(Clone, Debug, PartialEq)]
pub struct LinkPlan {
    /// `FROM:TO`, or the file's name for it.
    pub name: String,
    /// What it is like.
    pub config: LinkConfig,
    /// What it does to marks.
    pub remark: Remark,
}

/// Why a file is refused as a whole.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum PlanError {
    /// An MTU that no interface here has.
    #[error("mtu must be {MTU_BYTES} to {MTU_BYTES_MAX} bytes, not {0}")]
    Mtu(u64),
    /// No sites, or too many.
    #[error("site: a topology has 1 to {SITES_MAX} sites, not {0}")]
    Sites(usize),
    /// No hosts, or too many.
    #[error("site {site}: hosts must be 1 to {HOSTS_PER_SITE_MAX}, not {hosts}")]
    Hosts {
        /// The site.
        site: String,
        /// How many it was given.
        hosts: usize,
    },
    /// A name that can't be one.
    #[error(
        "{what} {name:?}: a name is 1 to {NAME_BYTES_MAX} lower-case letters, digits and dashes, \
         the first a letter{digits}",
        digits = if *.what == "host" { " or digit" } else { "" }
    )]
    Name {
        /// What it names.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// Two of the same name.
    #[error("{what} {name:?} is there twice: give each its own name")]
    Duplicate {
        /// What it names.
        what: &'static str,
        /// The name.
        name: String,
    },
    /// A site that the file doesn't have.
    #[error("{at}: there is no site {name:?}; the sites are {sites}")]
    UnknownSite {
        /// The field.
        at: String,
        /// The name found there.
        name: String,
        /// Those that there are.
        sites: String,
    },
    /// A round trip of a site with itself.
    #[error(
        "rtt.{0}.{0}: rtt is for pairs of sites; for the network inside a site set delay under \
         [lan] or [link.\"{0}:{0}\"]"
    )]
    RttInside(String),
    /// Both directions of a pair have a round trip, and they differ.
    #[error(
        "rtt.{one}.{other} is {there:?} but rtt.{other}.{one} is {back:?}: a round trip is there \
         and back, one number per pair. For ways that differ set delay under \
         [link.\"{one}:{other}\"] and [link.\"{other}:{one}\"]"
    )]
    Asymmetric {
        /// A site.
        one: String,
        /// The other.
        other: String,
        /// Its round trip.
        there: Duration,
        /// The other round trip.
        back: Duration,
    },
    /// A pair whose delay nothing tells.
    #[error(
        "rtt.{one}.{other} is missing: every pair of sites needs a round trip, or delay under \
         both [link.\"{one}:{other}\"] and [link.\"{other}:{one}\"]"
    )]
    NoRtt {
        /// A site.
        one: String,
        /// The other.
        other: String,
    },
    /// The delays along a pair's paths are not its round trip.
    #[error(
        "rtt.{one}.{other} is {rtt:?} but the delays of the links there and back make {sum:?}: \
         change one of them, or leave the delay of link {one}:{other} or {other}:{one} out and \
         it takes the rest"
    )]
    RttSum {
        /// A site.
        one: String,
        /// The other.
        other: String,
        /// What `rtt` says.
        rtt: Duration,
        /// What the links' delays make.
        sum: Duration,
    },
    /// A link or path between names that are not `FROM:TO`.
    #[error("path {0:?}: write FROM:TO with two different sites, as in \"west:east\"")]
    PathName(String),
    /// A path without links, or with too many.
    #[error("path {path:?}: must have 1 to {max} links, not {links}", max = super::paths::PATH_LINKS_MAX)]
    PathLength {
        /// The path.
        path: String,
        /// Its links.
        links: usize,
    },
    /// A path over a link that the file doesn't have.
    #[error(
        "path {path:?}: there is no link {link:?}; add [link.{link}], or use the pair's own link \
         {path:?}"
    )]
    PathLink {
        /// The path.
        path: String,
        /// The link.
        link: String,
    },
    /// A path over another pair's own link.
    #[error(
        "path {path:?}: {link:?} can't be part of it: a path is made of the pair's own link \
         {path:?} and of links with names of their own, without a colon, as [link.backbone]"
    )]
    PathOther {
        /// The path.
        path: String,
        /// The link.
        link: String,
    },
    /// A path that takes a link twice.
    #[error("path {path:?}: link {link:?} is there twice")]
    PathLoop {
        /// The path.
        path: String,
        /// The link.
        link: String,
    },
    /// A link that no path takes.
    #[error("link {0:?}: no path takes it; name it in a [path], or remove it")]
    Unused(String),
    /// A link's settings are refused.
    #[error("link {link}: {why}")]
    Settings {
        /// The link.
        link: String,
        /// What is wrong.
        why: SettingsError,
    },
    /// A link that the model refuses.
    #[error("link {link}: {why}")]
    Link {
        /// The link.
        link: String,
        /// What is wrong.
        why: LinkError,
    },
}

impl Plan {
    /// Checks `file` and works out its links; `default_name` is used if it names none.
    ///
    /// # Errors
    /// The first [`PlanError`] that is found; it names the field.
    pub fn new(file: &TopologyFile, default_name: &str) -> Result<Self, PlanError> {
        let name = file.name.clone().unwrap_or_else(|| default_name.to_owned());
        check_name("name", &name)?;
        let mtu_bytes = plan_mtu(file)?;
        let sites = plan_sites(file)?;
        let names: Vec<&str> = sites.iter().map(|site| site.name.as_str()).collect();
        let paths = Paths::new(file, &names)?;
        let delays = paths.delays(file, &names)?;
        let links = plan_links(file, &names, &paths, &delays, mtu_bytes)?;
        let place: BTreeMap<&str, usize> = links
            .iter()
            .enumerate()
            .map(|(place, link)| (link.name.as_str(), place))
            .collect();
        let paths = paths
            .by_pair
            .iter()
            .map(|path| path.iter().map(|link| place[link.as_str()]).collect())
            .collect();
        Ok(Self {
            name,
            seed: file.seed.unwrap_or(1),
            mtu_bytes,
            sites,
            links,
            paths,
        })
    }

    /// The path from a site to a site, both as positions in `sites`.
    pub fn path(&self, from: usize, to: usize) -> &[usize] {
        &self.paths[from * self.sites.len() + to]
    }

    /// The position of the link of that name.
    pub fn link_named(&self, name: &str) -> Option<usize> {
        self.links.iter().position(|link| link.name == name)
    }
}

fn plan_mtu(file: &TopologyFile) -> Result<u32, PlanError> {
    let bytes = file.mtu.map_or(u64::from(MTU_BYTES), |Bytes(bytes)| bytes);
    u32::try_from(bytes)
        .ok()
        .filter(|bytes| (MTU_BYTES..=MTU_BYTES_MAX).contains(bytes))
        .ok_or(PlanError::Mtu(bytes))
}

fn plan_sites(file: &TopologyFile) -> Result<Vec<SitePlan>, PlanError> {
    if !(1..=usize::from(SITES_MAX)).contains(&file.site.len()) {
        return Err(PlanError::Sites(file.site.len()));
    }
    let mut seen = BTreeSet::new();
    let mut sites = Vec::new();
    for (site_number, text) in (1..).zip(&file.site) {
        check_name("site", &text.name)?;
        if !seen.insert(&text.name) {
            return Err(duplicate("site", &text.name));
        }
        let wrong_count = |hosts| PlanError::Hosts {
            site: text.name.clone(),
            hosts,
        };
        let names: Vec<String> = match &text.hosts {
            // Judged before the names are made, so that a wrong number eats no memory.
            &HostsText::Count(count) if count as usize > HOSTS_PER_SITE_MAX => {
                return Err(wrong_count(count as usize));
            }
            HostsText::Count(count) => (1..=*count).map(|host| host.to_string()).collect(),
            HostsText::Names(names) => names.clone(),
        };
        if !(1..=HOSTS_PER_SITE_MAX).contains(&names.len()) {
            return Err(wrong_count(names.len()));
        }
        sites.push(SitePlan {
            name: text.name.clone(),
            hosts: plan_hosts(site_number, names)?,
        });
    }
    Ok(sites)
}

fn plan_hosts(site: u16, names: Vec<String>) -> Result<Vec<HostPlan>, PlanError> {
    let mut seen = BTreeSet::new();
    let mut hosts = Vec::new();
    for (host, name) in (1..).zip(names) {
        check_name("host", &name)?;
        if !seen.insert(name.clone()) {
            return Err(duplicate("host", &name));
        }
        hosts.push(HostPlan {
            name,
            // Both are below 256: SITES_MAX and HOSTS_PER_SITE_MAX.
            ipv4: Ipv4Addr::new(10, 77, site as u8, host as u8),
            ipv6: Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, site, host),
        });
    }
    Ok(hosts)
}

fn plan_links(
    file: &TopologyFile,
    sites: &[&str],
    paths: &Paths,
    delays: &BTreeMap<String, Duration>,
    mtu_bytes: u32,
) -> Result<Vec<LinkPlan>, PlanError> {
    let mut names = Vec::new();
    for from in sites {
        for to in sites {
            names.push((link_name(from, to), from == to));
        }
    }
    names.extend(
        file.link
            .keys()
            .filter(|name| !name.contains(':'))
            .map(|name| (name.clone(), false)),
    );
    let taken = names.into_iter().filter(|(name, _)| paths.take(name));
    taken
        .map(|(name, inside)| {
            let (common, mut base) = if inside {
                (&file.lan, LinkConfig::local())
            } else {
                (
                    &file.wan,
                    LinkConfig {
                        delay: Duration::ZERO,
                        ..LinkConfig::default()
                    },
                )
            };
            base.mtu_bytes = mtu_bytes;
            if let Some(&delay) = delays.get(&name) {
                base.delay = delay;
            }
            plan_link(name.clone(), file.link.get(&name), common, &base)
        })
        .collect()
}

fn plan_link(
    name: String,
    own: Option<&LinkSettings>,
    common: &LinkSettings,
    base: &LinkConfig,
) -> Result<LinkPlan, PlanError> {
    let settings = own.cloned().unwrap_or_default().over(common);
    let (config, remark) =
        settings
            .apply(base, &Remark::default())
            .map_err(|why| PlanError::Settings {
                link: name.clone(),
                why,
            })?;
    config.check().map_err(|why| PlanError::Link {
        link: name.clone(),
        why,
    })?;
    Ok(LinkPlan {
        name,
        config,
        remark,
    })
}

pub(super) fn link_name(from: &str, to: &str) -> String {
    format!("{from}:{to}")
}

pub(super) fn check_name(what: &'static str, name: &str) -> Result<(), PlanError> {
    let starts = |byte: u8| byte.is_ascii_lowercase() || (what == "host" && byte.is_ascii_digit());
    let goes_on = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    let good = (1..=NAME_BYTES_MAX).contains(&name.len())
        && starts(name.as_bytes()[0])
        && name.bytes().all(goes_on);
    if good {
        return Ok(());
    }
    Err(PlanError::Name {
        what,
        name: name.to_owned(),
    })
}

fn duplicate(what: &'static str, name: &str) -> PlanError {
    PlanError::Duplicate {
        what,
        name: name.to_owned(),
    }
}

pub(super) fn unknown_site(at: &str, name: &str, sites: &[&str]) -> PlanError {
    PlanError::UnknownSite {
        at: at.to_owned(),
        name: name.to_owned(),
        sites: sites.join(", "),
    }
}

//! The topology file: sites, hosts, round trips and links, as TOML.
//!
//! [`TopologyFile::parse`] reads the text, [`Plan::new`] checks it as a whole and
//! works out what each link is. Units are written out (`"20Mbit"`, `"256KB"`,
//! `"50ms"`); names of links between sites are `FROM:TO`.

mod link_settings;
mod paths;
mod plan;
mod units;

use std::collections::BTreeMap;

use serde::Deserialize;
use thiserror::Error;

pub use link_settings::{LinkChange, LinkSettings, MarkKey, SettingsError};
pub use plan::{HostPlan, LinkPlan, Plan, PlanError, SitePlan};
pub use units::{Bytes, Depth, Load, Mark, PoliceRate, Rate, Share, Time, UnitError};

/// Most hosts of a site: the last byte of an address.
pub const HOSTS_PER_SITE_MAX: usize = 250;

/// A topology file's text, read but not yet checked as a whole.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TopologyFile {
    /// What the WAN is called; default: the file's name.
    pub name: Option<String>,
    /// All randomness follows from it. Default 1.
    pub seed: Option<u64>,
    /// Bytes of the largest IP packet, everywhere. Default 1500.
    pub mtu: Option<Bytes>,
    /// The sites, in the order that numbers their addresses.
    pub site: Vec<SiteText>,
    /// Round trips between sites, there and back: `rtt.west.east`.
    #[serde(default)]
    pub rtt: BTreeMap<String, BTreeMap<String, Time>>,
    /// What all links between sites have in common.
    #[serde(default)]
    pub wan: LinkSettings,
    /// What the networks inside sites have in common.
    #[serde(default)]
    pub lan: LinkSettings,
    /// Single links: `FROM:TO`, `SITE:SITE` (inside), or a name of your own.
    #[serde(default)]
    pub link: BTreeMap<String, LinkSettings>,
    /// The links that packets take from a site to another, in order, where it is not
    /// the pair's own link alone.
    #[serde(default)]
    pub path: BTreeMap<String, Vec<String>>,
}

/// One site.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SiteText {
    /// Lower-case letters, digits, dashes.
    pub name: String,
    /// How many hosts, or their names. Default 1.
    #[serde(default = "SiteText::one_host")]
    pub hosts: HostsText,
}

/// A site's hosts.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged, expecting = "a number of hosts, or a list of their names")]
pub enum HostsText {
    /// So many, called `1`, `2` and so on.
    Count(u32),
    /// These.
    Names(Vec<String>),
}

/// Why a text is no topology file; carries line and column.
#[derive(Clone, Debug, Error, PartialEq)]
#[error(transparent)]
pub struct ParseError(#[from] toml::de::Error);

impl SiteText {
    fn one_host() -> HostsText {
        HostsText::Count(1)
    }
}

impl TopologyFile {
    /// Reads the text of a file.
    ///
    /// # Errors
    /// [`ParseError`]: no TOML, an unknown field, or a value that can't be read.
    pub fn parse(text: &str) -> Result<Self, ParseError> {
        Ok(toml::from_str(text)?)
    }
}

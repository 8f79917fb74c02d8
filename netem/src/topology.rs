//! Which sites there are and what joins them.

use std::collections::BTreeMap;
use std::fmt;

use thiserror::Error;

use crate::{LinkConfig, LinkError};

/// Most sites of a topology: every pair costs two links' state.
pub const SITES_MAX: u16 = 64;

/// A site's number in its topology, from zero.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Site(pub u16);

impl fmt::Display for Site {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "site {}", self.0)
    }
}

/// Sites, the directed links between them, and one link inside each.
///
/// A pair without a link has no route: what is sent there is dropped and counted.
#[derive(Clone, Debug)]
pub struct Topology {
    sites: u16,
    inside: LinkConfig,
    between: BTreeMap<(Site, Site), LinkConfig>,
}

/// Why a topology is refused; nothing was started.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum TopologyError {
    /// No sites, or too many.
    #[error("a topology has 1 to {SITES_MAX} sites, not {0}")]
    Sites(u16),
    /// A link's end is no site of the topology, or both ends are the same site.
    #[error("no link can go from {from} to {to} among {sites} sites")]
    Ends {
        /// Where the link begins.
        from: Site,
        /// Where it ends.
        to: Site,
        /// How many sites there are.
        sites: u16,
    },
    /// The link inside sites is refused.
    #[error("link inside sites: {0}")]
    Inside(LinkError),
    /// A link between sites is refused.
    #[error("link from {from} to {to}: {why}")]
    Between {
        /// Where the link begins.
        from: Site,
        /// Where it ends.
        to: Site,
        /// What is wrong with it.
        why: LinkError,
    },
}

impl Topology {
    /// `sites` sites without links between them; `inside` is each site's own network,
    /// one link that all its packets share.
    pub fn new(sites: u16, inside: LinkConfig) -> Self {
        Self {
            sites,
            inside,
            between: BTreeMap::new(),
        }
    }

    /// Every site joined with every other by links alike, and [`LinkConfig::local`] inside.
    pub fn mesh(sites: u16, between: &LinkConfig) -> Self {
        let mut topology = Self::new(sites, LinkConfig::local());
        // The check comes later; this only keeps a wrong number from eating memory.
        let sites = sites.min(SITES_MAX);
        for from in 0..sites {
            for to in (0..sites).filter(|&to| to != from) {
                topology.set_link(Site(from), Site(to), between.clone());
            }
        }
        topology
    }

    /// Sets or replaces the link one way.
    pub fn set_link(&mut self, from: Site, to: Site, link: LinkConfig) -> &mut Self {
        self.between.insert((from, to), link);
        self
    }

    /// Sets or replaces both ways between two sites.
    pub fn set_both(&mut self, one: Site, other: Site, link: LinkConfig) -> &mut Self {
        self.set_link(one, other, link.clone());
        self.set_link(other, one, link)
    }

    /// How many sites there are.
    pub fn sites(&self) -> u16 {
        self.sites
    }

    /// The link that a packet takes, `None` where there is no route.
    pub fn link(&self, from: Site, to: Site) -> Option<&LinkConfig> {
        if from == to {
            return (from.0 < self.sites).then_some(&self.inside);
        }
        self.between.get(&(from, to))
    }

    /// Whether every link joins two of the sites and is itself valid.
    ///
    /// # Errors
    /// The first thing that is wrong.
    pub fn check(&self) -> Result<(), TopologyError> {
        let sites = self.sites;
        if !(1..=SITES_MAX).contains(&sites) {
            return Err(TopologyError::Sites(sites));
        }
        self.inside.check().map_err(TopologyError::Inside)?;
        for (&(from, to), link) in &self.between {
            if from == to || from.0 >= sites || to.0 >= sites {
                return Err(TopologyError::Ends { from, to, sites });
            }
            link.check()
                .map_err(|why| TopologyError::Between { from, to, why })?;
        }
        Ok(())
    }
}

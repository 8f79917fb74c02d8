//! Which links each pair of sites takes, and what is left of the round trip for the
//! pair's own.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use super::TopologyFile;
use super::plan::{PlanError, check_name, link_name, unknown_site};
use super::units::Time;

/// Longest path, in links.
pub(super) const PATH_LINKS_MAX: usize = 16;

/// Which links each pair takes, by name.
pub(super) struct Paths {
    /// By `from * sites + to`.
    pub(super) by_pair: Vec<Vec<String>>,
}

impl Paths {
    /// Checks the file's paths and that its links are on them.
    pub(super) fn new(file: &TopologyFile, sites: &[&str]) -> Result<Self, PlanError> {
        let number = |at: &str, name: &str| {
            let found = sites.iter().position(|&site| site == name);
            found.ok_or_else(|| unknown_site(at, name, sites))
        };
        let mut by_pair = Vec::new();
        for from in sites {
            for to in sites {
                by_pair.push(vec![link_name(from, to)]);
            }
        }
        for (name, links) in &file.path {
            let (from, to) = name
                .split_once(':')
                .filter(|(from, to)| from != to)
                .ok_or_else(|| PlanError::PathName(name.clone()))?;
            let at = format!("path {name:?}");
            let (from, to) = (number(&at, from)?, number(&at, to)?);
            check_path(file, name, links)?;
            by_pair[from * sites.len() + to].clone_from(links);
        }
        for name in file.link.keys() {
            if let Some((from, to)) = name.split_once(':') {
                let at = format!("link {name:?}");
                number(&at, from)?;
                number(&at, to)?;
            } else {
                check_name("link", name)?;
            }
        }
        let paths = Self { by_pair };
        match file.link.keys().find(|name| !paths.take(name)) {
            Some(unused) => Err(PlanError::Unused(unused.clone())),
            None => Ok(paths),
        }
    }

    /// Whether any path takes the link.
    pub(super) fn take(&self, link: &str) -> bool {
        self.by_pair.iter().flatten().any(|taken| taken == link)
    }

    /// The delays of pairs' own links that the file leaves to the round trip.
    pub(super) fn delays(
        &self,
        file: &TopologyFile,
        sites: &[&str],
    ) -> Result<BTreeMap<String, Duration>, PlanError> {
        let rtts = round_trips(file, sites)?;
        let mut delays = BTreeMap::new();
        for (one, &one_name) in sites.iter().enumerate() {
            for (other, &other_name) in sites.iter().enumerate().skip(one + 1) {
                let ways = [(one, other), (other, one)].map(|(from, to)| {
                    let path = &self.by_pair[from * sites.len() + to];
                    Way::new(file, path, link_name(sites[from], sites[to]))
                });
                let rtt = rtts.get(&(one, other)).copied();
                for (way, delay) in ways
                    .iter()
                    .zip(Way::delays(&ways, rtt, one_name, other_name)?)
                {
                    if let Some(delay) = delay {
                        delays.insert(way.own.clone(), delay);
                    }
                }
            }
        }
        Ok(delays)
    }
}

/// One direction of a pair.
struct Way {
    /// The pair's own link.
    own: String,
    /// Sum of the delays that the file gives.
    fixed: Duration,
    /// Whether the own link is taken and its delay left open.
    open: bool,
}

impl Way {
    fn new(file: &TopologyFile, path: &[String], own: String) -> Self {
        let given = |link: &String| {
            let settings = file.link.get(link);
            settings
                .and_then(|settings| settings.delay)
                .or(file.wan.delay)
        };
        let open = path.contains(&own) && given(&own).is_none();
        let fixed = path
            .iter()
            .map(|link| given(link).map_or(Duration::ZERO, |time| time.0))
            .sum();
        Self { own, fixed, open }
    }

    /// What the open links of both ways get.
    fn delays(
        [there, back]: &[Self; 2],
        rtt: Option<Duration>,
        one: &str,
        other: &str,
    ) -> Result<[Option<Duration>; 2], PlanError> {
        let sum = there.fixed + back.fixed;
        let Some(rtt) = rtt else {
            if there.open || back.open {
                return Err(PlanError::NoRtt {
                    one: one.to_owned(),
                    other: other.to_owned(),
                });
            }
            return Ok([None, None]);
        };
        let halves = || {
            let there = (rtt / 2).checked_sub(there.fixed)?;
            let back = (rtt - rtt / 2).checked_sub(back.fixed)?;
            Some([Some(there), Some(back)])
        };
        let delays = match (there.open, back.open) {
            (true, true) => halves(),
            (true, false) => rtt.checked_sub(sum).map(|rest| [Some(rest), None]),
            (false, true) => rtt.checked_sub(sum).map(|rest| [None, Some(rest)]),
            (false, false) => (sum == rtt).then_some([None, None]),
        };
        delays.ok_or_else(|| PlanError::RttSum {
            one: one.to_owned(),
            other: other.to_owned(),
            rtt,
            sum,
        })
    }
}

/// Round trips by pair, the smaller position first.
fn round_trips(
    file: &TopologyFile,
    sites: &[&str],
) -> Result<BTreeMap<(usize, usize), Duration>, PlanError> {
    let mut rtts = BTreeMap::new();
    for (one, row) in &file.rtt {
        for (other, &Time(rtt)) in row {
            let at = format!("rtt.{one}.{other}");
            let number = |name: &str| {
                let found = sites.iter().position(|&site| site == name);
                found.ok_or_else(|| unknown_site(&at, name, sites))
            };
            let (first, second) = (number(one)?, number(other)?);
            if first == second {
                return Err(PlanError::RttInside(one.clone()));
            }
            let pair = (first.min(second), first.max(second));
            if let Some(earlier) = rtts.insert(pair, rtt)
                && earlier != rtt
            {
                return Err(PlanError::Asymmetric {
                    one: other.clone(),
                    other: one.clone(),
                    there: earlier,
                    back: rtt,
                });
            }
        }
        if row.is_empty() && !sites.contains(&one.as_str()) {
            return Err(unknown_site(&format!("rtt.{one}"), one, sites));
        }
    }
    Ok(rtts)
}

fn check_path(file: &TopologyFile, path: &str, links: &[String]) -> Result<(), PlanError> {
    if !(1..=PATH_LINKS_MAX).contains(&links.len()) {
        return Err(PlanError::PathLength {
            path: path.to_owned(),
            links: links.len(),
        });
    }
    let mut seen = BTreeSet::new();
    for link in links {
        if link != path && link.contains(':') {
            return Err(PlanError::PathOther {
                path: path.to_owned(),
                link: link.clone(),
            });
        }
        if link != path && !file.link.contains_key(link) {
            return Err(PlanError::PathLink {
                path: path.to_owned(),
                link: link.clone(),
            });
        }
        if !seen.insert(link) {
            return Err(PlanError::PathLoop {
                path: path.to_owned(),
                link: link.clone(),
            });
        }
    }
    Ok(())
}

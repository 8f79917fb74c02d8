//! Priority messages that left for other sites, as the nodes' logs tell of them.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};

use anyhow::Context;

use crate::step::{MessageUse, Sites, StoreWork};

/// The logs of a step's nodes, from a moment on.
pub struct MessageLogs {
    sites: Sites,
    /// Node, its log, and how long that was.
    logs: Vec<(u16, PathBuf, u64)>,
}

impl MessageLogs {
    /// From now on; of no node where the step does not list messages.
    ///
    /// # Errors
    /// A log is not there.
    pub fn mark(work: &StoreWork, directory: &Path) -> anyhow::Result<Self> {
        let sites = work.wan.sites;
        let nodes = sites.hosts().iter().flat_map(|(_, nodes)| nodes.iter());
        let mark = |&node: &u16| {
            let path = directory.join(format!("node-{node}.log"));
            let length = std::fs::metadata(&path).with_context(|| path.display().to_string())?;
            Ok((node, path, length.len()))
        };
        let logs: anyhow::Result<Vec<_>> = match work.lists_messages {
            true => nodes.map(mark).collect(),
            false => Ok(Vec::new()),
        };
        Ok(Self { sites, logs: logs? })
    }

    /// What left one site for another since then.
    ///
    /// # Errors
    /// A log can't be read.
    pub fn since(&self) -> anyhow::Result<BTreeMap<String, MessageUse>> {
        let mut found = BTreeMap::new();
        for (node, path, length) in &self.logs {
            let mut text = String::new();
            let mut file = File::open(path).with_context(|| path.display().to_string())?;
            file.seek(SeekFrom::Start(*length))?;
            file.read_to_string(&mut text)?;
            let from = self.sites.host_of(*node);
            for (name, to, bytes) in text.lines().filter_map(parse) {
                if site(&self.sites.host_of(to)) != site(&from) {
                    let sum: &mut MessageUse = found.entry(name.to_owned()).or_default();
                    sum.count += 1;
                    sum.bytes += bytes;
                }
            }
        }
        Ok(found)
    }
}

/// The site of `SITE.HOST`.
fn site(host: &Option<String>) -> Option<&str> {
    host.as_ref()?.split('.').next()
}

/// Name, receiver and bytes in a line that ends in `priority NAME TO BYTES`.
fn parse(line: &str) -> Option<(&str, u16, u64)> {
    let (_, said) = line.split_once(" vivace_node::messages: priority ")?;
    let mut words = said.split(' ');
    let name = words.next()?;
    let to = words.next()?.parse().ok()?;
    Some((name, to, words.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::step::{Step, Work};

    fn work() -> StoreWork {
        let steps: Vec<Step> = crate::figures::bench_bytes::steps(&crate::catalog::Scale {
            quick: true,
            seconds: None,
            seed: 1,
        });
        match steps.into_iter().next().map(|step| step.work) {
            Some(Work::Store(work)) => work,
            other => panic!("{other:?}"),
        }
    }

    /// Nodes 1, 4, 5 are one site's, 2 and 3 have sites of their own.
    #[test]
    fn only_what_leaves_a_site_after_the_mark_counts() {
        let directory = tempfile::tempdir().expect("a directory");
        let log = |node: u16| directory.path().join(format!("node-{node}.log"));
        let line = |words: &str| format!("TIME TRACE vivace_node::messages: priority {words}\n");
        for node in 1..=5 {
            std::fs::write(log(node), line("WriteTs 2 37")).expect("written");
        }
        let mark = MessageLogs::mark(&work(), directory.path()).expect("all are there");
        let more = [
            "serves clients at 10.0.0.1:7003\n".to_owned(),
            line("WriteTs 2 38"),
            line("WriteTs 3 40"),
            line("WriteLocalAck 4 9"),
        ];
        let mut text = std::fs::read_to_string(log(1)).expect("read");
        text += &more.concat();
        std::fs::write(log(1), text).expect("written");
        let found = mark.since().expect("all are there");
        let expected = MessageUse {
            count: 2,
            bytes: 78,
        };
        assert_eq!(found, BTreeMap::from([("WriteTs".to_owned(), expected)]));
    }
}

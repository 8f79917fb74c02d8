//! How full the links between sites were while something was meant to fill them.

use super::store_work;
use crate::report::Table;
use crate::report::section::ms;
use crate::step::record::OwnWrites;
use crate::step::{LinkUse, StepRecord, StoreWork, Traffic, WindowRecord};

/// A link that carries less than this part of its rate is not full, in percent.
const FULL_PERCENT: f64 = 90.0;

/// Begins the names of links out of the site where clients and their writers are.
const FROM_CLIENTS: &str = "local:";

/// Whether a traffic is meant to fill a link: other people's goes both ways between all sites, the
/// store's own values only out of the sites where they are written.
fn is_meant_full(traffic: Traffic, link: &str) -> bool {
    match traffic {
        Traffic::Idle => false,
        Traffic::Udp { .. } | Traffic::Tcp { .. } => true,
        Traffic::OwnWrites { everywhere, .. } => everywhere || link.starts_with(FROM_CLIENTS),
    }
}

/// What left a link's transmitter, of every kind, in percent of its rate.
fn percent(work: &StoreWork, window: &WindowRecord, link: &LinkUse) -> f64 {
    let flows = [&link.priority, &link.bulk, &link.cross];
    let sent: u64 = flows.iter().map(|flow| flow.sent_bytes).sum();
    let bits = work.wan.bits_per_second() * window.seconds.max(0.001);
    100.0 * sent as f64 * 8.0 / bits
}

/// A window's links of one kind, by how full they were: the emptiest first.
struct Links<'a>(Vec<(f64, &'a str)>);

impl<'a> Links<'a> {
    fn of(work: &StoreWork, window: &'a WindowRecord, meant_full: bool) -> Self {
        let traffic = window.window.traffic;
        let links = window.links.iter();
        let links = links.filter(|link| is_meant_full(traffic, &link.link) == meant_full);
        let links = links.map(|link| (percent(work, window, link), link.link.as_str()));
        let mut links: Vec<(f64, &str)> = links.collect();
        links.sort_by(|a, b| a.0.total_cmp(&b.0));
        Self(links)
    }

    fn is_full(&self) -> bool {
        self.0
            .first()
            .is_none_or(|(least, _)| *least >= FULL_PERCENT)
    }

    fn emptiest(&self) -> String {
        Self::cell(self.0.first())
    }

    fn fullest(&self) -> String {
        Self::cell(self.0.last())
    }

    fn cell(link: Option<&(f64, &str)>) -> String {
        link.map_or(String::new(), |(percent, name)| {
            format!("{percent:.0} ({name})")
        })
    }
}

fn congested<'a>(
    records: &'a [&StepRecord],
) -> impl Iterator<Item = (&'a StepRecord, &'a StoreWork, &'a WindowRecord)> {
    records.iter().flat_map(|record| {
        let work = store_work(&record.step);
        let windows = record.windows.iter();
        let windows = windows.filter(|window| window.window.traffic != Traffic::Idle);
        windows.filter_map(move |window| Some((*record, work?, window)))
    })
}

/// A row for each congested window: how full its links were, and what became of the store's own
/// large values where they were the traffic.
pub fn table(records: &[&StepRecord]) -> Table {
    let mut table = Table::new(
        "How full links were, in percent of their rates, and what the store's own large writes did",
        &[
            "step",
            "operation",
            "traffic",
            "meant full: emptiest",
            "fullest",
            "others: fullest",
            "below 90 %",
            "own writes",
            "failed",
            "p50 ms",
        ],
    )
    .below(
        "UDP and TCP are meant to fill every link, both ways. Own writes fill only the links out of \
         the clients' site, where nothing else is said: the way back, and links between other sites, \
         are nearly empty. Own writes: those that ended while the traffic was on, from before the \
         window's begin.",
    );
    for (record, work, window) in congested(records) {
        let spec = &window.window;
        let meant = Links::of(work, window, true);
        let mark = if meant.is_full() { "" } else { "NOT FULL" };
        let cells = [
            record.step.name.clone(),
            format!("{} {}", spec.system, spec.operation.id()),
            spec.traffic.words(),
            meant.emptiest(),
            meant.fullest(),
            Links::of(work, window, false).fullest(),
            mark.to_owned(),
        ];
        table.row(cells.into_iter().chain(wrote(window.own_writes.as_ref())));
    }
    table
}

fn wrote(own: Option<&OwnWrites>) -> [String; 3] {
    own.map_or([const { String::new() }; 3], |own| {
        let failed: u64 = own.failures.values().sum();
        let p50 = match own.written {
            0 => String::new(),
            _ => ms(own.p50_ms),
        };
        [own.written.to_string(), failed.to_string(), p50]
    })
}

/// How many congested windows had a link that was not as full as meant, in a sentence; what was
/// measured then is something else.
pub fn verdict(records: &[&StepRecord]) -> String {
    let (mut windows, mut not_full) = (0, 0);
    for (_, work, window) in congested(records) {
        windows += 1;
        not_full += usize::from(!Links::of(work, window, true).is_full());
    }
    if windows == 0 {
        return "No link was meant to be full.".to_owned();
    }
    format!(
        "In {not_full} of {windows} congested windows a link that the traffic was meant to fill \
         carried less than {FULL_PERCENT} % of its rate. The store's own writes are meant to fill \
         the links out of the clients' site alone, but for those \"at every site\"."
    )
}

#[cfg(test)]
mod tests {
    use super::super::made_up::{percentiles, reads, record};
    use super::super::{OWN, UDP};
    use super::*;
    use crate::link_usage::FlowUsage;

    /// Ten seconds at 20 Mbit/s are 25 MB.
    fn link(name: &str, percent: u64) -> LinkUse {
        let flow = |sent_bytes| FlowUsage {
            sent_bytes,
            ..FlowUsage::default()
        };
        let all = percent * 250_000;
        LinkUse {
            link: name.to_owned(),
            priority: flow(50_000),
            bulk: flow(all / 2),
            cross: flow(all - all / 2 - 50_000),
        }
    }

    fn window(traffic: Traffic, there: u64, back: u64) -> WindowRecord {
        WindowRecord {
            links: vec![link("local:ireland", there), link("ireland:local", back)],
            ..reads(traffic, percentiles(2000, 101.0, 102.0))
        }
    }

    #[test]
    fn a_link_that_the_traffic_is_meant_to_fill_and_does_not_is_marked() {
        let mut own = window(OWN, 95, 2);
        own.own_writes = Some(OwnWrites {
            written: 7,
            failures: [("timeout".to_owned(), 2)].into(),
            p50_ms: 1690.0,
        });
        let windows = vec![
            window(Traffic::Idle, 1, 1),
            window(UDP, 100, 90),
            window(UDP, 100, 89),
            own,
            window(OWN, 89, 2),
        ];
        let record = record("congestion", "a", windows);
        let table = table(&[&record]);
        let rows: Vec<String> = table.rows.iter().map(|row| row[3..].join(" | ")).collect();
        assert_eq!(
            rows,
            [
                "90 (ireland:local) | 100 (local:ireland) |  |  |  |  | ",
                "89 (ireland:local) | 100 (local:ireland) |  | NOT FULL |  |  | ",
                "95 (local:ireland) | 95 (local:ireland) | 2 (ireland:local) |  | 7 | 2 | 1690",
                "89 (local:ireland) | 89 (local:ireland) | 2 (ireland:local) | NOT FULL |  |  | ",
            ]
        );
        let said = verdict(&[&record]);
        assert!(said.starts_with("In 2 of 4 congested windows"), "{said}");
    }
}

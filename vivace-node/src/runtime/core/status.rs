//! What a node tells about itself.

use std::time::Duration;

use vivace_core::status::{LinkStatus, NodeStatus, PeerStatus};

use super::Core;
use crate::transport::{self, Transport};

/// A priority message that waited so long for its class's bound made an operation
/// noticeably slower.
const BOUND_WAIT_WORTH_A_WARNING: Duration = Duration::from_millis(5);

/// By then a path has been probed for the largest packet: by tens of probes, one after the
/// other.
const PROBED_AFTER: Duration = Duration::from_secs(60);

/// Probing ends within 20 bytes of what there is room for, and IPv4 leaves 20 unused.
const PROBED_WITHIN_BYTES: u64 = 64;

/// Every path is expected to carry packets of this size.
const ETHERNET_BYTES: u64 = 1500;

impl Core {
    pub(super) fn status(&self, transport: &Transport) -> NodeStatus {
        let core = self.node.status();
        let links = transport.status();
        let spec = self.cluster.cluster.spec();
        let site_name = |site: u16| {
            spec.sites
                .get(usize::from(site))
                .cloned()
                .unwrap_or_default()
        };
        let mut refusals = core.causes;
        for (who, causes) in [
            ("peer port", &links.refusals),
            ("refused by a peer", &links.refused_by_peers),
        ] {
            let named = causes.iter();
            refusals.extend(named.map(|(cause, n)| (format!("{who}: {cause}"), *n)));
        }
        let own = [
            ("malformed messages", self.malformed),
            ("messages not sent", self.send_refused),
            (
                "values dropped, because the disk is behind or full",
                self.values_dropped,
            ),
            ("busy: the disk is behind", self.busy_behind),
            ("busy: the disk is full", self.busy_full),
            ("stored values that nobody needed", self.orphans),
            (
                "messages not sent, because too many values were being loaded",
                self.storage.counts().loads_refused,
            ),
            (
                "client port: certificates",
                self.client_refusals.certificates(),
            ),
            (
                "client port: malformed requests",
                self.client_refusals.requests(),
            ),
        ];
        refusals.extend(
            own.iter()
                .filter(|(_, n)| *n > 0)
                .map(|(c, n)| ((*c).to_owned(), *n)),
        );
        let peers: Vec<PeerStatus> = links
            .peers
            .iter()
            .map(|peer| PeerStatus {
                node: peer.node,
                site: site_name(peer.site),
                priority: link_status(&peer.priority),
                bulk: link_status(&peer.bulk),
            })
            .collect();
        let mut operations = core.operations;
        operations.busy += self.busy_behind + self.busy_full;
        let mut warnings = self.cluster.cluster.warnings().to_vec();
        warnings.extend(dscp_warnings(&peers));
        warnings.extend(bound_warnings(&links));
        warnings.extend(packet_warnings(&links, self.bulk_packet_bytes_max));
        warnings.extend(self.storage.why_behind());
        warnings.extend(self.storage.why_full());
        if self.storage.name() == "memory" {
            warnings.push("state is kept in memory only: it is gone when this process ends".into());
        }
        NodeStatus {
            cluster: spec.name.clone(),
            node: self.me.0,
            site: site_name(self.cluster.addresses[&self.me].site.0),
            incarnation: self.incarnation.0,
            uptime_s: self.started.elapsed().as_secs(),
            storage: self.storage.name().into(),
            value_bytes_max: spec.value_bytes_max as u64,
            clock: core.clock,
            peers,
            containers: core.containers,
            operations,
            backlog: core.backlog,
            refusals,
            warnings,
        }
    }
}

fn link_status(link: &transport::LinkStatus) -> LinkStatus {
    LinkStatus {
        up: link.up,
        rtt_us: link.rtt_us,
        dscp_sent: link.dscp_sent.unwrap_or_default(),
        dscp_seen_by_peer: link.dscp_seen_by_peer,
        dscp_seen_here: link.dscp_seen_here,
        messages_sent: link.messages_sent,
        messages_received: link.messages_received,
        bytes_sent: link.bytes_sent,
        bytes_received: link.bytes_received,
        dropped: link.drops.values().sum(),
        queue_bytes: link.queue_bytes as u64,
        reconnects: link.reconnects,
        last_error: link.last_error.clone(),
    }
}

/// Where priority messages wait for the bound that they are held to.
fn bound_warnings(links: &transport::TransportStatus) -> Vec<String> {
    let waiting = links.peers.iter().filter_map(|peer| {
        let wire = peer.priority.wire.as_ref()?;
        let bound = wire.bytes_per_s_max?;
        let is_busy = Duration::from_micros(wire.longest_wait_us) >= BOUND_WAIT_WORTH_A_WARNING;
        is_busy.then(|| {
            format!(
                "priority traffic to node {} is at its bound of {bound} B/s: {} B wait, the \
                 longest wait of late was {} ms, {} messages have waited",
                peer.node,
                peer.priority.queue_bytes,
                wire.longest_wait_us / 1_000,
                wire.messages_waited
            )
        })
    });
    waiting.collect()
}

/// Where packets between sites are not as large as the operator asked for.
fn packet_warnings(links: &transport::TransportStatus, asked: u16) -> Vec<String> {
    let elsewhere = links.peers.iter().filter(|peer| peer.site != links.site);
    let warnings = elsewhere.filter_map(|peer| {
        let up_for = Duration::from_millis(peer.bulk.since_ms);
        packet_warning(peer.node, up_for, peer.bulk.packet_bytes?, asked)
    });
    warnings.collect()
}

fn packet_warning(node: u16, up_for: Duration, found: u64, asked: u16) -> Option<String> {
    let asked = u64::from(asked);
    let is_small = asked > ETHERNET_BYTES && found + PROBED_WITHIN_BYTES < asked;
    (is_small && up_for >= PROBED_AFTER).then(|| {
        format!(
            "bulk packets to node {node} have up to {found} bytes, where bulk.packet_bytes_max is \
             {asked}: the path carries no more"
        )
    })
}

/// Where the network does not keep the mark, priority is a wish: on the way there, as the peer
/// tells, and on the way back, as arrives here.
fn dscp_warnings(peers: &[PeerStatus]) -> Vec<String> {
    let mut warnings = Vec::new();
    for peer in peers {
        for (class, link) in [("priority", &peer.priority), ("bulk", &peer.bulk)] {
            let ways = [
                ("to", link.dscp_seen_by_peer),
                ("from", link.dscp_seen_here),
            ];
            for (way, seen) in ways {
                // All nodes of a cluster send the same marks.
                let other = seen.filter(|seen| *seen != link.dscp_sent);
                warnings.extend(other.map(|seen| {
                    format!(
                        "the network re-marks {class} traffic {way} node {}: DSCP {} arrives as \
                         {seen}",
                        peer.node, link.dscp_sent
                    )
                }));
            }
        }
    }
    warnings
}

#[cfg(test)]
mod tests {
    use super::*;

    fn link(dscp_sent: u8, at_the_peer: u8, here: u8) -> LinkStatus {
        LinkStatus {
            up: true,
            dscp_sent,
            dscp_seen_by_peer: Some(at_the_peer),
            dscp_seen_here: Some(here),
            ..LinkStatus::default()
        }
    }

    #[test]
    fn each_way_that_changes_a_mark_is_told_of() {
        let peer = |priority, bulk| PeerStatus {
            node: 2,
            site: "b".into(),
            priority,
            bulk,
        };
        let kept = peer(link(46, 46, 46), link(0, 0, 0));
        assert_eq!(dscp_warnings(&[kept]), Vec::<String>::new());
        let changed = peer(link(46, 0, 46), link(0, 0, 46));
        assert_eq!(
            dscp_warnings(&[changed]),
            [
                "the network re-marks priority traffic to node 2: DSCP 46 arrives as 0",
                "the network re-marks bulk traffic from node 2: DSCP 0 arrives as 46",
            ]
        );
        let back = peer(link(46, 46, 10), link(0, 0, 0));
        assert_eq!(
            dscp_warnings(&[back]),
            ["the network re-marks priority traffic from node 2: DSCP 46 arrives as 10"]
        );
    }

    #[test]
    fn packets_smaller_than_asked_for_are_told_of_once_the_path_was_probed() {
        let minute = Duration::from_secs(60);
        let warning = packet_warning(2, minute, 1_480, 9_000).expect("the path carries less");
        assert!(
            ["node 2", "1480", "bulk.packet_bytes_max is 9000"]
                .iter()
                .all(|part| warning.contains(part)),
            "{warning}"
        );
        assert_eq!(packet_warning(2, minute / 2, 1_480, 9_000), None);
        assert_eq!(packet_warning(2, minute, 8_964, 9_000), None);
        // A tunnel on the way is nobody's mistake.
        assert_eq!(packet_warning(2, minute, 1_228, 1_500), None);
    }
}

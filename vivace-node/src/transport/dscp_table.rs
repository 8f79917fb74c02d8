//! Which DSCP packets from each remote address arrived with. Bounded, because
//! anyone may send to a UDP port from any forged address.

use std::collections::HashMap;
use std::net::SocketAddr;

/// Remote addresses remembered at most. One that is heard from at least once
/// while half as many strangers are heard for the first time is never forgotten.
pub const REMOTES_MAX: usize = 1_024;

/// What a socket saw arriving from one remote address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DscpObservation {
    /// DSCP of the latest packet, 0 to 63.
    pub last: u8,
    /// Packets that carried the DSCP that this socket sends with.
    pub packets_as_expected: u64,
    /// Packets that carried any other: somewhere on the path the mark was
    /// rewritten, or the remote is configured differently.
    pub packets_otherwise: u64,
}

/// Two generations, so that forgetting costs nothing per packet, even in a
/// flood: when the young one is full it becomes the old one, whoever is heard
/// again is young again, and the old one before is dropped.
pub(super) struct DscpTable {
    expected: u8,
    young: Generation,
    old: Generation,
}

/// Anyone may send from any address, and nobody outside this process can choose its hash.
type Generation = HashMap<SocketAddr, DscpObservation, foldhash::fast::RandomState>;

impl DscpTable {
    pub(super) fn new(expected: u8) -> Self {
        Self {
            expected,
            young: Generation::default(),
            old: Generation::default(),
        }
    }

    pub(super) fn record(&mut self, remote: SocketAddr, dscp: u8, packets: u64) {
        if !self.young.contains_key(&remote) {
            let known = self.old.remove(&remote);
            if self.young.len() >= REMOTES_MAX / 2 {
                self.old = std::mem::take(&mut self.young);
            }
            self.young.insert(remote, known.unwrap_or_default());
        }
        let Some(seen) = self.young.get_mut(&remote) else {
            return;
        };
        seen.last = dscp;
        if dscp == self.expected {
            seen.packets_as_expected += packets;
        } else {
            seen.packets_otherwise += packets;
        }
    }

    pub(super) fn get(&self, remote: SocketAddr) -> Option<DscpObservation> {
        self.young
            .get(&remote)
            .or_else(|| self.old.get(&remote))
            .copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_flood_of_forged_addresses_keeps_the_table_bounded_and_the_active_peer_in_it() {
        let mut table = DscpTable::new(46);
        let peer: SocketAddr = ([10, 0, 0, 1], 7).into();
        for port in 1..=u16::MAX {
            table.record(([10, 9, 9, 9], port).into(), 0, 1);
            if port % 500 == 0 {
                table.record(peer, 46, 2);
            }
            assert!(table.young.len() + table.old.len() <= REMOTES_MAX);
        }
        let seen = table.get(peer).expect("it kept talking");
        assert_eq!(
            (seen.last, seen.packets_as_expected, seen.packets_otherwise),
            (46, 262, 0)
        );
    }
}

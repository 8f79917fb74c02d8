//! The few fields of an IP header that a router looks at.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

const IPV4_HEADER_BYTES: usize = 20;
const IPV6_HEADER_BYTES: usize = 40;

/// What a router needs to know of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IpHeader {
    /// Where it goes.
    pub destination: IpAddr,
    /// Its mark, 0 to 63.
    pub dscp: u8,
}

impl IpHeader {
    /// Reads the header of a whole packet; `None` if it is neither IPv4 nor IPv6 or
    /// ends too soon.
    pub fn read(packet: &[u8]) -> Option<Self> {
        match packet.first()? >> 4 {
            4 => {
                let header: &[u8; IPV4_HEADER_BYTES] = packet.first_chunk()?;
                let address: [u8; 4] = *header.last_chunk()?;
                Some(Self {
                    destination: Ipv4Addr::from(address).into(),
                    dscp: header[1] >> 2,
                })
            }
            6 => {
                let header: &[u8; IPV6_HEADER_BYTES] = packet.first_chunk()?;
                let address: [u8; 16] = *header.last_chunk()?;
                let traffic_class = header[0] << 4 | header[1] >> 4;
                Some(Self {
                    destination: Ipv6Addr::from(address).into(),
                    dscp: traffic_class >> 2,
                })
            }
            _ => None,
        }
    }

    /// Rewrites the mark of a packet that [`read`](Self::read) understood; ECN stays.
    ///
    /// IPv4's checksum is mended by the difference (RFC 1624), so a wrong one stays wrong.
    pub fn set_dscp(packet: &mut [u8], dscp: u8) {
        match packet.first().map(|first| first >> 4) {
            Some(4) if packet.len() >= IPV4_HEADER_BYTES => {
                let old = u16::from_be_bytes([packet[0], packet[1]]);
                packet[1] = dscp << 2 | packet[1] & 0b11;
                let new = u16::from_be_bytes([packet[0], packet[1]]);
                let checksum = u16::from_be_bytes([packet[10], packet[11]]);
                let mut sum = u32::from(!checksum) + u32::from(!old) + u32::from(new);
                while sum > 0xffff {
                    sum = (sum & 0xffff) + (sum >> 16);
                }
                packet[10..12].copy_from_slice(&(!(sum as u16)).to_be_bytes());
            }
            Some(6) if packet.len() >= IPV6_HEADER_BYTES => {
                packet[0] = 6 << 4 | dscp >> 2;
                packet[1] = dscp << 6 | packet[1] & 0b0011_1111;
            }
            _ => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// An IPv4 header with a right checksum.
    fn ipv4(tos: u8) -> [u8; 20] {
        let mut header = [0u8; 20];
        header[0] = 0x45;
        header[1] = tos;
        header[8] = 64;
        header[12..20].copy_from_slice(&[10, 77, 1, 1, 10, 77, 2, 3]);
        let checksum = !sum(&header);
        header[10..12].copy_from_slice(&checksum.to_be_bytes());
        header
    }

    fn sum(header: &[u8]) -> u16 {
        let words = header
            .chunks(2)
            .map(|w| u32::from(u16::from_be_bytes([w[0], w[1]])));
        let mut sum: u32 = words.sum();
        while sum > 0xffff {
            sum = (sum & 0xffff) + (sum >> 16);
        }
        sum as u16
    }

    #[test]
    fn a_new_ipv4_mark_keeps_ecn_and_the_checksum_right() {
        for from in 0..64 {
            for to in 0..64 {
                let mut packet = ipv4(from << 2 | 0b10);
                IpHeader::set_dscp(&mut packet, to);
                assert_eq!(packet[1], to << 2 | 0b10);
                assert_eq!(sum(&packet), 0xffff, "{from} to {to}");
            }
        }
    }

    #[test]
    fn a_new_ipv6_mark_keeps_ecn_and_the_flow_label() {
        let mut packet = [0u8; 40];
        packet[..4].copy_from_slice(&[0x60, 0b0001_1010, 0xbc, 0xde]);
        packet[39] = 7;
        for to in 0..64 {
            IpHeader::set_dscp(&mut packet, to);
            let header = IpHeader::read(&packet).expect("IPv6");
            assert_eq!(header.dscp, to);
            assert_eq!(packet[1] & 0b0011_1111, 0b0001_1010);
            assert_eq!(packet[2..4], [0xbc, 0xde]);
        }
    }

    #[test]
    fn destinations_are_read_and_stumps_are_not() {
        let v4 = IpHeader::read(&ipv4(46 << 2)).expect("IPv4");
        assert_eq!(v4.destination, IpAddr::from([10, 77, 2, 3]));
        assert_eq!(v4.dscp, 46);
        assert_eq!(IpHeader::read(&ipv4(0)[..19]), None);
        assert_eq!(IpHeader::read(&[0x60; 39]), None);
        assert_eq!(IpHeader::read(&[]), None);
        assert_eq!(IpHeader::read(&[0x70; 60]), None);
    }
}

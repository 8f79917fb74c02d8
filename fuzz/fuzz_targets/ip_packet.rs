//! Packets as the router of `netem` takes them from a host's interface: the first byte is
//! a mark to give them.

#![no_main]

use libfuzzer_sys::fuzz_target;
use netem::IpHeader;

fn sum(header: &[u8]) -> u16 {
    let words = header.chunks_exact(2);
    let words = words.map(|word| u32::from(u16::from_be_bytes([word[0], word[1]])));
    let sum: u32 = words.sum();
    (sum % 0xffff) as u16
}

fuzz_target!(|bytes: &[u8]| {
    let Some((&mark, packet)) = bytes.split_first() else {
        return;
    };
    let mark = mark & 63;
    let before = IpHeader::read(packet);
    let mut marked = packet.to_vec();
    IpHeader::set_dscp(&mut marked, mark);
    assert_eq!(marked.len(), packet.len());
    let Some(before) = before else {
        assert_eq!(marked, packet, "no packet is left alone");
        return;
    };
    let after = IpHeader::read(&marked).expect("it is a packet still");
    assert_eq!((after.destination, after.dscp), (before.destination, mark));
    let is_v4 = packet[0] >> 4 == 4;
    for (at, (old, new)) in packet.iter().zip(&marked).enumerate() {
        let is_mark = at < 2 || is_v4 && (10..12).contains(&at);
        assert!(is_mark || old == new, "byte {at}");
    }
    if is_v4 {
        assert_eq!(marked[1] & 0b11, packet[1] & 0b11, "ECN stays");
        assert_eq!(sum(&marked[..20]), sum(&packet[..20]), "right stays right");
    } else {
        assert_eq!(
            marked[1] & 0b0011_1111,
            packet[1] & 0b0011_1111,
            "ECN stays"
        );
    }
});

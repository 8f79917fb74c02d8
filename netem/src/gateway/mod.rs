//! The paper's host-based scheme for real gateways: a shell script that
//! serves marked packets first with Linux HTB, in front of an uplink that knows no
//! classes.
//!
//! The numbers in it are what it takes for a priority packet to wait for about one bulk
//! packet and no more; each stands beside its reason in the script.

use std::fmt::Write;
use std::time::Duration;

use thiserror::Error;

use crate::{DELAY_MAX, RATE_MAX_BITS_PER_SECOND};

/// What runs on the gateway: checks, applies, shows, removes.
const BODY: &str = include_str!("body.sh");

/// Ethernet's header, which HTB counts and the MTU doesn't.
const ETHERNET_BYTES: u32 = 14;

/// Share of the shaped rate that bulk is sure of, so that it never starves altogether.
const BULK_PERCENT: u64 = 2;

/// What may leave at once at high rates, where one frame per timer would be too slow.
const BURST: Duration = Duration::from_micros(100);

/// Most that the queue of bulk (bfifo) can hold: the kernel counts with 32 bits.
const BUFFER_BYTES_MAX: u64 = u32::MAX as u64;

/// Slowest uplink: bulk's share of it must be a rate that HTB takes.
const UPLINK_MIN_BITS_PER_SECOND: u64 = 100_000;

/// What a gateway's script is made for.
#[derive(Clone, Debug, PartialEq)]
pub struct Gateway {
    /// The interface towards the uplink.
    pub device: String,
    /// Rate of the uplink, in bits per second; 100 kbit/s to 1 Tbit/s.
    pub uplink_bits_per_second: u64,
    /// What of it is used, so that the queue is here and not in the modem: above 0, at
    /// most 1; 0.95 is usual.
    pub share: f64,
    /// Marks that are served first, 0 to 63.
    pub dscps: Vec<u8>,
    /// Bytes of bulk that may wait: one packet of `mtu` to 4 GB.
    pub buffer_bytes: u64,
    /// Largest IP packet, 576 to 65,536 bytes (AWS has 9001).
    pub mtu: u32,
    /// Interfaces on which packets come in from this site; the script turns merging of
    /// packets (GRO) off there.
    pub lan_devices: Vec<String>,
    /// An interface of the next hop and what it delays by.
    pub delay: Option<(String, Duration)>,
}

/// Why no script is written.
#[derive(Clone, Debug, Error, PartialEq)]
pub enum GatewayError {
    /// A name that no interface has.
    #[error(
        "{field}: {name:?} is no interface's name (1 to 15 letters, digits, `.`, `-`, `_`, `@`)"
    )]
    Device {
        /// The option.
        field: &'static str,
        /// The name.
        name: String,
    },
    /// A rate out of range.
    #[error("--uplink must be 100 kbit/s to 1 Tbit/s, not {0} bit/s")]
    Uplink(u64),
    /// A share out of range.
    #[error("--share must be above 0 and at most 1 (95% is usual), not {0}")]
    Share(f64),
    /// No marks.
    #[error("--dscp must name at least one mark, for example EF")]
    NoMarks,
    /// A mark that is none, or the default.
    #[error("--dscp must be 1 to 63: {0} can't be told from unmarked packets")]
    Mark(u8),
    /// Too small for a packet.
    #[error("--buffer must hold at least one packet of {mtu} bytes, not {buffer} bytes")]
    Buffer {
        /// The MTU.
        mtu: u32,
        /// What was given.
        buffer: u64,
    },
    /// More than the kernel takes.
    #[error(
        "--buffer must be at most {BUFFER_BYTES_MAX} bytes, not {0}: give it in bytes, such as 256MB"
    )]
    BufferTooLarge(u64),
    /// An MTU out of range.
    #[error("--mtu must be 576 to 65536, not {0}")]
    Mtu(u32),
    /// Too long.
    #[error("--delay must be at most an hour")]
    Delay,
    /// Delay and shaper on one interface.
    #[error(
        "--delay-dev must not be {0:?}, the shaped interface: a delay inside the shaper's tree \
         delays its queue too. Put it on an interface of the next hop"
    )]
    DelayInShaper(String),
}

impl Gateway {
    /// Whether every field is in its range.
    ///
    /// # Errors
    /// The first field that is not.
    pub fn check(&self) -> Result<(), GatewayError> {
        check_device("--dev", &self.device)?;
        for device in &self.lan_devices {
            check_device("--lan-dev", device)?;
        }
        let uplink = self.uplink_bits_per_second;
        if !(UPLINK_MIN_BITS_PER_SECOND..=RATE_MAX_BITS_PER_SECOND).contains(&uplink) {
            return Err(GatewayError::Uplink(uplink));
        }
        // Written so that NaN is refused.
        if !(self.share > 0.0 && self.share <= 1.0) {
            return Err(GatewayError::Share(self.share));
        }
        if self.dscps.is_empty() {
            return Err(GatewayError::NoMarks);
        }
        if let Some(&wrong) = self.dscps.iter().find(|&dscp| !(1..=63).contains(dscp)) {
            return Err(GatewayError::Mark(wrong));
        }
        if !(576..=65_536).contains(&self.mtu) {
            return Err(GatewayError::Mtu(self.mtu));
        }
        if self.buffer_bytes < u64::from(self.mtu) {
            return Err(GatewayError::Buffer {
                mtu: self.mtu,
                buffer: self.buffer_bytes,
            });
        }
        if self.buffer_bytes > BUFFER_BYTES_MAX {
            return Err(GatewayError::BufferTooLarge(self.buffer_bytes));
        }
        if let Some((device, delay)) = &self.delay {
            check_device("--delay-dev", device)?;
            if device == &self.device {
                return Err(GatewayError::DelayInShaper(device.clone()));
            }
            if *delay > DELAY_MAX {
                return Err(GatewayError::Delay);
            }
        }
        Ok(())
    }

    /// A script for POSIX `sh` that takes `check`, `apply`, `show` or `remove`.
    ///
    /// # Errors
    /// What [`check`](Self::check) finds.
    pub fn script(&self) -> Result<String, GatewayError> {
        self.check()?;
        let rate = (self.uplink_bits_per_second as f64 * self.share) as u64;
        let bulk = rate * BULK_PERCENT / 100;
        let frame = self.mtu + ETHERNET_BYTES;
        let in_burst = (rate as f64 * BURST.as_secs_f64() / 8.0) as u64;
        let traffic_classes: Vec<String> = self
            .dscps
            .iter()
            .map(|dscp| format!("{:#04x}", dscp << 2))
            .collect();
        let (delay_device, delay_us) = match &self.delay {
            Some((device, delay)) => (device.as_str(), delay.as_micros()),
            None => ("", 0),
        };
        // As many small packets as the uplink carries in that time, and some.
        let delay_packets = self.uplink_bits_per_second as u128 * delay_us / 8_000_000 / 100 + 1000;
        // What the kernel's netem can count.
        let delay_packets = delay_packets.min(u128::from(u32::MAX));
        let mut head = String::from("#!/bin/sh\n# Written by `netem tc script`.\n");
        let mut set = |name: &str, value: &dyn std::fmt::Display, why: &str| {
            let _ = writeln!(head, "{name}='{value}'    # {why}");
        };
        set("DEV", &self.device, "towards the uplink");
        set("MTU", &self.mtu, "largest IP packet");
        set("FRAME", &frame, "the same with its Ethernet header");
        set(
            "RATE",
            &rate,
            "bit/s; below the uplink's rate, so that the queue is here",
        );
        set(
            "PRIORITY_RATE",
            &(rate - bulk),
            "bit/s; HTB serves classes below their own rate first",
        );
        set("BULK_RATE", &bulk, "bit/s; it borrows up to RATE");
        set(
            "BURST",
            &u64::from(frame).max(in_burst),
            "bytes that leave at once: one frame, or 100 us",
        );
        set(
            "BULK_BUFFER",
            &self.buffer_bytes,
            "bytes of bulk that may wait",
        );
        set(
            "CLASSES",
            &traffic_classes.join(" "),
            "traffic class bytes (DSCP * 4) that go first",
        );
        set(
            "LAN_DEVS",
            &self.lan_devices.join(" "),
            "where this site's packets come in",
        );
        set(
            "DELAY_DEV",
            &delay_device,
            "of the next hop; empty: no delay",
        );
        set("DELAY_US", &delay_us, "one way");
        set("DELAY_PACKETS", &delay_packets, "that may be under way");
        Ok(head + BODY)
    }
}

fn check_device(field: &'static str, name: &str) -> Result<(), GatewayError> {
    let good = |byte: u8| byte.is_ascii_alphanumeric() || b".-_@".contains(&byte);
    if (1..=15).contains(&name.len()) && name.bytes().all(good) && !name.starts_with('-') {
        return Ok(());
    }
    Err(GatewayError::Device {
        field,
        name: name.to_owned(),
    })
}

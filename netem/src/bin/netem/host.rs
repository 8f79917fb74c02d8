//! One host: a network namespace whose only way out is a TUN device.

use std::fs::File;
use std::io::{Read, Seek};
use std::net::{Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use tun_rs::{DeviceBuilder, SyncDevice};

use crate::namespaces;
use crate::state::{Host, Mode};

/// The interface's name in every host.
const INTERFACE: &str = "wan0";

/// Packets that the kernel keeps for the router before it drops: a burst of full-sized
/// packets at 1 Gbit/s for 25 ms.
const TRANSMIT_QUEUE_PACKETS: u32 = 2048;

/// A host's interface and namespace, both held open.
pub struct BuiltHost {
    /// The router's end of the interface; reads don't block.
    pub device: SyncDevice,
    /// Its namespace.
    pub namespace: OwnedFd,
    /// Where others can open the namespace.
    pub path: PathBuf,
}

/// Makes a host on a thread of its own, since a thread that has entered a namespace
/// is of no use for anything else.
pub fn build(
    mode: Mode,
    name: String,
    ipv4: Ipv4Addr,
    ipv6: Ipv6Addr,
    mtu_bytes: u16,
) -> Result<BuiltHost> {
    let build = move || {
        let (namespace, path) = namespaces::create(mode, &name)?;
        let device = device(ipv4, ipv6, mtu_bytes)?;
        Ok(BuiltHost {
            device,
            namespace,
            path,
        })
    };
    match std::thread::spawn(build).join() {
        Ok(result) => result,
        Err(_) => bail!("building a host panicked"),
    }
}

/// No packet information and no offloads: what is read is one packet of at most the
/// MTU, segmented and with its checksum, as on a wire.
fn device(ipv4: Ipv4Addr, ipv6: Ipv6Addr, mtu_bytes: u16) -> Result<SyncDevice> {
    let device = DeviceBuilder::new()
        .name(INTERFACE)
        .mtu(mtu_bytes)
        .enable(false)
        .build_sync()
        .context("can't make a TUN device")?;
    device.set_nonblocking(true)?;
    // The queue by netlink: the older call wants the machine's root, not the namespace's.
    let mut commands = format!(
        "link set lo up\n\
         link set {INTERFACE} txqueuelen {TRANSMIT_QUEUE_PACKETS}\n\
         link set {INTERFACE} addrgenmode none\n\
         addr add {ipv4}/32 dev {INTERFACE}\n\
         link set {INTERFACE} up\n\
         route add default dev {INTERFACE}\n"
    );
    if Path::new("/proc/net/if_inet6").exists() {
        // Without duplicate detection the address is usable at once.
        commands += &format!(
            "addr add {ipv6}/128 dev {INTERFACE} nodad\n\
             route add ::/0 dev {INTERFACE}\n"
        );
    }
    namespaces::ip_batch(&commands)?;
    Ok(device)
}

/// Packets that found the queue between a host and the router full.
pub struct Overruns {
    /// Every host's table of interfaces: opened once, it stays its namespace's.
    devices: Vec<File>,
}

impl Overruns {
    /// Of these hosts.
    pub fn of(hosts: &[Host]) -> Result<Self> {
        let namespaces: Vec<PathBuf> = hosts.iter().map(|host| host.namespace.clone()).collect();
        let open = move || -> Result<Vec<File>> {
            let in_namespace = |namespace: &PathBuf| {
                namespaces::enter(namespace)?;
                Ok(File::open("/proc/thread-self/net/dev")?)
            };
            namespaces.iter().map(in_namespace).collect()
        };
        match std::thread::spawn(open).join() {
            Ok(devices) => Ok(Self { devices: devices? }),
            Err(_) => bail!("opening the hosts' tables of interfaces panicked"),
        }
    }

    /// All hosts' together, since they were made.
    pub fn count(&mut self) -> Result<u64> {
        let mut sum = 0;
        for file in &mut self.devices {
            let mut table = String::new();
            file.rewind()?;
            file.read_to_string(&mut table)?;
            sum += transmit_drops(&table).unwrap_or(0);
        }
        Ok(sum)
    }
}

/// The twelfth number of the interface's line: eight of receiving come first, then
/// bytes, packets and errors.
fn transmit_drops(devices: &str) -> Option<u64> {
    let numbers = devices
        .lines()
        .find_map(|line| line.trim().strip_prefix(INTERFACE))?;
    let numbers = numbers.strip_prefix(':')?;
    numbers.split_whitespace().nth(11)?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn drops_are_read_from_the_interfaces_line() {
        let devices = "Inter-|   Receive                                                |  Transmit\n \
            face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed\n    \
            lo:       1       2    0    3    0     0          0         0        4       5    0    6    0     0       0          0\n  \
            wan0:      10      20    0   30    0     0          0         0       40      50    0   60    0     0       0          0\n";
        assert_eq!(transmit_drops(devices), Some(60));
        assert_eq!(transmit_drops("lo: 1 2 3"), None);
    }
}

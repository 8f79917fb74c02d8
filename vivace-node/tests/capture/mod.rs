//! Network namespaces and packet capture for tests that must see what is on the
//! wire, without a capture program: an AF_PACKET socket inside the namespace.
// Each test binary uses a part of it.
#![allow(dead_code)]

use std::fs::File;
use std::io::{self, Read};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use nix::sched::{CloneFlags, setns};

/// Namespaces are called by this, the process's id and their letter.
const NAME_PREFIX: &str = "vivace-test-";

/// Two namespaces joined by a veth pair: `A_V4`/`A_V6` in the first, `B_V4`/`B_V6`
/// in the second. Dropping it deletes them and what is in them.
pub struct TwoNamespaces {
    names: [String; 2],
}

pub const A_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 1));
pub const B_V4: IpAddr = IpAddr::V4(Ipv4Addr::new(10, 77, 0, 2));
pub const A_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 1));
pub const B_V6: IpAddr = IpAddr::V6(Ipv6Addr::new(0xfd77, 0, 0, 0, 0, 0, 0, 2));

impl TwoNamespaces {
    /// Makes both.
    ///
    /// # Errors
    /// What `ip` said: no root, no `ip`, no veth. Nothing is left behind.
    pub fn create() -> Result<Self, String> {
        delete_those_of_dead_processes();
        let process = std::process::id();
        let names = ["a", "b"].map(|letter| format!("{NAME_PREFIX}{process}-{letter}"));
        // From here on dropping cleans up, also after half of the work.
        let made = Self { names };
        let [a, b] = &made.names;
        ip(&["netns", "add", a])?;
        ip(&["netns", "add", b])?;
        // Both ends are born inside: nothing appears in the host's namespace.
        ip(&[
            "-n", a, "link", "add", "veth0", "type", "veth", "peer", "name", "veth0", "netns", b,
        ])?;
        let addresses = [(a, A_V4, A_V6), (b, B_V4, B_V6)];
        for (name, v4, v6) in addresses {
            ip(&[
                "-n",
                name,
                "addr",
                "add",
                &format!("{v4}/24"),
                "dev",
                "veth0",
            ])?;
            // Without duplicate detection the address is usable at once.
            ip(&[
                "-n",
                name,
                "addr",
                "add",
                &format!("{v6}/64"),
                "dev",
                "veth0",
                "nodad",
            ])?;
            ip(&["-n", name, "link", "set", "lo", "up"])?;
            ip(&["-n", name, "link", "set", "veth0", "up"])?;
        }
        Ok(made)
    }

    pub fn a(&self) -> Namespace {
        Namespace {
            name: self.names[0].clone(),
        }
    }

    pub fn b(&self) -> Namespace {
        Namespace {
            name: self.names[1].clone(),
        }
    }
}

impl Drop for TwoNamespaces {
    fn drop(&mut self) {
        for name in &self.names {
            let _ = ip(&["netns", "del", name]);
        }
    }
}

/// A test that was killed could not clean up: its successor does.
fn delete_those_of_dead_processes() {
    let Ok(entries) = std::fs::read_dir("/run/netns") else {
        return;
    };
    for name in entries
        .flatten()
        .filter_map(|entry| entry.file_name().into_string().ok())
    {
        let process = name
            .strip_prefix(NAME_PREFIX)
            .and_then(|rest| rest.split('-').next());
        if process.is_some_and(|p| !std::path::Path::new("/proc").join(p).exists()) {
            let _ = ip(&["netns", "del", &name]);
        }
    }
}

fn ip(arguments: &[&str]) -> Result<(), String> {
    let output = Command::new("ip").args(arguments).output();
    let output = output.map_err(|error| format!("can't run ip: {error}"))?;
    if output.status.success() {
        return Ok(());
    }
    let said = String::from_utf8_lossy(&output.stderr);
    Err(format!("ip {}: {}", arguments.join(" "), said.trim()))
}

/// A namespace by name.
#[derive(Clone)]
pub struct Namespace {
    pub name: String,
}

impl Namespace {
    /// Moves the calling thread into the namespace, for good: what it opens from
    /// now on is inside. For a thread of its own, or a socket factory's.
    pub fn enter(&self) -> io::Result<()> {
        let file = File::open(format!("/run/netns/{}", self.name))?;
        Ok(setns(file, CloneFlags::CLONE_NEWNET)?)
    }

    /// The start of a command whose program runs inside.
    pub fn command(&self, program: &str) -> Command {
        let mut command = Command::new("ip");
        command.args(["netns", "exec", &self.name, program]);
        command
    }
}

/// One UDP packet as it was on the wire (or, of a batch that the card would have
/// cut, the whole batch: it has one header here and the same one on each packet).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Packet {
    pub source: (IpAddr, u16),
    pub destination: (IpAddr, u16),
    pub dscp: u8,
    /// The two ECN bits.
    pub ecn: u8,
    /// A fragment: QUIC must send none (RFC 9000 §14).
    pub is_fragment: bool,
    /// First byte of the UDP payload: with the bit 0x80 a QUIC long header, of
    /// the handshake.
    pub first_byte: u8,
}

impl Packet {
    pub fn is_handshake(&self) -> bool {
        self.first_byte & 0x80 != 0
    }
}

/// A running capture of every UDP packet in a namespace, in both directions.
pub struct Capture {
    stop: Arc<AtomicBool>,
    thread: JoinHandle<Vec<Packet>>,
}

/// How often a quiet capture looks whether it should stop.
const CAPTURE_TICK: Duration = Duration::from_millis(20);

/// Kernel buffer of a capture, in bytes.
const CAPTURE_BUFFER_BYTES: usize = 64 << 20;

impl Capture {
    /// Starts to capture; packets from now on are seen.
    pub fn start(namespace: &Namespace) -> io::Result<Self> {
        let namespace = namespace.clone();
        let stop = Arc::new(AtomicBool::new(false));
        let should_stop = stop.clone();
        let (ready, is_ready) = std::sync::mpsc::channel();
        let thread = std::thread::spawn(move || match open(&namespace) {
            Ok(socket) => {
                let _ = ready.send(Ok(()));
                capture(socket, &should_stop)
            }
            Err(error) => {
                let _ = ready.send(Err(error));
                Vec::new()
            }
        });
        let opened = is_ready
            .recv()
            .unwrap_or_else(|_| Err(io::ErrorKind::BrokenPipe.into()));
        opened.map(|()| Self { stop, thread })
    }

    /// Ends the capture; every UDP packet seen.
    pub fn finish(self) -> Vec<Packet> {
        self.stop.store(true, Ordering::Relaxed);
        self.thread.join().expect("the capture doesn't panic")
    }
}

fn open(namespace: &Namespace) -> io::Result<socket2::Socket> {
    namespace.enter()?;
    // ETH_P_ALL, in network order. SOCK_DGRAM: packets begin at the IP header.
    let every_protocol = i32::from(3_u16.to_be());
    let socket = socket2::Socket::new(
        socket2::Domain::PACKET,
        socket2::Type::DGRAM,
        Some(every_protocol.into()),
    )?;
    nix::sys::socket::setsockopt(
        &socket,
        nix::sys::socket::sockopt::RcvBufForce,
        &CAPTURE_BUFFER_BYTES,
    )?;
    socket.set_read_timeout(Some(CAPTURE_TICK))?;
    Ok(socket)
}

fn capture(socket: socket2::Socket, stop: &AtomicBool) -> Vec<Packet> {
    let mut packets = Vec::new();
    let mut buffer = vec![0; 65_536];
    loop {
        match (&socket).read(&mut buffer) {
            Ok(length) => packets.extend(parse(&buffer[..length])),
            // Nothing waits: what was sent before the stop has been read.
            Err(_) if stop.load(Ordering::Relaxed) => return packets,
            Err(_) => {}
        }
    }
}

fn parse(bytes: &[u8]) -> Option<Packet> {
    const UDP: u8 = 17;
    let (tos, source, destination, is_fragment, udp): (u8, IpAddr, IpAddr, bool, &[u8]) =
        match bytes.first()? >> 4 {
            4 if *bytes.get(9)? == UDP => {
                let header = usize::from(bytes[0] & 0xf) * 4;
                let address = |at: usize| <[u8; 4]>::try_from(bytes.get(at..at + 4)?).ok();
                // More fragments follow, or this is not the first.
                let is_fragment = u16::from_be_bytes([bytes[6], bytes[7]]) & 0x3fff != 0;
                let udp = bytes.get(header..)?;
                (
                    bytes[1],
                    address(12)?.into(),
                    address(16)?.into(),
                    is_fragment,
                    udp,
                )
            }
            6 if *bytes.get(6)? == UDP => {
                let address = |at: usize| <[u8; 16]>::try_from(bytes.get(at..at + 16)?).ok();
                let traffic_class = bytes[0] << 4 | bytes[1] >> 4;
                (
                    traffic_class,
                    address(8)?.into(),
                    address(24)?.into(),
                    false,
                    bytes.get(40..)?,
                )
            }
            _ => return None,
        };
    let port = |at: usize| Some(u16::from_be_bytes([*udp.get(at)?, *udp.get(at + 1)?]));
    Some(Packet {
        source: (source, port(0)?),
        destination: (destination, port(2)?),
        dscp: tos >> 2,
        ecn: tos & 0b11,
        is_fragment,
        first_byte: *udp.get(8)?,
    })
}

/// How many packets from one socket address were seen with which marks.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Marks {
    pub packets: u64,
    pub handshake_packets: u64,
    pub with_dscp: u64,
    pub with_ect0: u64,
    pub fragments: u64,
}

impl Marks {
    /// Counts the packets from `source`, and those of them with `dscp`.
    pub fn count(packets: &[Packet], source: (IpAddr, u16), dscp: u8) -> Self {
        let mut marks = Self::default();
        for packet in packets.iter().filter(|packet| packet.source == source) {
            marks.packets += 1;
            marks.handshake_packets += u64::from(packet.is_handshake());
            marks.with_dscp += u64::from(packet.dscp == dscp);
            marks.with_ect0 += u64::from(packet.ecn == 0b10);
            marks.fragments += u64::from(packet.is_fragment);
        }
        marks
    }
}

//! A UDP socket for QUIC that marks every packet it sends with a DSCP, and sees
//! the DSCP of every packet it receives.
//!
//! quinn-udp writes an IP_TOS / IPV6_TCLASS control message made of the ECN bits
//! alone into every packet, and a control message wins over the socket option:
//! `set_tos` marks nothing, while `getsockopt` still answers 184. It also drops
//! the DSCP of what it receives. So both directions make their own system calls
//! here, with `dscp << 2 | ecn`; quinn-udp still sets the socket up (no
//! fragments, GRO, packet info, TOS on receipt).

use std::fmt;
use std::future::Future;
use std::io::{self, IoSlice, IoSliceMut};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::fd::AsRawFd;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};

use nix::errno::Errno;
use nix::libc;
use nix::sys::socket::{
    ControlMessage, ControlMessageOwned, MsgFlags, RecvMsg, SockaddrStorage, recvmsg, sendmsg,
};
use quinn::{AsyncUdpSocket, UdpPoller};
use quinn_udp::{EcnCodepoint, RecvMeta, Transmit, UdpSocketState};
use tokio::io::Interest;

use super::dscp_table::{DscpObservation, DscpTable};
use super::lock::lock;

/// Largest DSCP: six bits.
pub const DSCP_MAX: u8 = 63;

/// Kernel buffer asked for in each direction, in bytes; the kernel grants up to
/// its own `rmem_max` and `wmem_max`. A burst at 1 Gbit/s for 30 ms.
const KERNEL_BUFFER_BYTES: usize = 4 << 20;

/// Knows which DSCP packets from a remote address arrived with.
pub trait ObservesDscp {
    /// DSCP (0 to 63) of the latest packet from `remote`; `None` before the first.
    fn observed_dscp(&self, remote: SocketAddr) -> Option<u8>;
}

/// Answers the DSCP last seen from a remote address.
pub type ObservedDscp = Arc<dyn Fn(SocketAddr) -> Option<u8> + Send + Sync>;

/// One class's socket: a real one, or one that an emulated WAN made.
pub struct ClassSocket {
    /// What quinn sends and receives through.
    pub socket: Arc<dyn AsyncUdpSocket>,
    /// The DSCP that every packet leaves with, 0 to 63.
    pub dscp: u8,
    /// The DSCP that packets from an address arrive with.
    pub observed: ObservedDscp,
}

impl ClassSocket {
    /// Binds a real UDP socket, as [`DscpSocket::bind`] does.
    ///
    /// # Errors
    /// As [`DscpSocket::bind`].
    pub fn bind(addr: SocketAddr, dscp: u8) -> io::Result<Self> {
        Ok(DscpSocket::bind(addr, dscp)?.into())
    }
}

impl From<Arc<DscpSocket>> for ClassSocket {
    fn from(socket: Arc<DscpSocket>) -> Self {
        let observer = socket.clone();
        Self {
            dscp: socket.dscp,
            socket,
            observed: Arc::new(move |remote| observer.observed_dscp(remote)),
        }
    }
}

/// How many segments of this size the system takes at once: as many as fit one UDP datagram.
fn segments_at_once(segment_bytes: usize) -> usize {
    /// Less IP and UDP headers, in which IPv4 counts its own and IPv6 does not.
    const DATAGRAM_BYTES: usize = u16::MAX as usize - 20 - 8;
    (DATAGRAM_BYTES / segment_bytes.max(1)).max(1)
}

/// A UDP socket that marks, and sees marks. See the module's page.
pub struct DscpSocket {
    io: tokio::net::UdpSocket,
    dscp: u8,
    gso_segments_max: AtomicUsize,
    gro_segments_max: usize,
    may_fragment: bool,
    table: Mutex<DscpTable>,
    failed_sends: AtomicU64,
    failed_receives: AtomicU64,
}

impl DscpSocket {
    /// Binds a socket of the address's own family (IPv6 sockets take no IPv4)
    /// that sends everything with `dscp`. Must be called within the tokio
    /// runtime whose thread will use it.
    ///
    /// # Errors
    /// `InvalidInput` for a DSCP above [`DSCP_MAX`] or outside a tokio runtime;
    /// otherwise what the system says. Nothing stays bound.
    pub fn bind(addr: SocketAddr, dscp: u8) -> io::Result<Arc<Self>> {
        let refuse = |why: String| Err(io::Error::new(io::ErrorKind::InvalidInput, why));
        if dscp > DSCP_MAX {
            return refuse(format!("DSCP {dscp} is not between 0 and {DSCP_MAX}"));
        }
        if tokio::runtime::Handle::try_current().is_err() {
            return refuse("a DSCP socket must be bound inside a tokio runtime".into());
        }
        let socket = socket2::Socket::new(
            socket2::Domain::for_address(addr),
            socket2::Type::DGRAM,
            Some(socket2::Protocol::UDP),
        )?;
        if addr.is_ipv6() {
            socket.set_only_v6(true)?;
        }
        socket.set_recv_buffer_size(KERNEL_BUFFER_BYTES)?;
        socket.set_send_buffer_size(KERNEL_BUFFER_BYTES)?;
        let setup = UdpSocketState::new((&socket).into())?;
        socket
            .bind(&addr.into())
            .map_err(|error| io::Error::new(error.kind(), format!("{addr}: {error}")))?;
        Ok(Arc::new(Self {
            io: tokio::net::UdpSocket::from_std(socket.into())?,
            dscp,
            gso_segments_max: AtomicUsize::new(setup.max_gso_segments()),
            gro_segments_max: setup.gro_segments(),
            may_fragment: setup.may_fragment(),
            table: Mutex::new(DscpTable::new(dscp)),
            failed_sends: AtomicU64::new(0),
            failed_receives: AtomicU64::new(0),
        }))
    }

    /// What arrived from `remote`; `None` if nothing did, or so long ago that it is
    /// forgotten ([`REMOTES_MAX`](super::REMOTES_MAX)).
    pub fn observation(&self, remote: SocketAddr) -> Option<DscpObservation> {
        lock(&self.table).get(remote)
    }

    /// Packets that the system refused to send or to hand over, since the start.
    /// They count as lost on the way: QUIC sends again what matters.
    pub fn failures(&self) -> u64 {
        self.failed_sends.load(Ordering::Relaxed) + self.failed_receives.load(Ordering::Relaxed)
    }

    fn send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        // As quinn-udp: some drivers refuse segmentation of what is one segment.
        let segment_bytes = transmit
            .segment_size
            .filter(|bytes| *bytes < transmit.contents.len());
        match (
            self.send_once(transmit, transmit.contents, segment_bytes),
            segment_bytes,
        ) {
            (Err(Errno::EIO | Errno::EINVAL), Some(segment_bytes)) => {
                if self.gso_segments_max.swap(1, Ordering::Relaxed) > 1 {
                    tracing::info!("segmentation offload refused: sending packets singly");
                }
                self.send_singly(transmit, segment_bytes)
            }
            // Large packets are fewer at once; or they are larger than the interface's now,
            // of which each by itself tells.
            (Err(Errno::EMSGSIZE), Some(segment_bytes)) => {
                let fit = segments_at_once(segment_bytes);
                self.gso_segments_max.fetch_min(fit, Ordering::Relaxed);
                self.send_singly(transmit, segment_bytes)
            }
            (outcome, _) => self.conclude(outcome, transmit),
        }
    }

    fn send_singly(&self, transmit: &Transmit<'_>, segment_bytes: usize) -> io::Result<()> {
        for packet in transmit.contents.chunks(segment_bytes.max(1)) {
            self.conclude(self.send_once(transmit, packet, None), transmit)?;
        }
        Ok(())
    }

    /// One `sendmsg`: the mark, the segment size, the source address.
    fn send_once(
        &self,
        transmit: &Transmit<'_>,
        contents: &[u8],
        segment_bytes: Option<usize>,
    ) -> Result<(), Errno> {
        let tos = (self.dscp << 2) | transmit.ecn.map_or(0, |ecn| ecn as u8);
        let traffic_class = i32::from(tos);
        let segment = segment_bytes.map(|b| u16::try_from(b).map_err(|_| Errno::EMSGSIZE));
        let segment = segment.transpose()?;
        let (source_v4, source_v6) = packet_info(transmit.src_ip);

        let mark = match transmit.destination {
            SocketAddr::V4(_) => ControlMessage::Ipv4Tos(&tos),
            SocketAddr::V6(_) => ControlMessage::Ipv6TClass(&traffic_class),
        };
        // At most three: filled with the mark, cut to what is used.
        let mut control = [mark; 3];
        let mut used = 1;
        if let Some(segment) = &segment {
            control[used] = ControlMessage::UdpGsoSegments(segment);
            used += 1;
        }
        if let Some(source) = &source_v4 {
            control[used] = ControlMessage::Ipv4PacketInfo(source);
            used += 1;
        } else if let Some(source) = &source_v6 {
            control[used] = ControlMessage::Ipv6PacketInfo(source);
            used += 1;
        }
        let destination = SockaddrStorage::from(transmit.destination);
        let parts = [IoSlice::new(contents)];
        loop {
            let sent = sendmsg(
                self.io.as_raw_fd(),
                &parts,
                &control[..used],
                MsgFlags::empty(),
                Some(&destination),
            );
            if sent != Err(Errno::EINTR) {
                return sent.map(drop);
            }
        }
    }

    /// Only "would block" reaches quinn: any other failure is a lost packet to
    /// it, and returning the error would end the connection.
    fn conclude(&self, outcome: Result<(), Errno>, transmit: &Transmit<'_>) -> io::Result<()> {
        match outcome {
            Ok(()) => Ok(()),
            Err(Errno::EAGAIN) => Err(io::ErrorKind::WouldBlock.into()),
            // A probe for the path's MTU that is larger than the interface's.
            Err(Errno::EMSGSIZE) => Ok(()),
            Err(errno) => {
                if is_worth_a_warning(self.failed_sends.fetch_add(1, Ordering::Relaxed)) {
                    tracing::warn!(%errno, to = %transmit.destination, "a packet was not sent");
                }
                Ok(())
            }
        }
    }

    /// Receives until `bufs` are used up or the socket is empty (`WouldBlock`).
    fn receive(
        &self,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
        filled: &mut usize,
    ) -> io::Result<()> {
        let mut control = nix::cmsg_space!(libc::in6_pktinfo, libc::in_pktinfo, i32, i32, i32);
        let mut table = lock(&self.table);
        for (buf, meta) in bufs.iter_mut().zip(meta) {
            let arrival = loop {
                if let Some(arrival) = self.receive_once(buf, &mut control)? {
                    break arrival;
                }
            };
            if let Some(tos) = arrival.tos {
                let packets = arrival.meta.len.div_ceil(arrival.meta.stride.max(1));
                table.record(arrival.meta.addr, tos >> 2, packets as u64);
            }
            *meta = arrival.meta;
            *filled += 1;
        }
        Ok(())
    }

    /// One `recvmsg`; `None` for a datagram that was cut off or has no address.
    fn receive_once(
        &self,
        buf: &mut IoSliceMut<'_>,
        control: &mut [u8],
    ) -> io::Result<Option<Arrival>> {
        let parts = std::slice::from_mut(buf);
        let fd = self.io.as_raw_fd();
        match recvmsg::<SockaddrStorage>(fd, parts, Some(control), MsgFlags::empty()) {
            Ok(message) if message.flags.contains(MsgFlags::MSG_TRUNC) => Ok(None),
            Ok(message) => Ok(Arrival::decode(&message)),
            Err(Errno::EINTR) => Ok(None),
            Err(errno) => Err(errno.into()),
        }
    }
}

impl ObservesDscp for DscpSocket {
    fn observed_dscp(&self, remote: SocketAddr) -> Option<u8> {
        self.observation(remote).map(|seen| seen.last)
    }
}

impl AsyncUdpSocket for DscpSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(WritablePoller {
            socket: self,
            waiting: None,
        })
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        self.io.try_io(Interest::WRITABLE, || self.send(transmit))
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        loop {
            ready!(self.io.poll_recv_ready(cx))?;
            let mut filled = 0;
            // An empty socket ends the batch with `WouldBlock` also after some
            // packets, so that tokio knows and the next poll costs no system call.
            let outcome = self
                .io
                .try_io(Interest::READABLE, || self.receive(bufs, meta, &mut filled));
            match outcome {
                _ if filled > 0 => return Poll::Ready(Ok(filled)),
                Ok(()) => return Poll::Ready(Ok(0)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => {
                    // An error here would end the endpoint, and with it every
                    // connection of the class; what the kernel has no memory for
                    // now, it may have next time.
                    if is_worth_a_warning(self.failed_receives.fetch_add(1, Ordering::Relaxed)) {
                        tracing::warn!(%error, "receiving failed");
                    }
                    cx.waker().wake_by_ref();
                    return Poll::Pending;
                }
            }
        }
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        self.io.local_addr()
    }

    fn max_transmit_segments(&self) -> usize {
        self.gso_segments_max.load(Ordering::Relaxed)
    }

    fn max_receive_segments(&self) -> usize {
        self.gro_segments_max
    }

    fn may_fragment(&self) -> bool {
        self.may_fragment
    }
}

impl fmt::Debug for DscpSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("DscpSocket")
            .field("io", &self.io)
            .field("dscp", &self.dscp)
            .finish()
    }
}

/// What one `recvmsg` brought.
struct Arrival {
    meta: RecvMeta,
    tos: Option<u8>,
}

impl Arrival {
    fn decode(message: &RecvMsg<'_, '_, SockaddrStorage>) -> Option<Self> {
        let address = message.address.as_ref()?;
        let v4 = address
            .as_sockaddr_in()
            .map(|a| SocketAddr::V4((*a).into()));
        let v6 = || {
            address
                .as_sockaddr_in6()
                .map(|a| SocketAddr::V6((*a).into()))
        };
        let mut meta = RecvMeta {
            addr: v4.or_else(v6)?,
            len: message.bytes,
            stride: message.bytes,
            ..RecvMeta::default()
        };
        let mut tos = None;
        for control in message.cmsgs().ok()? {
            match control {
                ControlMessageOwned::Ipv4Tos(value) => tos = Some(value),
                ControlMessageOwned::Ipv6TClass(value) => tos = u8::try_from(value).ok(),
                ControlMessageOwned::Ipv4PacketInfo(info) => {
                    let octets = info.ipi_addr.s_addr.to_ne_bytes();
                    meta.dst_ip = Some(IpAddr::V4(Ipv4Addr::from(octets)));
                }
                ControlMessageOwned::Ipv6PacketInfo(info) => {
                    meta.dst_ip = Some(IpAddr::V6(Ipv6Addr::from(info.ipi6_addr.s6_addr)));
                }
                ControlMessageOwned::UdpGroSegments(bytes) => {
                    meta.stride = usize::try_from(bytes).unwrap_or(message.bytes);
                }
                _ => {}
            }
        }
        meta.ecn = tos.and_then(EcnCodepoint::from_bits);
        Some(Self { meta, tos })
    }
}

/// The source address to send from, in its family's form.
fn packet_info(source: Option<IpAddr>) -> (Option<libc::in_pktinfo>, Option<libc::in6_pktinfo>) {
    match source {
        None => (None, None),
        Some(IpAddr::V4(ip)) => {
            let spec_dst = libc::in_addr {
                s_addr: u32::from_ne_bytes(ip.octets()),
            };
            let info = libc::in_pktinfo {
                ipi_ifindex: 0,
                ipi_spec_dst: spec_dst,
                ipi_addr: libc::in_addr { s_addr: 0 },
            };
            (Some(info), None)
        }
        Some(IpAddr::V6(ip)) => {
            let ipi6_addr = libc::in6_addr {
                s6_addr: ip.octets(),
            };
            (
                None,
                Some(libc::in6_pktinfo {
                    ipi6_addr,
                    ipi6_ifindex: 0,
                }),
            )
        }
    }
}

/// The 1st, 2nd, 4th, 8th, ... failure: a lasting one can't fill the log.
fn is_worth_a_warning(failures_before: u64) -> bool {
    (failures_before + 1).is_power_of_two()
}

type Writable = Pin<Box<dyn Future<Output = io::Result<()>> + Send + Sync>>;

/// Waits until the socket may be written to. Each waiter has a future of its own,
/// because `poll_send_ready` remembers only the last task that asked.
struct WritablePoller {
    socket: Arc<DscpSocket>,
    waiting: Option<Writable>,
}

impl UdpPoller for WritablePoller {
    fn poll_writable(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let this = &mut *self;
        let socket = &this.socket;
        let waiting = this.waiting.get_or_insert_with(|| {
            let socket = socket.clone();
            Box::pin(async move { socket.io.writable().await })
        });
        let outcome = ready!(waiting.as_mut().poll(cx));
        this.waiting = None;
        Poll::Ready(outcome)
    }
}

impl fmt::Debug for WritablePoller {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WritablePoller").finish_non_exhaustive()
    }
}

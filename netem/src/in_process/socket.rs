//! A virtual UDP socket.

use std::fmt;
use std::io::{self, IoSliceMut};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use bytes::Bytes;
use quinn::udp::{RecvMeta, Transmit};
use quinn::{AsyncUdpSocket, UdpPoller};

use super::mailbox::{Datagram, Mailbox};
use super::state::{Outgoing, Shared};
use crate::Site;

/// A UDP socket at a site of a `Wan`.
///
/// As with a real one, sends never wait, a datagram may be lost without a word, and
/// one that does not fit a 1500-byte packet with its headers is dropped. Dropping the
/// last handle frees the address; a [`quinn::Endpoint`] keeps one until its last
/// connection has ended.
pub struct WanSocket {
    shared: Arc<Shared>,
    mailbox: Arc<Mailbox>,
    site: Site,
    address: SocketAddr,
    dscp: u8,
}

impl WanSocket {
    pub(super) fn new(
        shared: Arc<Shared>,
        mailbox: Arc<Mailbox>,
        site: Site,
        address: SocketAddr,
        dscp: u8,
    ) -> Self {
        Self {
            shared,
            mailbox,
            site,
            address,
            dscp,
        }
    }

    /// The mark on the last packet from `remote`, `None` before the first. Remembers
    /// some thousands of addresses and forgets all when there are more.
    pub fn observed_dscp(&self, remote: SocketAddr) -> Option<u8> {
        self.mailbox.observed_dscp(remote)
    }

    /// The mark on every packet that this socket sends.
    pub fn dscp(&self) -> u8 {
        self.dscp
    }

    /// Where the socket is.
    pub fn site(&self) -> Site {
        self.site
    }

    fn receive(&self, datagram: &Datagram, buffer: &mut IoSliceMut<'_>, meta: &mut RecvMeta) {
        // A buffer too small cuts the datagram, as in recvmsg.
        let length = datagram.contents.len().min(buffer.len());
        buffer[..length].copy_from_slice(&datagram.contents[..length]);
        meta.addr = datagram.source;
        meta.len = length;
        meta.stride = length;
        meta.ecn = datagram.ecn;
        meta.dst_ip = Some(self.address.ip());
    }
}

impl AsyncUdpSocket for WanSocket {
    fn create_io_poller(self: Arc<Self>) -> Pin<Box<dyn UdpPoller>> {
        Box::pin(AlwaysWritable)
    }

    fn try_send(&self, transmit: &Transmit<'_>) -> io::Result<()> {
        if self.mailbox.is_detached() {
            return Ok(());
        }
        let whole = transmit.contents.len().max(1);
        let segment_size = transmit.segment_size.unwrap_or(whole).max(1);
        let send = |contents: &[u8]| {
            let outgoing = Outgoing {
                site: self.site,
                dscp: self.dscp,
                datagram: Datagram {
                    source: self.address,
                    destination: transmit.destination,
                    ecn: transmit.ecn,
                    contents: Bytes::copy_from_slice(contents),
                },
            };
            self.shared.act(|state, now| state.send(now, outgoing));
        };
        if transmit.contents.is_empty() {
            send(&[]);
        }
        transmit.contents.chunks(segment_size).for_each(send);
        Ok(())
    }

    fn poll_recv(
        &self,
        cx: &mut Context<'_>,
        bufs: &mut [IoSliceMut<'_>],
        meta: &mut [RecvMeta],
    ) -> Poll<io::Result<usize>> {
        let mut slots = bufs.iter_mut().zip(meta);
        let Some((buffer, meta)) = slots.next() else {
            return Poll::Ready(Ok(0));
        };
        let Some(first) = self.mailbox.take_or_wait(cx.waker()) else {
            return Poll::Pending;
        };
        self.receive(&first, buffer, meta);
        let mut received = 1;
        for (buffer, meta) in slots {
            let Some(datagram) = self.mailbox.take() else {
                break;
            };
            self.receive(&datagram, buffer, meta);
            received += 1;
        }
        Poll::Ready(Ok(received))
    }

    fn local_addr(&self) -> io::Result<SocketAddr> {
        Ok(self.address)
    }

    fn may_fragment(&self) -> bool {
        false
    }
}

impl Drop for WanSocket {
    fn drop(&mut self) {
        self.mailbox.detach();
        let mut state = self.shared.lock();
        // After a crash the address may already be somebody else's.
        if let Some(bound) = state.sockets.get(&self.address)
            && Arc::ptr_eq(&bound.mailbox, &self.mailbox)
        {
            state.sockets.remove(&self.address);
        }
    }
}

impl fmt::Debug for WanSocket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("WanSocket")
            .field("site", &self.site)
            .field("address", &self.address)
            .field("dscp", &self.dscp)
            .finish_non_exhaustive()
    }
}

/// A send never waits: what the link can't hold, it drops.
#[derive(Debug)]
struct AlwaysWritable;

impl UdpPoller for AlwaysWritable {
    fn poll_writable(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }
}

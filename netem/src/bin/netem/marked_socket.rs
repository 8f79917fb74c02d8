//! A UDP socket that marks what it sends and tells the mark of what it receives.

use std::cell::Cell;
use std::io::{self, IoSliceMut};
use std::net::{SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::time::Duration;

use anyhow::Result;
use nix::sys::socket::{
    ControlMessageOwned, MsgFlags, SockaddrStorage, recvmsg, setsockopt, sockopt,
};

/// A UDP socket with one mark.
pub struct MarkedSocket {
    socket: UdpSocket,
    /// What the kernel was told last, to tell it only what is new.
    patience: Cell<Option<Duration>>,
}

impl MarkedSocket {
    /// Gives `socket` its mark, 0 to 63.
    pub fn new(socket: UdpSocket, dscp: u8) -> Result<Self> {
        let traffic_class = i32::from(dscp) << 2;
        if socket.local_addr()?.is_ipv4() {
            setsockopt(&socket, sockopt::Ipv4Tos, &traffic_class)?;
            setsockopt(&socket, sockopt::IpRecvTos, &true)?;
        } else {
            setsockopt(&socket, sockopt::Ipv6TClass, &traffic_class)?;
            setsockopt(&socket, sockopt::Ipv6RecvTClass, &true)?;
        }
        Ok(Self {
            socket,
            patience: Cell::new(None),
        })
    }

    /// The socket's own address.
    pub fn local_addr(&self) -> io::Result<SocketAddr> {
        self.socket.local_addr()
    }

    /// Sends one packet.
    pub fn send_to(&self, payload: &[u8], to: SocketAddr) -> io::Result<()> {
        self.socket.send_to(payload, to).map(drop)
    }

    /// Waits for a packet: its length, mark and sender. `None` after `patience`.
    pub fn receive(
        &self,
        buffer: &mut [u8],
        patience: Duration,
    ) -> Result<Option<(usize, u8, SocketAddr)>> {
        if self.patience.get() != Some(patience) {
            // Zero would mean: for ever.
            let limit = patience.max(Duration::from_micros(1));
            self.socket.set_read_timeout(Some(limit))?;
            self.patience.set(Some(patience));
        }
        let mut control = nix::cmsg_space!(i32);
        let mut parts = [IoSliceMut::new(buffer)];
        let received = recvmsg::<SockaddrStorage>(
            self.socket.as_raw_fd(),
            &mut parts,
            Some(&mut control),
            MsgFlags::empty(),
        );
        let received = match received {
            Err(nix::errno::Errno::EAGAIN | nix::errno::Errno::EINTR) => return Ok(None),
            result => result?,
        };
        let dscp = received.cmsgs()?.find_map(|message| match message {
            ControlMessageOwned::Ipv4Tos(tos) => Some(tos >> 2),
            ControlMessageOwned::Ipv6TClass(class) => u8::try_from(class >> 2).ok(),
            _ => None,
        });
        let from = received.address.as_ref().and_then(|address| {
            let v4 = address
                .as_sockaddr_in()
                .map(|v4| SocketAddr::V4((*v4).into()));
            v4.or_else(|| {
                address
                    .as_sockaddr_in6()
                    .map(|v6| SocketAddr::V6((*v6).into()))
            })
        });
        let (Some(dscp), Some(from)) = (dscp, from) else {
            return Ok(None);
        };
        Ok(Some((received.bytes, dscp, from)))
    }
}

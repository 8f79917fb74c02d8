//! Two hosts of a WAN and UDP packets between them.

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;

use anyhow::{Context, Result, bail};

use crate::marked_socket::MarkedSocket;
use crate::namespaces;
use crate::state::{Host, State};

/// Two hosts and what goes between them.
pub struct Ends {
    /// Who sends.
    pub from: Host,
    /// Who receives.
    pub to: Host,
    /// Bytes of a packet without its headers.
    pub payload_bytes: usize,
    ipv6: bool,
}

impl Ends {
    /// Finds them by name; `size` is that of IP packets.
    pub fn find(state: &State, from: &str, to: &str, size: usize, ipv6: bool) -> Result<Self> {
        let (from, to) = (state.host(from)?.clone(), state.host(to)?.clone());
        let headers = header_bytes(if ipv6 { to.ipv6.into() } else { to.ipv4.into() });
        let smallest = headers + 4;
        let largest = state.mtu_bytes as usize;
        if !(smallest..=largest).contains(&size) {
            bail!("--size must be {smallest} to {largest}, not {size}");
        }
        Ok(Self {
            from,
            to,
            payload_bytes: size - headers,
            ipv6,
        })
    }

    /// A socket on one of them.
    pub fn socket(&self, host: &Host, dscp: u8) -> Result<MarkedSocket> {
        let address: IpAddr = if self.ipv6 {
            host.ipv6.into()
        } else {
            host.ipv4.into()
        };
        let namespace = host.namespace.clone();
        let make = move || -> Result<MarkedSocket> {
            namespaces::enter(&namespace)?;
            let socket = UdpSocket::bind(SocketAddr::new(address, 0))
                .with_context(|| format!("can't bind a socket at {address}"))?;
            MarkedSocket::new(socket, dscp)
        };
        let made = std::thread::spawn(make).join();
        made.map_err(|_| anyhow::anyhow!("making a socket panicked"))?
    }
}

/// Size of UDP and IP headers, by IP version.
const fn header_bytes(address: IpAddr) -> usize {
    match address {
        IpAddr::V4(_) => 28,
        IpAddr::V6(_) => 48,
    }
}

/// A thread that runs until it is told to stop.
pub struct Background<T> {
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<Result<T>>>,
}

impl<T: Send + 'static> Background<T> {
    /// Starts it; `body` looks at its argument now and then.
    pub fn start(body: impl FnOnce(&AtomicBool) -> Result<T> + Send + 'static) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let told = stop.clone();
        let thread = std::thread::spawn(move || body(&told));
        Self {
            stop,
            thread: Some(thread),
        }
    }

    /// Tells it to stop and waits for its result.
    pub fn stop(&mut self) -> Result<T> {
        self.stop.store(true, Ordering::Relaxed);
        let thread = self.thread.take().context("stopped once")?;
        thread
            .join()
            .map_err(|_| anyhow::anyhow!("the other end panicked"))?
    }
}

//! Congestion by TCP: bulk transfers between two hosts, unmarked, as long as wanted.

use std::fs::File;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sched::{CloneFlags, setns};

/// Most flows on a link.
pub const FLOWS_MAX: usize = 64;

/// What is handed to the kernel at once.
const CHUNK_BYTES: usize = 64 << 10;

/// How long a flow waits for its connection, and before it tries again.
const RETRY: Duration = Duration::from_secs(2);

/// Bulk transfers in one direction. Dropping it ends them.
pub struct TcpFlows {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
    flows: usize,
}

#[derive(Default)]
struct Shared {
    stopped: AtomicBool,
    /// Every open connection's ends, so that stopping ends reads and writes at once.
    streams: Mutex<Vec<TcpStream>>,
}

impl Shared {
    fn is_stopped(&self) -> bool {
        self.stopped.load(Ordering::SeqCst)
    }

    /// Keeps a handle to `stream`; false if it came too late.
    fn keep(&self, stream: &TcpStream) -> bool {
        let Ok(handle) = stream.try_clone() else {
            return false;
        };
        let mut streams = self.streams.lock().unwrap_or_else(PoisonError::into_inner);
        if self.is_stopped() {
            return false;
        }
        streams.push(handle);
        true
    }
}

impl TcpFlows {
    /// Starts `flows` transfers from a host to a host, by namespace and address.
    pub fn start(from: PathBuf, to: &Path, address: Ipv4Addr, flows: usize) -> Result<Self> {
        let shared = Arc::new(Shared::default());
        let listener = listen(to.to_owned())?;
        let port = listener.local_addr()?.port();
        let mut threads = Vec::new();
        let sink = shared.clone();
        threads.push(std::thread::spawn(move || swallow(&listener, &sink)));
        for _ in 0..flows {
            let (from, shared) = (from.clone(), shared.clone());
            let to = SocketAddr::new(address.into(), port);
            threads.push(std::thread::spawn(move || pour(&from, to, &shared)));
        }
        Ok(Self {
            shared,
            threads,
            flows,
        })
    }

    /// How many there are.
    pub fn flows(&self) -> usize {
        self.flows
    }
}

impl Drop for TcpFlows {
    fn drop(&mut self) {
        let mut streams = self
            .shared
            .streams
            .lock()
            .unwrap_or_else(PoisonError::into_inner);
        self.shared.stopped.store(true, Ordering::SeqCst);
        for stream in streams.drain(..) {
            let _ = stream.shutdown(Shutdown::Both);
        }
        drop(streams);
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

/// A socket keeps the namespace in which it was made, whoever uses it.
fn listen(namespace: PathBuf) -> Result<TcpListener> {
    let make = move || -> Result<TcpListener> {
        enter(&namespace)?;
        let listener = TcpListener::bind((Ipv4Addr::UNSPECIFIED, 0))?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    let made = std::thread::spawn(make).join();
    made.map_err(|_| anyhow::anyhow!("making a socket panicked"))?
}

fn enter(namespace: &Path) -> Result<()> {
    let file =
        File::open(namespace).with_context(|| format!("can't open {}", namespace.display()))?;
    Ok(setns(file, CloneFlags::CLONE_NEWNET)?)
}

/// Takes what comes and throws it away.
fn swallow(listener: &TcpListener, shared: &Arc<Shared>) {
    let mut readers = Vec::new();
    while !shared.is_stopped() {
        match listener.accept() {
            Ok((mut stream, _)) => {
                if stream.set_nonblocking(false).is_err() || !shared.keep(&stream) {
                    continue;
                }
                readers.push(std::thread::spawn(move || {
                    let mut chunk = vec![0; CHUNK_BYTES];
                    while stream.read(&mut chunk).is_ok_and(|read| read > 0) {}
                }));
            }
            Err(_) => std::thread::sleep(Duration::from_millis(20)),
        }
    }
    for reader in readers {
        let _ = reader.join();
    }
}

/// Sends until stopped; a connection that breaks is made anew.
fn pour(from: &Path, to: SocketAddr, shared: &Shared) {
    if let Err(error) = enter(from) {
        eprintln!("netem: a TCP flow does not start: {error:#}");
        return;
    }
    let chunk = vec![0; CHUNK_BYTES];
    while !shared.is_stopped() {
        let Ok(mut stream) = TcpStream::connect_timeout(&to, RETRY) else {
            continue;
        };
        if shared.keep(&stream) {
            while stream.write_all(&chunk).is_ok() {}
        }
    }
}

//! What commands and the router say to each other: one line of JSON each way over a
//! Unix socket.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use netem::{FlowCounters, Lateness};
use nix::sys::socket::{getsockopt, sockopt};
use serde::{Deserialize, Serialize};

use crate::state::{self, ProcessId, State};

/// Longest line; a status with [`netem::SITES_MAX`] sites is far below.
const LINE_BYTES_MAX: u64 = 16 << 20;

/// How long either side waits for the other.
pub const PATIENCE: Duration = Duration::from_secs(10);

/// What a command asks.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Request {
    /// How things are.
    Status {
        /// Begin the next window of lateness.
        begin_window: bool,
    },
    /// Cross traffic made inside the router.
    Congest {
        /// The link's position.
        link: usize,
        /// Of its rate; 0 for none.
        load: f64,
    },
    /// TCP flows between the first hosts of a pair of sites whose path takes the link.
    TcpFlows {
        /// The link's position.
        link: usize,
        /// How many; 0 for none.
        flows: usize,
    },
    /// Changes to a link, in the words of `netem set`.
    Set {
        /// The link's position.
        link: usize,
        /// The words.
        words: Vec<String>,
    },
}

/// What the router answers.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub enum Answer {
    /// It is done.
    Done,
    /// How things are.
    Status(Box<Status>),
    /// It was refused; nothing was changed.
    Refused(String),
}

/// How a WAN is. Counters run since it came up.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct Status {
    /// Time since it came up, in seconds.
    pub seconds: f64,
    /// The router.
    pub router: RouterStatus,
    /// Every link.
    pub links: Vec<LinkStatus>,
}

/// How the router is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct RouterStatus {
    /// How the kernel schedules its thread.
    pub scheduling: String,
    /// What its thread has used of a processor, in seconds.
    pub cpu_seconds: f64,
    /// Packets read from hosts.
    pub read_packets: u64,
    /// Packets written to hosts.
    pub written_packets: u64,
    /// Packets to an address that no host has (multicast among them).
    pub no_host_packets: u64,
    /// Packets that a host's interface refused.
    pub refused_packets: u64,
    /// Packets that found the queue between a host and the router full, because the
    /// router was too slow: the WAN is not what its file says.
    pub overrun_packets: u64,
    /// How late packets were written, since the WAN came up.
    pub lateness: Lateness,
    /// The same since the last window began.
    pub window: Lateness,
}

/// How a link is.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub struct LinkStatus {
    /// Its name.
    pub name: String,
    /// Whether it is up.
    pub up: bool,
    /// Rate, in bits per second.
    pub rate_bits_per_second: u64,
    /// What may wait, in bytes.
    pub buffer_bytes: u64,
    /// Propagation, in µs.
    pub delay_us: u64,
    /// Most that jitter adds, in µs.
    pub jitter_us: u64,
    /// Chance of loss.
    pub loss: f64,
    /// Marks that are served first.
    pub priority_dscps: Vec<u8>,
    /// What the priority class is held to, in bits per second.
    pub police_bits_per_second: Option<u64>,
    /// Marks that are rewritten: from, to.
    pub remark: Vec<(u8, u8)>,
    /// Cross traffic offered, of the rate.
    pub load: f64,
    /// TCP flows started by `netem congest --tcp`.
    pub tcp_flows: usize,
    /// The priority class.
    pub priority: FlowStatus,
    /// The default class.
    pub bulk: FlowStatus,
    /// Cross traffic made inside the router, in the default class.
    pub cross: FlowStatus,
}

/// One class's counters on a link.
#[derive(Clone, Copy, Debug, Default, Serialize, Deserialize)]
pub struct FlowStatus {
    /// The link's own.
    #[serde(flatten)]
    pub counters: FlowCounters,
    /// Dropped for any cause.
    pub dropped_packets: u64,
    /// Packets whose wait is known: those that arrived (cross traffic: that were sent).
    pub waited_packets: u64,
    /// What they took from the link's entrance to its wire, all together, in µs.
    pub waited_us: u64,
}

/// Asks the router of `state`.
pub fn ask(state: &State, request: &Request) -> Result<Answer> {
    exchange(state, request).or_else(|error| {
        // It may have died since the state was read: then that is what to say.
        State::chosen(Some(&state.name))?;
        Err(error)
    })
}

fn exchange(state: &State, request: &Request) -> Result<Answer> {
    let path = state.control_socket()?;
    let stream = UnixStream::connect(&path).with_context(|| {
        format!(
            "the router of {:?} doesn't listen at {}",
            state.name,
            path.display()
        )
    })?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    write_line(&stream, request)?;
    match read_line(&stream).context("the router does not answer")? {
        Answer::Refused(why) => bail!(why),
        answer => Ok(answer),
    }
}

/// Asks the router how things are.
pub fn status(state: &State, begin_window: bool) -> Result<Status> {
    match ask(state, &Request::Status { begin_window })? {
        Answer::Status(status) => Ok(*status),
        other => bail!("the router answered {other:?}"),
    }
}

/// The process that listens on the control socket of a WAN of that name, whatever its state
/// says; `None` if none does.
pub fn listener(name: &str) -> Result<Option<ProcessId>> {
    let path = state::control_socket(name)?;
    let listening = || {
        let stream = UnixStream::connect(&path).ok()?;
        // Of a connection that was not accepted yet, too: whoever called `listen`.
        let peer = getsockopt(&stream, sockopt::PeerCredentials).ok()?;
        Some(peer.pid())
    };
    let process = listening().and_then(ProcessId::running);
    // Listened to still, it was no later process under the number that was looked at.
    Ok(process.filter(|process| listening() == Some(process.pid)))
}

/// Reads one line.
pub fn read_line<T: for<'a> Deserialize<'a>>(stream: &UnixStream) -> Result<T> {
    let mut line = String::new();
    BufReader::new(stream.take(LINE_BYTES_MAX)).read_line(&mut line)?;
    Ok(serde_json::from_str(&line)?)
}

/// Writes one line.
pub fn write_line<T: Serialize>(mut stream: &UnixStream, message: &T) -> Result<()> {
    let mut line = serde_json::to_vec(message)?;
    line.push(b'\n');
    stream.write_all(&line)?;
    Ok(())
}

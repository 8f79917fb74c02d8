//! One running node: the protocol core between two transports, a storage and a
//! port for clients.
//!
//! ```text
//! thread vivace-priority   the protocol core and the priority connections
//! thread vivace-bulk       the bulk connections   } on the first too,
//! thread vivace-clients    the port for clients   } where `Threads` says so
//! threads of the storage   see `storage`
//! ```

mod core;
mod options;

use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use vivace_core::Incarnation;
use vivace_core::client_protocol::{Failure, Request, Success};
use vivace_core::status::NodeStatus;

use self::core::Core;
pub use self::options::{NodeOptions, Sockets, StartError};
use self::options::{agreements, peers, sockets};
use crate::client_port::{Answer, ClientPort, ClientPortError};
use crate::config::StorageConfig;
use crate::event_loop::EventLoop;
use crate::storage::Claimed;
use crate::storage::layout::Layout;
use crate::storage::peer_states::PeerStates;
use crate::threads::{Task, Threads};
use crate::transport::{Transport, TransportConfig};

/// Events from peers that wait for the core; beyond it priority messages are
/// dropped (and repeated by their senders) and bulk waits.
const EVENTS_MAX: usize = 8192;

/// Requests of clients that wait for the core; beyond it clients hear `Busy`.
pub const REQUESTS_MAX: usize = 4096;

/// A client's request, as the client port hands it over.
pub struct Asked {
    /// The operation.
    pub request: Request,
    /// Who asks, as logs name it.
    pub client: Arc<str>,
    /// When the client gives up.
    pub deadline: Instant,
    /// Where the answer goes.
    pub answer: Answer,
}

/// A node that runs until it is dropped or [`RunningNode::shutdown`] is called.
pub struct RunningNode {
    transport: Arc<Transport>,
    clients: ClientPort,
    stop: mpsc::Sender<()>,
    asked: mpsc::Sender<Asked>,
}

impl RunningNode {
    /// Starts the node: claims its storage, binds its sockets, recovers, and connects.
    ///
    /// # Errors
    /// [`StartError`]; nothing is left running.
    pub fn start(mut options: NodeOptions) -> Result<Self, StartError> {
        options.scheduling.check()?;
        let threads = options.threads.under(options.scheduling);
        tracing::info!("{threads}");
        let (events_sender, events) = mpsc::channel(EVENTS_MAX);
        let (asked, requests) = mpsc::channel(REQUESTS_MAX);
        let (stop, stopped) = mpsc::channel(1);

        let claimed = match &options.storage {
            StorageConfig::Memory => None,
            StorageConfig::Disk(settings) => Some(Claimed::claim(
                settings,
                &options.cluster.owner(options.node),
                Layout::of(&options.cluster.cluster),
            )?),
        };
        let incarnation = match &claimed {
            Some(claimed) => claimed.incarnation()?,
            // Two lives of one node share it once in 65,535 times.
            None => Incarnation(rand::random_range(1..=u16::MAX)),
        };
        // Whatever may refuse comes before the disk is told of another life: there are not
        // more than 65,535.
        let made = std::mem::replace(&mut options.sockets, Sockets::Udp);
        let (priority, bulk) = sockets(made, &options.cluster, options.node);
        let transport_config = TransportConfig {
            cluster: options.cluster.name.clone(),
            cluster_id: options.cluster.id,
            me: options.node,
            site: options.cluster.addresses[&options.node].site,
            incarnation,
            state: claimed.as_ref().map(Claimed::history),
            peer_states: match &claimed {
                Some(claimed) => Some(Arc::new(claimed.peer_states()?)),
                None => None,
            },
            identity: options.identity.clone(),
            containers: agreements(&options.cluster),
            peers: peers(&options.cluster, options.node),
            limits: options.limits.clone(),
            threads: options.threads,
            scheduling: options.scheduling,
        };
        let knows_nobody = |states: &Arc<PeerStates>| incarnation.0 > 1 && states.is_empty();
        let is_alone = transport_config.peers.is_empty();
        if !is_alone
            && transport_config
                .peer_states
                .as_ref()
                .is_some_and(knows_nobody)
        {
            tracing::info!(
                "no peer was met before this start, or the data directory's file `peers` is gone: \
                 a peer whose state was emptied or put back meanwhile would not be noticed"
            );
        }
        let transport = Arc::new(Transport::bind(
            transport_config,
            priority,
            bulk,
            events_sender,
        )?);
        let client_refusals = Arc::default();
        let clients_loop = match threads {
            Threads::Split => EventLoop::start(options.scheduling, Task::Clients)
                .map_err(ClientPortError::Thread)?,
            Threads::Shared => transport
                .priority_loop()
                .expect("the transport has just begun"),
        };
        let clients = ClientPort::bind(
            clients_loop,
            options.client_address,
            &options.identity,
            &options.cluster,
            asked.clone(),
            Arc::clone(&client_refusals),
        )?;
        let (core, reports) = Core::recover(&options, claimed, incarnation, client_refusals)?;
        let drive = core.drive(transport.clone(), events, requests, reports, stopped);
        transport.priority_handle().spawn(drive);
        transport.connect();
        clients.open();
        Ok(Self {
            transport,
            clients,
            stop,
            asked,
        })
    }

    /// The address that clients connect to.
    pub fn client_address(&self) -> SocketAddr {
        self.clients.local_address()
    }

    /// The node's view of itself.
    ///
    /// # Errors
    /// [`Failure`] when the node is stopping.
    pub async fn status(&self) -> Result<NodeStatus, Failure> {
        let gone = || Failure::Unavailable {
            reason: "the node is stopping".into(),
        };
        let (answer, heard) = Answer::once(&Request::Status);
        let deadline = Instant::now() + Duration::from_secs(5);
        let asked = Asked {
            request: Request::Status,
            client: Arc::from("this node"),
            deadline,
            answer,
        };
        self.asked.send(asked).await.map_err(|_| gone())?;
        match heard.await.map_err(|_| gone())?? {
            Success::Status(status) => Ok(*status),
            other => unreachable!("a status request yields a status, not {other:?}"),
        }
    }

    /// Stops taking requests, closes all connections, ends all threads.
    pub fn shutdown(&self) {
        self.clients.shutdown();
        let _ = self.stop.try_send(());
        self.transport.shutdown();
    }
}

impl Drop for RunningNode {
    fn drop(&mut self) {
        self.shutdown();
    }
}

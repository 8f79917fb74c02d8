//! The clients' own thread. Killing, starting and filling up block for as long as the
//! operating system likes; were the clients on that thread, their operations would seem to
//! end after their deadlines.

use std::path::PathBuf;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, anyhow};

use super::load::{Load, run_client};

/// How often it is looked whether the thread has its turn.
const TICK: Duration = Duration::from_millis(5);

/// Clients that ask until their load is over.
pub struct Clients {
    thread: JoinHandle<anyhow::Result<()>>,
}

impl Clients {
    /// Starts `count`, spread over the client files.
    ///
    /// # Errors
    /// The operating system has no more threads.
    pub fn start(load: &Arc<Load>, count: u32, files: &[PathBuf]) -> anyhow::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()?;
        let (load, files) = (load.clone(), files.to_vec());
        let run = async move {
            let clients: Vec<_> = (0..count)
                .map(|number| {
                    let file = files[number as usize % files.len()].clone();
                    let load = load.clone();
                    tokio::spawn(async move { run_client(load, number, &file).await })
                })
                .collect();
            let watch = tokio::spawn(async move { watch(&load).await });
            for client in clients {
                client.await.context("a client")??;
            }
            watch.await.context("the watch")
        };
        let thread = thread::Builder::new().name("clients".into());
        let thread = thread.spawn(move || runtime.block_on(run))?;
        Ok(Self { thread })
    }

    /// Waits until they have ended.
    ///
    /// # Errors
    /// A client file can't be used.
    pub fn join(self) -> anyhow::Result<()> {
        let ended = self.thread.join();
        ended.map_err(|_| anyhow!("the clients' thread panicked"))?
    }
}

/// Notes how late this thread gets its turn: no client can end its operations earlier.
async fn watch(load: &Load) {
    while !load.is_over() {
        let due = Instant::now() + TICK;
        tokio::time::sleep_until(due.into()).await;
        load.record.stalled(due.elapsed());
    }
}

//! Ctrl-C: stop measuring, but keep what was measured.

use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::watch;

/// The exit code after Ctrl-C or SIGTERM, as shells have it for Ctrl-C.
pub const INTERRUPTED_EXIT_CODE: u8 = 130;

/// Whether the user wants the run to stop. Clones hear the same.
#[derive(Clone, Debug)]
pub struct Interrupt(watch::Receiver<bool>);

impl Interrupt {
    /// One that listens for Ctrl-C (SIGINT) and SIGTERM from now on. The first asks the
    /// run to stop, the second ends the process.
    ///
    /// # Errors
    /// The operating system's.
    ///
    /// # Panics
    /// Outside of a Tokio runtime.
    pub fn listen() -> std::io::Result<Self> {
        let (mut ctrl_c, mut terminate) = (
            signal(SignalKind::interrupt())?,
            signal(SignalKind::terminate())?,
        );
        let (raise, raised) = watch::channel(false);
        tokio::spawn(async move {
            for first in [true, false] {
                tokio::select! {
                    _ = ctrl_c.recv() => {}
                    _ = terminate.recv() => {}
                }
                if !first {
                    std::process::exit(i32::from(INTERRUPTED_EXIT_CODE));
                }
                // Nobody hears it only where the run is over anyway.
                let _ = raise.send(true);
            }
        });
        Ok(Self(raised))
    }

    /// One that is raised by hand, and what raises it by sending true.
    pub fn by_hand() -> (Self, watch::Sender<bool>) {
        let (raise, raised) = watch::channel(false);
        (Self(raised), raise)
    }

    /// Whether it was raised.
    pub fn is_raised(&self) -> bool {
        *self.0.borrow()
    }

    /// What `future` yields; `None` where the interrupt is raised first. The future is
    /// dropped then.
    pub async fn unless_raised<T>(&self, future: impl Future<Output = T>) -> Option<T> {
        tokio::select! {
            output = future => Some(output),
            () = self.raised() => None,
        }
    }

    async fn raised(&self) {
        let mut raised = self.0.clone();
        if raised.wait_for(|&raised| raised).await.is_err() {
            // Nobody is left who could raise it.
            std::future::pending::<()>().await;
        }
    }
}

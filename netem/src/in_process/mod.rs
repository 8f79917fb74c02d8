//! The in-process driver: the WAN against the wall clock, behind virtual UDP sockets.
//!
//! ```text
//! try_send ──▶ ┌───────┐ enqueue                    due      ┌─────────┐ wake
//!   (any       │ state │ ────────▶ WanModel ──▶ delivery ──▶ │ mailbox │ ────▶ poll_recv
//!   thread)    └───────┘                        thread       └─────────┘
//! ```
//!
//! Packets enter the model at the moment they are sent, under one lock. One thread
//! sleeps until the next packet is due and moves it into its socket's mailbox; when
//! the thread is late, that packet is late, but nothing in the model shifts.

mod delivery;
mod mailbox;
mod socket;
mod state;
mod wan;

pub use mailbox::RECEIVE_BUFFER_BYTES;
pub use socket::WanSocket;
pub use wan::{SocketError, StartError, Wan, WanStats};

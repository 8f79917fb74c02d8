//! The thread that delivers on time.

use std::sync::Arc;
use std::{fs, io, thread};

use super::state::Shared;

/// Starts the delivery thread; it ends when the WAN is stopped.
pub(super) fn spawn(shared: Arc<Shared>) -> io::Result<thread::JoinHandle<()>> {
    thread::Builder::new()
        .name("wan-delivery".into())
        .spawn(move || {
            sharpen_timers();
            run(&shared);
        })
}

fn run(shared: &Shared) {
    let mut wake = Vec::new();
    while let Some(mut state) = shared.wait_until_due() {
        let now = shared.now();
        state.deliver(now, &mut wake);
        drop(state);
        // Outside the lock: a task that wakes may run at once, and send.
        for waker in wake.drain(..) {
            waker.wake();
        }
    }
}

/// Lets this thread's sleeps end within a microsecond of their time, where Linux would
/// add up to 50 µs to save power. Without it packets are merely that much later.
fn sharpen_timers() {
    let Ok(me) = fs::read_link("/proc/thread-self") else {
        return;
    };
    if let Some(id) = me.file_name() {
        let file = std::path::Path::new("/proc").join(id).join("timerslack_ns");
        let _ = fs::write(file, "1000");
    }
}

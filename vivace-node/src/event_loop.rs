//! The threads that run connections: a runtime of one thread each, and what it serves.

use std::convert::Infallible;
use std::future::Future;
use std::io;
use std::sync::mpsc;
use std::sync::{Arc, Mutex};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use tokio::runtime::{Builder, Handle, Runtime};
use tokio::sync::oneshot;

use crate::threads::{Scheduling, Task};
use crate::transport::lock::lock;

/// How long blocking tasks on the runtime may take to end with it.
const BLOCKING_TASKS_TIMEOUT: Duration = Duration::from_millis(500);

/// A thread with a runtime of its own, until its last owner lets it go; what runs there ends
/// with it.
pub(crate) struct EventLoop {
    runtime: Handle,
    /// Dropped, it ends the thread.
    running: Option<oneshot::Sender<Infallible>>,
    thread: Option<JoinHandle<()>>,
}

impl EventLoop {
    /// Starts the thread.
    ///
    /// # Errors
    /// The operating system's, where it has no more threads or files.
    pub(crate) fn start(scheduling: Scheduling, task: Task) -> io::Result<Arc<Self>> {
        let (running, stopped) = oneshot::channel();
        let (made, is_made) = mpsc::sync_channel(1);
        let thread = scheduling.spawn(task, move || {
            let runtime = match runtime_of(task) {
                Ok(runtime) => runtime,
                Err(error) => return drop(made.send(Err(error))),
            };
            let _ = made.send(Ok(runtime.handle().clone()));
            // Nothing is ever sent: it is told by the sender's end.
            let _ = runtime.block_on(stopped);
            runtime.shutdown_timeout(BLOCKING_TASKS_TIMEOUT);
        })?;
        let runtime = is_made.recv().expect("the thread answers")?;
        Ok(Arc::new(Self {
            runtime,
            running: Some(running),
            thread: Some(thread),
        }))
    }

    /// Where to spawn what is to run here.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    fn is_current(&self) -> bool {
        let thread = self.thread.as_ref().map(JoinHandle::thread);
        thread.is_some_and(|thread| thread.id() == thread::current().id())
    }
}

fn runtime_of(task: Task) -> io::Result<Runtime> {
    let mut builder = Builder::new_current_thread();
    if task == Task::Clients {
        // Replies come from another thread: those that are there at once are all written
        // before the driver sends; by default each was a packet of its own.
        builder.global_queue_interval(1);
    }
    builder.enable_all().build()
}

impl Drop for EventLoop {
    /// Waits for the thread's end, unless it is the caller's own.
    fn drop(&mut self) {
        drop(self.running.take());
        if self.is_current() {
            return;
        }
        if let Some(thread) = self.thread.take()
            && thread.join().is_err()
        {
            tracing::error!("a thread of connections had panicked");
        }
    }
}

/// Ends the whole process when what it names panics: peers and clients would take its open
/// connections for life.
pub(crate) struct AbortOnPanic(pub(crate) &'static str);

impl Drop for AbortOnPanic {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!("{} panicked: the process ends", self.0);
            std::process::abort();
        }
    }
}

/// What a loop serves. The loop lasts until that has ended, and has been joined.
pub(crate) struct Service {
    runtime: Handle,
    on: Mutex<Option<Arc<EventLoop>>>,
    /// Closed when the service has ended.
    ended: Mutex<mpsc::Receiver<Infallible>>,
}

impl Service {
    /// Runs `body` on the loop.
    pub(crate) fn start(
        on: Arc<EventLoop>,
        body: impl Future<Output = ()> + Send + 'static,
    ) -> Self {
        let (serving, ended) = mpsc::channel();
        let kept = on.clone();
        on.runtime().spawn(async move {
            let _serving: mpsc::Sender<Infallible> = serving;
            let _abort = AbortOnPanic("what serves connections");
            body.await;
            // Where the owner has let go of the loop from here, it ends now, and not before.
            drop(kept);
        });
        Self {
            runtime: on.runtime().clone(),
            on: Mutex::new(Some(on)),
            ended: Mutex::new(ended),
        }
    }

    /// Its loop's runtime.
    pub(crate) fn runtime(&self) -> &Handle {
        &self.runtime
    }

    /// Its loop, until it has been joined.
    pub(crate) fn event_loop(&self) -> Option<Arc<EventLoop>> {
        lock(&self.on).clone()
    }

    /// Waits for its end and lets its loop go; on the loop's own thread it does not wait.
    /// Whoever calls has told the service to end. Further calls do nothing.
    pub(crate) fn join(&self) {
        let Some(on) = lock(&self.on).take() else {
            return;
        };
        if !on.is_current() {
            // Nothing is ever sent: it is told by the sender's end.
            let _ = lock(&self.ended).recv();
        }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};

    use super::*;

    fn a_loop() -> Arc<EventLoop> {
        EventLoop::start(Scheduling::Inherited, Task::Bulk).expect("a thread")
    }

    /// Sets its flag when it is let go.
    struct Guard(Arc<AtomicBool>);

    impl Drop for Guard {
        fn drop(&mut self) {
            self.0.store(true, Ordering::SeqCst);
        }
    }

    #[test]
    fn services_share_a_loop_that_ends_with_the_last_of_them() {
        let shared = a_loop();
        let gone = Arc::new(AtomicBool::new(false));
        let guard = Guard(gone.clone());
        shared.runtime().spawn(async move {
            let _guard = guard;
            std::future::pending::<()>().await;
        });
        let (stop, stopped) = oneshot::channel::<()>();
        let first = Service::start(shared.clone(), async {});
        let second = Service::start(shared, async move {
            let _ = stopped.await;
        });
        first.join();
        assert!(!gone.load(Ordering::SeqCst), "the second still runs");
        stop.send(()).expect("it listens");
        second.join();
        assert!(gone.load(Ordering::SeqCst), "what ran there ended with it");
    }

    #[test]
    fn a_service_that_is_joined_from_its_own_loop_ends_soon_after() {
        let shared = a_loop();
        let gone = Arc::new(AtomicBool::new(false));
        let guard = Guard(gone.clone());
        let runtime = shared.runtime().clone();
        let (stop, stopped) = oneshot::channel::<()>();
        let said_goodbye = Arc::new(AtomicBool::new(false));
        let goodbye = Guard(said_goodbye.clone());
        let service = Service::start(shared, async move {
            let _ = stopped.await;
            tokio::time::sleep(Duration::from_millis(50)).await;
            drop(goodbye);
        });
        let (done, is_done) = mpsc::channel();
        runtime.spawn(async move {
            let _guard = guard;
            stop.send(()).expect("it listens");
            service.join();
            done.send(()).expect("the test waits");
            std::future::pending::<()>().await;
        });
        let patience = Duration::from_secs(10);
        is_done.recv_timeout(patience).expect("it does not hang");
        assert!(!said_goodbye.load(Ordering::SeqCst), "nobody waited for it");
        let deadline = std::time::Instant::now() + patience;
        while !gone.load(Ordering::SeqCst) {
            assert!(std::time::Instant::now() < deadline, "the loop never ended");
            thread::sleep(Duration::from_millis(2));
        }
        assert!(
            said_goodbye.load(Ordering::SeqCst),
            "the service was cut short"
        );
    }
}

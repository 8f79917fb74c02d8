//! Waiting without spinning.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::time::{Duration, Instant};

/// Polls in a row, [`SPIN_MAX`] apart at most, that are no spin yet: a wake-up that came to
/// nothing, a task that had used up its share of a turn.
const POLLS_MAX: u32 = 8;

/// Polls further apart than this are wake-ups of their own.
const SPIN_MAX: Duration = Duration::from_micros(20);

/// How long the thread sleeps when it is one: less than a turn. Twice as long each time up to
/// [`PAUSE_MAX`], for some machines take more than this to let another thread run.
const PAUSE: Duration = Duration::from_micros(10);

/// The longest pause.
const PAUSE_MAX: Duration = Duration::from_micros(200);

/// Waits for `waiting`, and lets the thread sleep for a moment where it is polled over and over.
///
/// Whoever sends to one of tokio's channels wakes the receiver while it holds a lock of a few
/// instructions, and a receiver that finds it held asks to be polled again at once
/// (`AtomicWaker`). Where the receiver's thread runs ahead of the sender's, and has taken its
/// processor between two of these instructions, nobody lets go: real time spun for 5 to 20 ms,
/// every two seconds under load.
pub async fn unspun<F: Future>(waiting: F) -> F::Output {
    let mut waiting = pin!(waiting);
    let mut polls = 0;
    let mut last: Option<Instant> = None;
    let mut pause = PAUSE;
    poll_fn(|context| {
        polls += 1;
        // The first polls need no clock.
        if polls > POLLS_MAX {
            if last.is_some_and(|last| last.elapsed() <= SPIN_MAX) {
                std::thread::sleep(pause);
                pause = PAUSE_MAX.min(2 * pause);
            }
            last = Some(Instant::now());
        }
        waiting.as_mut().poll(context)
    })
    .await
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicBool, Ordering};
    use std::sync::{Arc, mpsc};
    use std::task::Poll;
    use std::thread;

    use nix::sched::{CpuSet, sched_getaffinity, sched_setaffinity};
    use nix::unistd::Pid;

    use super::*;
    use crate::threads::{Scheduling, Task};

    const THREAD: Pid = Pid::from_raw(0);

    fn stay_on(processor: usize) {
        let mut one = CpuSet::new();
        one.set(processor).expect("a processor's number");
        sched_setaffinity(THREAD, &one).expect("a processor of this process");
    }

    /// A future that is ready when the flag is up, and asks to be polled until then.
    fn up(flag: Arc<AtomicBool>) -> impl Future<Output = ()> {
        poll_fn(move |context| match flag.load(Ordering::Relaxed) {
            true => Poll::Ready(()),
            false => {
                context.waker().wake_by_ref();
                Poll::Pending
            }
        })
    }

    /// The kernel takes a thread that never sleeps off its processor after 950 ms.
    #[test]
    fn who_is_waited_for_gets_the_processor() {
        if let Err(error) = Scheduling::Realtime.check() {
            return eprintln!("SKIPPED: {error}");
        }
        let own = sched_getaffinity(THREAD).expect("this thread's processors");
        let processor = (0..CpuSet::count()).find(|&p| own.is_set(p).expect("in range"));
        let processor = processor.expect("this thread runs on one");
        let flag = Arc::new(AtomicBool::new(false));
        let raised = flag.clone();
        let (begin, begun) = mpsc::channel();
        let raising = thread::spawn(move || {
            stay_on(processor);
            begun.recv().expect("the other thread runs");
            raised.store(true, Ordering::Relaxed);
        });
        let waiting = Scheduling::Realtime.spawn(Task::Priority, move || {
            stay_on(processor);
            let start = Instant::now();
            begin.send(()).expect("the other thread waits");
            let runtime = tokio::runtime::Builder::new_current_thread().build();
            runtime.expect("a runtime").block_on(unspun(up(flag)));
            start.elapsed()
        });
        let took = waiting.expect("a thread").join().expect("no panic");
        raising.join().expect("no panic");
        assert!(took < Duration::from_millis(300), "{took:?}");
    }
}

//! The router: one thread between the hosts' interfaces and the link model.
//!
//! ```text
//!  TUN ──read, stamp──▶ Network (virtual time) ──due──▶ write ──▶ TUN
//!                          ▲ changes, questions
//!                       control thread
//! ```
//!
//! Packets are stamped as they are read, and everything after that is computed in
//! virtual time: when the thread is late, that packet is late, but nothing shifts
//! behind it. It sleeps on an absolute timer and wakes a little early, because a
//! sleeping processor takes tens of microseconds to come back; never for more than an
//! eighth of its sleep, for the processor that it polls on is one that the hosts' programs
//! share.

mod clock;
mod forwarding;

use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::{Context, Result};
use netem::topology_file::Plan;
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use nix::sys::eventfd::{EfdFlags, EventFd};
use tun_rs::SyncDevice;

use crate::control::{Answer, Request};
use crate::realtime::{self, become_realtime};
use clock::{Clock, Timer};
use forwarding::Forwarding;

/// Woken at most this long before a packet is due, the thread polls the clock for the rest:
/// about what a sleeping processor of a virtual machine takes to come back.
const WAKE_EARLY_MAX: Duration = Duration::from_micros(50);

/// And at most this part of the time until it is due: what wakes often is back soon.
const WAKE_EARLY_PART: u32 = 8;

/// How often cross traffic is computed while nothing else happens, so that no packet
/// has to wait for more than this much of it.
const CROSS_TRAFFIC_STEP: Duration = Duration::from_millis(1);

/// Events taken from the kernel at once.
const EVENTS_MAX: usize = 64;

const TIMER_EVENT: u64 = u64::MAX;
const WAKE_EVENT: u64 = u64::MAX - 1;

/// A handle to the router's thread.
pub struct Router {
    questions: Sender<Question>,
    wake: Arc<EventFd>,
    thread: JoinHandle<()>,
}

enum Question {
    Ask(Request, Sender<Answer>),
    Stop,
}

/// Asks the router from any thread.
#[derive(Clone)]
pub struct Asker {
    questions: Sender<Question>,
    wake: Arc<EventFd>,
}

impl Router {
    /// Starts routing between `devices`, which are the plan's hosts site by site. When
    /// the thread ends, for whatever reason, `ended` is written to.
    pub fn start(plan: &Plan, devices: Vec<SyncDevice>, ended: Arc<EventFd>) -> Result<Self> {
        let forwarding = Forwarding::new(plan, devices)?;
        let wake = Arc::new(EventFd::from_flags(
            EfdFlags::EFD_NONBLOCK | EfdFlags::EFD_CLOEXEC,
        )?);
        let (questions, asked) = channel();
        let mut turn = Turn {
            epoll: Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?,
            timer: Timer::new()?,
            wake: wake.clone(),
            asked,
            forwarding,
            awaited: None,
        };
        turn.watch()?;
        let body = move || {
            let _ended = WriteWhenDropped(ended);
            turn.forwarding.set_scheduling(scheduling());
            if let Err(error) = turn.run() {
                eprintln!("netem: the router fails: {error:#}");
            }
        };
        let thread = std::thread::Builder::new()
            .name("netem-router".to_owned())
            .spawn(body)?;
        Ok(Self {
            questions,
            wake,
            thread,
        })
    }

    /// A handle for asking.
    pub fn asker(&self) -> Asker {
        Asker {
            questions: self.questions.clone(),
            wake: self.wake.clone(),
        }
    }

    /// Ends the thread and waits for it.
    pub fn stop(self) {
        // Both fail only if the thread has ended by itself.
        let _ = self.questions.send(Question::Stop);
        let _ = self.wake.write(1);
        let _ = self.thread.join();
    }
}

impl Asker {
    /// Asks and waits for the answer.
    pub fn ask(&self, request: Request) -> Result<Answer> {
        let (answers, answer) = channel();
        self.questions
            .send(Question::Ask(request, answers))
            .context("the router has ended")?;
        self.wake.write(1)?;
        answer
            .recv_timeout(crate::control::PATIENCE)
            .context("the router does not answer")
    }
}

struct WriteWhenDropped(Arc<EventFd>);

impl Drop for WriteWhenDropped {
    fn drop(&mut self) {
        let _ = self.0.write(1);
    }
}

/// How the thread is scheduled from here on: in real time, where that is allowed.
fn scheduling() -> String {
    // Against the kernel's habit of grouping wake-ups of ordinary threads.
    let _ = nix::sys::prctl::set_timerslack(1);
    match become_realtime(realtime::ROUTER) {
        Ok(()) => "SCHED_FIFO".to_owned(),
        Err(error) => format!("normal ({error:#})"),
    }
}

/// What the thread works with.
struct Turn {
    epoll: Epoll,
    timer: Timer,
    wake: Arc<EventFd>,
    asked: Receiver<Question>,
    forwarding: Forwarding,
    /// The packet that the thread sleeps for, by when it is due, and when to wake for it.
    awaited: Option<(Duration, Duration)>,
}

impl Turn {
    fn watch(&mut self) -> Result<()> {
        let event = |data| EpollEvent::new(EpollFlags::EPOLLIN, data);
        self.epoll.add(self.timer.as_fd(), event(TIMER_EVENT))?;
        self.epoll.add(self.wake.as_fd(), event(WAKE_EVENT))?;
        for (number, device) in (0..).zip(self.forwarding.devices()) {
            self.epoll.add(device.as_fd(), event(number))?;
        }
        Ok(())
    }

    fn run(&mut self) -> Result<()> {
        let mut events = [EpollEvent::empty(); EVENTS_MAX];
        loop {
            self.forwarding.deliver_due();
            let timeout = self.sleep()?;
            let ready = match self.epoll.wait(&mut events, timeout) {
                Err(nix::errno::Errno::EINTR) => 0,
                result => result?,
            };
            for event in &events[..ready] {
                match event.data() {
                    TIMER_EVENT => self.timer.acknowledge(),
                    WAKE_EVENT => {
                        let _ = self.wake.read();
                        if self.answer() {
                            return Ok(());
                        }
                    }
                    host => self.forwarding.read_from(host as usize),
                }
            }
        }
    }

    /// Sets the timer; what `epoll` is to wait at most.
    fn sleep(&mut self) -> Result<EpollTimeout> {
        let now = Clock::now();
        let mut until = None;
        if let Some(due) = self.forwarding.next_event() {
            let wake = self.wake_for(due, now);
            if wake <= now {
                return Ok(EpollTimeout::ZERO);
            }
            until = Some(wake);
        }
        if self.forwarding.has_cross_traffic() {
            self.forwarding.advance(now);
            let step = now + CROSS_TRAFFIC_STEP;
            until = Some(until.map_or(step, |until| until.min(step)));
        }
        self.timer.set(until)?;
        Ok(EpollTimeout::NONE)
    }

    /// When to wake for what is `due`; said once for each, or each look would halve the rest.
    fn wake_for(&mut self, due: Duration, now: Duration) -> Duration {
        match self.awaited {
            Some((known, wake)) if known == due => wake,
            _ => {
                let sleep = due.saturating_sub(now);
                let wake = due - (sleep / WAKE_EARLY_PART).min(WAKE_EARLY_MAX);
                self.awaited = Some((due, wake));
                wake
            }
        }
    }

    /// Answers all that was asked; true when told to stop.
    fn answer(&mut self) -> bool {
        while let Ok(question) = self.asked.try_recv() {
            match question {
                Question::Stop => return true,
                Question::Ask(request, answers) => {
                    // Whoever asked may have lost patience.
                    let _ = answers.send(self.forwarding.answer(request));
                }
            }
        }
        false
    }
}

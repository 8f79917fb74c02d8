//! The loop that feeds the protocol core, and what it waits for.

use std::pin::pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::sync::mpsc;
use tokio::task::yield_now;
use vivace_core::Event;

use super::Core;
use super::unawaited::UNAWAITED_PER_TURN;
use crate::event_loop::AbortOnPanic;
use crate::runtime::Asked;
use crate::storage::{Report, Reports};
use crate::transport::{Transport, TransportEvent};
use crate::unspun::unspun;

/// Events, and requests, handled between two writes to the disk.
const EVENTS_PER_TURN: usize = 64;

/// What the core goes on for.
enum Turn {
    Stop,
    Report(Report),
    Transport(TransportEvent),
    Asked(Asked),
    Alarm,
    Unawaited,
}

impl Core {
    /// Feeds the core until the node stops.
    pub(in crate::runtime) async fn drive(
        mut self,
        transport: Arc<Transport>,
        mut events: mpsc::Receiver<TransportEvent>,
        mut requests: mpsc::Receiver<Asked>,
        mut reports: Reports,
        mut stopped: mpsc::Receiver<()>,
    ) {
        // It is in no state then that it could vote from.
        let _abort = AbortOnPanic("the protocol core");
        // Set anew only for an earlier deadline: most deadlines pass unneeded, and every
        // operation has some.
        let mut alarm = pin!(tokio::time::sleep(Duration::ZERO));
        let mut alarm_at: Option<Instant> = None;
        let mut ended = transport.ended();
        loop {
            let deadline = self.node.next_deadline().map(|at| self.started + at);
            let wakeup = [deadline, self.storage.flush_by(), self.unawaited.due_at()]
                .into_iter()
                .flatten()
                .min();
            if let Some(at) = wakeup.filter(|at| alarm_at.is_none_or(|set| *at < set)) {
                alarm.as_mut().reset(at.into());
                alarm_at = Some(at);
            }
            let turn = unspun(async {
                tokio::select! {
                    biased;
                    _ = stopped.recv() => Turn::Stop,
                    // Without connections it would only keep clients waiting.
                    _ = ended.changed() => Turn::Stop,
                    Some(report) = reports.next() => Turn::Report(report),
                    Some(event) = events.recv() => Turn::Transport(event),
                    Some(asked) = requests.recv() => Turn::Asked(asked),
                    () = &mut alarm, if alarm_at.is_some() => Turn::Alarm,
                    // Behind what the connections have by now.
                    () = yield_now(), if self.unawaited.is_due() => Turn::Unawaited,
                }
            });
            match turn.await {
                Turn::Stop => return,
                Turn::Report(report) => self.on_report(&transport, report),
                Turn::Transport(event) => self.on_transport(&transport, event),
                Turn::Asked(asked) => self.on_asked(&transport, asked),
                Turn::Alarm => {
                    alarm_at = None;
                    if deadline.is_some_and(|at| at <= Instant::now()) {
                        self.handle(&transport, Event::Tick);
                    }
                }
                Turn::Unawaited => {}
            }
            // Some of each, so that a flood of one kind starves none of the others.
            for _ in 0..EVENTS_PER_TURN {
                let Some(report) = reports.try_next() else {
                    break;
                };
                self.on_report(&transport, report);
            }
            for _ in 0..EVENTS_PER_TURN {
                let Ok(event) = events.try_recv() else { break };
                self.on_transport(&transport, event);
            }
            for _ in 0..EVENTS_PER_TURN {
                let Ok(asked) = requests.try_recv() else {
                    break;
                };
                self.on_asked(&transport, asked);
            }
            if self.unawaited.is_due() {
                for _ in 0..UNAWAITED_PER_TURN {
                    let Some(event) = self.unawaited.pop() else {
                        break;
                    };
                    self.handle(&transport, event);
                }
            }
            self.storage.flush();
            if let Some(through) = self.storage.durable() {
                self.handle(&transport, Event::Durable { through });
                self.storage.flush();
            }
        }
    }
}

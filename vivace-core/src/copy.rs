//! An RW object's value, for a backup: the version that a listing named, or a newer one.
//!
//! Nothing crosses to other sites where this node holds such a version. What is returned is
//! not written back as a read's is: a backup promises to hold what was acknowledged
//! before it began, and of later writes any.

use std::time::Duration;

use crate::client_protocol::Success;
use crate::cluster::Container;
use crate::env::Env;
use crate::event::Class;
use crate::fetch::Fetch;
use crate::key::Key;
use crate::message::{BulkBody, PriorityBody};
use crate::operation::{Input, Step, Ticket, unavailable};
use crate::timestamp::Timestamp;

/// One copy under way.
#[derive(Clone, Debug)]
pub struct CopyObject {
    ticket: Ticket,
    key: Key,
    at_least: Timestamp,
    fetch: Option<Fetch>,
}

impl CopyObject {
    /// A copy, not begun.
    pub fn new(ticket: Ticket, key: Key, at_least: Timestamp) -> Self {
        Self {
            ticket,
            key,
            at_least,
            fetch: None,
        }
    }

    /// Moves the copy on.
    pub fn step(&mut self, env: &mut Env, container: &Container, input: Input) -> Step {
        match (&mut self.fetch, input) {
            (None, Input::Start) => {
                let rpc = self.ticket.next_rpc();
                let body = PriorityBody::ReadData {
                    key: self.key.clone(),
                    at_least: self.at_least,
                };
                let me = [env.me];
                let holders = match container.replicas.contains(&env.me) {
                    true => &me[..],
                    false => &[],
                };
                let fetch = Fetch::start(env, container, rpc, holders, self.at_least, body);
                self.fetch = Some(fetch);
            }
            (
                Some(fetch),
                Input::Bulk {
                    rpc,
                    body: BulkBody::Data { ts, value },
                    ..
                },
            ) if fetch.rpc() == rpc && ts >= self.at_least => {
                env.reply(self.ticket.request, Ok(Success::Copied { value }));
                return Step::Done;
            }
            (
                Some(fetch),
                Input::Priority {
                    rpc,
                    body: PriorityBody::Refused { .. },
                    ..
                },
            ) if fetch.rpc() == rpc => fetch.on_refused(env),
            (
                Some(fetch),
                Input::PeerUp {
                    node,
                    class: Class::Priority,
                },
            ) => fetch.on_peer_up(env, node),
            (_, Input::Tick) if self.ticket.is_over(env) => {
                let why = "the newest value is known but nobody who holds it answered in time";
                env.reply(self.ticket.request, Err(unavailable(why)));
                return Step::Done;
            }
            (Some(fetch), Input::Tick) => {
                // A newer version answers too, so the question is never outdated.
                let _ = fetch.on_tick(env);
            }
            _ => {}
        }
        Step::Continue
    }

    /// When the copy next needs a tick.
    pub fn next_wakeup(&self) -> Duration {
        let next = self.fetch.as_ref().map(Fetch::next_wakeup);
        next.map_or(self.ticket.deadline, |at| at.min(self.ticket.deadline))
    }
}

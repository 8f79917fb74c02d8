//! All objects of a container, page by page, for a backup.
//!
//! A majority of replicas is asked, in the bulk class: every acknowledged change is known
//! to one of them at least, whatever else it may have missed.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::call::Call;
use crate::client_protocol::{ListedKey, Success};
use crate::cluster::Container;
use crate::env::Env;
use crate::key::KeyName;
use crate::message::{BulkBody, KnownKey};
use crate::operation::{Input, Step, Ticket, unavailable};
use crate::quorum::{Tally, Votes};
use crate::timestamp::Timestamp;

/// Keys in one page of a listing.
pub const PAGE_KEYS_MAX: usize = 256;

/// Which objects of a container a replica names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Listed {
    /// All.
    All,
    /// Those whose newest known value is not here.
    Lacking,
}

/// One replica's page, and whether it is its last.
pub type Page = (Vec<KnownKey>, bool);

/// What replicas' pages tell together: each key once with the newest timestamp, at most
/// `limit`, and after which key the next page begins.
pub fn merge(pages: &Votes<Page>, limit: usize) -> (Vec<KnownKey>, Option<KeyName>) {
    // Beyond the last key of a page that goes on, its replica may know others.
    let unfinished = pages.answers().iter().filter(|(_, (_, is_last))| !is_last);
    let horizon = unfinished
        .filter_map(|(_, (keys, _))| keys.last().map(|last| last.name.clone()))
        .min();
    let mut merged: BTreeMap<KeyName, Timestamp> = BTreeMap::new();
    let all = pages.answers().iter().flat_map(|(_, (keys, _))| keys);
    for key in all.filter(|key| horizon.as_ref().is_none_or(|h| key.name <= *h)) {
        let newest = merged.entry(key.name.clone()).or_default();
        *newest = (*newest).max(key.known);
    }
    let mut keys: Vec<KnownKey> = merged
        .into_iter()
        .map(|(name, known)| KnownKey { name, known })
        .collect();
    let mut more = horizon;
    if keys.len() > limit {
        keys.truncate(limit);
        more = keys.last().map(|last| last.name.clone());
    }
    (keys, more)
}

/// One page of a listing.
#[derive(Clone, Debug)]
pub struct ListObjects {
    ticket: Ticket,
    after: Option<KeyName>,
    limit: usize,
    asked: Option<(Call, Votes<Page>)>,
}

impl ListObjects {
    /// A page of keys after `after`, at most `limit` of them; not begun.
    pub fn new(ticket: Ticket, after: Option<KeyName>, limit: u16) -> Self {
        Self {
            ticket,
            after,
            limit: usize::from(limit).clamp(1, PAGE_KEYS_MAX),
            asked: None,
        }
    }

    /// Moves the listing on.
    pub fn step(&mut self, env: &mut Env, container: &Container, input: Input) -> Step {
        match (&mut self.asked, input) {
            (None, Input::Start) => {
                let body = BulkBody::ListKnown {
                    container: container.id,
                    after: self.after.clone(),
                    limit: self.limit as u16,
                };
                let rpc = self.ticket.next_rpc();
                let call = Call::bulk(env, container, rpc, &container.replicas, body);
                self.asked = Some((call, Votes::new(container.replicas.len())));
            }
            (
                Some((call, pages)),
                Input::Bulk {
                    from,
                    rpc,
                    body: BulkBody::KnownKeys { keys, is_last },
                },
            ) if call.rpc == rpc => {
                call.answered(from);
                pages.yes(from, (keys, is_last));
                if pages.tally() == Tally::Reached {
                    return self.finish(env);
                }
            }
            (Some((call, _)), Input::PeerUp { node, class }) => call.on_peer_up(env, node, class),
            (_, Input::Tick) if self.ticket.is_over(env) => {
                let why = "no majority of replicas told in time which objects it knows";
                env.reply(self.ticket.request, Err(unavailable(why)));
                return Step::Done;
            }
            (Some((call, _)), Input::Tick) => call.on_tick(env),
            _ => {}
        }
        Step::Continue
    }

    fn finish(&mut self, env: &mut Env) -> Step {
        let Some((_, pages)) = &self.asked else {
            return Step::Continue;
        };
        let (keys, more) = merge(pages, self.limit);
        let listed = keys.into_iter().map(|known| ListedKey {
            key: known.name,
            ts: known.known,
        });
        let success = Success::Objects {
            keys: listed.collect(),
            more,
        };
        env.reply(self.ticket.request, Ok(success));
        Step::Done
    }

    /// When the listing next needs a tick.
    pub fn next_wakeup(&self) -> Duration {
        let next = self.asked.as_ref().and_then(|(call, _)| call.next_wakeup());
        next.map_or(self.ticket.deadline, |at| at.min(self.ticket.deadline))
    }
}

//! What leaves a node, and when: nothing that tells of a change leaves before the
//! change is durable (DESIGN §6).

use std::collections::{BTreeMap, BTreeSet, VecDeque};

use crate::client_protocol::ClientReply;
use crate::event::{Action, RequestId};
use crate::identity::{Epoch, NodeId};
use crate::message::{BulkMessage, PriorityMessage, RpcId};
use crate::record::Record;
use crate::stored::{StoredBody, StoredMessage, StoredValue, ValueId};
use crate::value::Value;

/// A position in the node's log of durable changes; the first record is 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Lsn(pub u64);

/// A message of either class.
#[derive(Clone, Debug)]
pub enum Message {
    /// Small, ahead of everything.
    Priority(PriorityMessage),
    /// Behind.
    Bulk(BulkMessage),
    /// Behind, with a value that is loaded as it leaves.
    Stored(StoredMessage),
}

impl Message {
    /// A bulk message with the value of `id`. A tombstone is at hand.
    pub fn stored(
        rpc: RpcId,
        epoch: Epoch,
        body: StoredBody,
        id: ValueId,
        value: StoredValue,
    ) -> Self {
        let message = StoredMessage {
            rpc,
            epoch,
            body,
            value: id,
            again: false,
        };
        match value {
            StoredValue::Tombstone => Self::Bulk(message.with(Value::Tombstone)),
            StoredValue::Bytes(_) => Self::Stored(message),
        }
    }
}

/// At this many messages held back by an unfinished disk write, the node takes no
/// more requests, and answers its peers no more, until the disk catches up: they
/// ask again.
const HELD_MESSAGES_MAX: usize = 65_536;

/// Room for more actions than this is given back to the allocator.
const REUSED_ACTIONS_MAX: usize = 1024;

/// Collects what a node does in answer to an event.
#[derive(Clone, Debug)]
pub struct Outbox {
    me: NodeId,
    actions: Vec<Action>,
    loopback: VecDeque<Message>,
    held: BTreeMap<Lsn, Vec<(NodeId, Message)>>,
    held_count: usize,
    dropped: u64,
    last: Lsn,
    durable: Lsn,
    released: BTreeSet<ValueId>,
}

impl Outbox {
    /// Nothing yet, nothing durable.
    pub fn new(me: NodeId) -> Self {
        Self {
            me,
            actions: Vec::new(),
            loopback: VecDeque::new(),
            held: BTreeMap::new(),
            held_count: 0,
            dropped: 0,
            last: Lsn::default(),
            durable: Lsn::default(),
            released: BTreeSet::new(),
        }
    }

    /// Asks for `record` to be made durable; returns its position.
    pub fn persist(&mut self, record: Record) -> Lsn {
        self.last.0 += 1;
        self.actions.push(Action::Persist {
            lsn: self.last,
            record,
        });
        self.last
    }

    /// Asks for `record` to be made durable when it costs nothing: whoever loses it in a
    /// crash has lost no promise.
    pub fn persist_later(&mut self, record: Record) {
        self.actions.push(Action::PersistLater { record });
    }

    /// Asks for `value` to be stored under `id`, ahead of the record that speaks of it.
    pub fn store(&mut self, id: ValueId, value: Value) -> StoredValue {
        let stored = StoredValue::from(&value);
        if stored != StoredValue::Tombstone {
            self.store_bytes(id, value, false);
        }
        stored
    }

    /// The same of a value that is a record of itself: who finds it at a start knows of it.
    /// Returns its position; none where there is nothing to store.
    pub fn store_as_record(&mut self, id: ValueId, value: Value) -> Option<Lsn> {
        let is_here = StoredValue::from(&value) != StoredValue::Tombstone;
        is_here.then(|| self.store_bytes(id, value, true))
    }

    fn store_bytes(&mut self, id: ValueId, value: Value, is_record: bool) -> Lsn {
        self.last.0 += 1;
        self.actions.push(Action::StoreValue {
            lsn: self.last,
            id,
            value,
            is_record,
        });
        self.last
    }

    /// Asks for `record` to be made durable, behind a value at `told` that is a record of the
    /// same, where there is one; returns the position at which it is known.
    pub fn persist_behind(&mut self, told: Option<Lsn>, record: Record) -> Lsn {
        match told {
            Some(lsn) => {
                self.persist_later(record);
                lsn
            }
            None => self.persist(record),
        }
    }

    /// The position of what was last asked to be stored or made durable.
    pub fn last(&self) -> Lsn {
        self.last
    }

    /// Whether the log is durable up to `lsn`.
    pub fn is_durable(&self, lsn: Lsn) -> bool {
        lsn <= self.durable
    }

    /// One part of the node needs the value of `id` no more; others may.
    pub fn release(&mut self, id: ValueId) {
        self.released.insert(id);
    }

    /// The values that were released, of which those that nobody else needs are to
    /// be passed to [`Outbox::forget`].
    pub fn take_released(&mut self) -> BTreeSet<ValueId> {
        std::mem::take(&mut self.released)
    }

    /// Nobody needs the value of `id` any more.
    pub fn forget(&mut self, id: ValueId) {
        self.actions.push(Action::ForgetValue { id });
    }

    /// Sends now.
    pub fn send(&mut self, to: NodeId, message: Message) {
        self.actions.push(match message {
            Message::Stored(message) => Action::SendStored { to, message },
            message if to == self.me => return self.loopback.push_back(message),
            Message::Priority(message) => Action::SendPriority { to, message },
            Message::Bulk(message) => Action::SendBulk { to, message },
        });
    }

    /// Sends once the log is durable up to `lsn`.
    pub fn send_when_durable(&mut self, lsn: Lsn, to: NodeId, message: Message) {
        if lsn <= self.durable {
            self.send(to, message);
        } else if self.is_behind() {
            self.dropped += 1;
        } else {
            self.held.entry(lsn).or_default().push((to, message));
            self.held_count += 1;
        }
    }

    /// Answers a client.
    pub fn reply(&mut self, request: RequestId, reply: ClientReply) {
        self.actions.push(Action::Reply { request, reply });
    }

    /// The log is durable up to `through`: what waited for that leaves.
    pub fn on_durable(&mut self, through: Lsn) {
        assert!(
            through <= self.last,
            "nothing beyond {:?} was asked to be durable",
            self.last
        );
        self.durable = self.durable.max(through);
        let waiting = self.held.split_off(&Lsn(self.durable.0 + 1));
        for (to, message) in std::mem::replace(&mut self.held, waiting)
            .into_values()
            .flatten()
        {
            self.held_count -= 1;
            self.send(to, message);
        }
    }

    /// Whether the disk is too far behind to take on more.
    pub fn is_behind(&self) -> bool {
        self.held_count >= HELD_MESSAGES_MAX
    }

    /// Messages dropped because too many were held back.
    pub fn dropped(&self) -> u64 {
        self.dropped
    }

    /// The next message of this node to itself.
    pub fn next_loopback(&mut self) -> Option<Message> {
        self.loopback.pop_front()
    }

    /// Takes back the room of actions that were done.
    pub fn reuse(&mut self, mut actions: Vec<Action>) {
        if self.actions.is_empty() && actions.capacity() <= REUSED_ACTIONS_MAX {
            actions.clear();
            self.actions = actions;
        }
    }

    /// All that is to be done now.
    pub fn take_actions(&mut self) -> Vec<Action> {
        std::mem::take(&mut self.actions)
    }
}

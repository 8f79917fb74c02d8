//! What clients do.

use super::*;

impl Run {
    pub fn run_until(&mut self, until: Duration) {
        while let Some(occurrence) = self.simulation.next(until) {
            self.on_occurrence(occurrence);
        }
    }

    pub fn on_occurrence(&mut self, occurrence: Occurrence) {
        match occurrence {
            Occurrence::Wake { token: FAULT } if self.healed => {}
            Occurrence::Wake { token: FAULT } => self.fault(),
            Occurrence::Wake { token } if token >= DOOM => {
                let node = NodeId((token - DOOM) as u16);
                self.gone.insert(node);
                self.simulation.crash(node);
            }
            Occurrence::Wake { token } => self.client_acts(token as usize),
            Occurrence::Reply { request, reply } => {
                let client = self.by_request.remove(&request).expect("somebody asked");
                self.on_reply(client, Some(reply));
            }
            Occurrence::Lost { request } => {
                let client = self.by_request.remove(&request).expect("somebody asked");
                self.on_reply(client, None);
            }
        }
    }

    pub fn client_acts(&mut self, c: usize) {
        let busy = self.clients[c].request.is_some();
        let idle = self.clients[c].entry.is_none();
        if busy || idle && (self.healed || self.clients[c].left == 0) {
            return;
        }
        let site = SiteId(self.clients[c].site);
        let near: Vec<NodeId> = self
            .simulation
            .alive()
            .into_iter()
            .filter(|&node| self.simulation.site_of(node) == site)
            .collect();
        if near.is_empty() {
            self.wake_client(c, Duration::from_millis(200));
            return;
        }
        let coordinator = pick(&mut self.simulation.rng, &near);
        let needs_session = !self.kind.is_read_write() && self.clients[c].session.is_none();
        if needs_session {
            self.ask(c, coordinator, Request::OpenSession);
        } else if idle {
            self.begin(c, coordinator);
        } else {
            self.send(c, coordinator);
        }
    }

    pub fn wake_client(&mut self, c: usize, after: Duration) {
        let at = self.simulation.now + after;
        self.simulation.wake_at(at, c as u64);
    }

    pub fn ask(&mut self, c: usize, coordinator: NodeId, request: Request) {
        // Once healed, nobody gives up early, which would hide what hangs.
        let patience = match self.healed {
            true => 60_000,
            false => pick(&mut self.simulation.rng, &[300, 2_000, 60_000]),
        };
        let id = self
            .simulation
            .request(coordinator, request, Duration::from_millis(patience));
        self.clients[c].request = Some(id);
        self.by_request.insert(id, c);
    }

    pub fn begin(&mut self, c: usize, coordinator: NodeId) {
        let number = self.draw(0..=u64::from(self.keys) - 1);
        let key = format!("{}{number}", self.key_prefix(number));
        let ask = self.draw_ask(number);
        let entry = self.history.invoke(&key, ask);
        let client = &mut self.clients[c];
        client.left = client.left.saturating_sub(1);
        client.entry = Some((key, entry));
        client.sequence += 1;
        client.exposed = false;
        client.tries = 0;
        self.send(c, coordinator);
    }

    pub fn key_prefix(&self, number: u64) -> &'static str {
        match (self.kind.is_read_write(), number) {
            (true, _) => "value",
            (false, 0) => Counter::NAME,
            (false, 1) => List::NAME,
            (false, _) => Register::NAME,
        }
    }

    pub fn draw_ask(&mut self, number: u64) -> Ask {
        self.next_value += 1;
        let value = self.next_value;
        let reads = self.chance(0.4);
        if self.kind.is_read_write() {
            return if reads { Ask::Read } else { Ask::Write(value) };
        }
        if reads {
            return Ask::ReadState;
        }
        let item = || Blob::from(value.to_be_bytes().to_vec());
        let (machine, command) = match number {
            0 => {
                let amount = 1 << (value % 24);
                let command = match self.draw(0..=3) {
                    0 => counter::Command::AddWithin {
                        amount,
                        min: 0,
                        max: 1 << 16,
                    },
                    1 => counter::Command::Add(0),
                    _ => counter::Command::Add(amount),
                };
                (Counter::NAME, codec::encode(&command))
            }
            1 => {
                let command = match self.draw(0..=2) {
                    0 => list::Command::PopFront,
                    _ => list::Command::Push(item()),
                };
                (List::NAME, codec::encode(&command))
            }
            _ => {
                let command = match self.draw(0..=2) {
                    0 => register::Command::CompareAndSwap {
                        expected: None,
                        new: Some(item()),
                    },
                    1 => register::Command::Delete,
                    _ => register::Command::Set(item()),
                };
                (Register::NAME, codec::encode(&command))
            }
        };
        Ask::Execute {
            machine,
            command: command.into(),
        }
    }

    pub fn send(&mut self, c: usize, coordinator: NodeId) {
        let (key, entry) = self.clients[c]
            .entry
            .clone()
            .expect("an operation is under way");
        let ask = self.history.entries(&key)[entry].ask.clone();
        let repeated = self.clients[c].tries > 0;
        self.clients[c].tries += 1;
        let container = layout::CONTAINER.to_owned();
        let name = layout::key(&key);
        let request = match ask {
            Ask::Read => Request::Read {
                container,
                key: name,
            },
            Ask::Write(value) => {
                let length = self.draw(8..=2000) as usize;
                let mut bytes = value.to_be_bytes().to_vec();
                bytes.resize(length, 7);
                Request::Write {
                    container,
                    key: name,
                    value: Value::from(bytes::Bytes::from(bytes)),
                    durability: None,
                }
            }
            Ask::ReadState => {
                let machine = key.trim_end_matches(char::is_numeric).to_owned();
                Request::ReadState {
                    container,
                    key: name,
                    machine,
                }
            }
            Ask::Execute { machine, command } => Request::Execute {
                container,
                key: name,
                machine: machine.into(),
                session: self.clients[c].session.expect("a session is open"),
                sequence: self.clients[c].sequence,
                repeated,
                command,
                durability: None,
            },
        };
        self.ask(c, coordinator, request);
    }

    /// `None`: the coordinator crashed.
    pub fn on_reply(&mut self, c: usize, reply: Option<ClientReply>) {
        self.clients[c].request = None;
        let think = self
            .think
            .mul_f64(self.simulation.rng.random_range(0.0..2.0));
        if let Some(Ok(Success::Session(session))) = reply {
            self.clients[c].session = Some(session);
            self.clients[c].sequence = 0;
            return self.client_acts(c);
        }
        let Some((key, entry)) = self.clients[c].entry.clone() else {
            // Opening a session failed.
            return self.wake_client(c, think);
        };
        let commands = matches!(self.history.entries(&key)[entry].ask, Ask::Execute { .. });
        let answer = match reply {
            Some(Ok(success)) => answer(success),
            Some(Err(Failure::Conflict { reason })) => Answer::Executed(Err(reason)),
            Some(Err(Failure::Invalid { field, reason })) if !self.clients[c].exposed => {
                panic!("{}: {field} {reason}", self.name)
            }
            Some(Err(Failure::SessionForgotten)) => panic!("few sessions are forgotten"),
            Some(Err(
                Failure::Busy { .. } | Failure::Unavailable { .. } | Failure::Invalid { .. },
            )) => Answer::NotApplied,
            Some(Err(Failure::Unknown { .. })) | None => Answer::Unknown,
        };
        self.clients[c].exposed |= answer == Answer::Unknown;
        let undecided =
            matches!(answer, Answer::Unknown | Answer::NotApplied) && self.clients[c].exposed;
        if commands && undecided && (self.healed || self.chance(0.8)) {
            // The same command under the same number, perhaps to another coordinator.
            return self.wake_client(c, think);
        }
        let answer = match answer {
            Answer::NotApplied if self.clients[c].exposed => Answer::Unknown,
            answer => answer,
        };
        self.history.answer(&key, entry, answer);
        self.clients[c].entry = None;
        self.wake_client(c, think);
    }
}

pub fn answer(success: Success) -> Answer {
    match success {
        Success::Value { ts, value } => {
            let number = value.0[..8]
                .try_into()
                .expect("a value has 8 bytes at least");
            Answer::Value(Some((u64::from_be_bytes(number), ts)))
        }
        Success::NotFound => Answer::Value(None),
        Success::Written { ts } => Answer::Written(ts),
        Success::Executed { output } => Answer::Executed(Ok(output)),
        Success::State { state } => Answer::State(state),
        other @ (Success::Session(_)
        | Success::Status(_)
        | Success::Lost { .. }
        | Success::LossAccepted
        | Success::Objects { .. }
        | Success::Copied { .. }
        | Success::Restored) => panic!("nobody asked for {other:?}"),
    }
}

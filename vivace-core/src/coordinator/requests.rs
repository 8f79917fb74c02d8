//! What clients ask for: checked, and begun or refused.

use std::time::Duration;

use super::Coordinator;
use super::checks::{
    backed_up, check_machine, check_room, check_value, durability_of, find, invalid, propagated,
    read_modify_write, read_write,
};
use super::operation::Operation;
use crate::abd;
use crate::batch::{Pending, Wish};
use crate::client_protocol::{DEADLINE_MS_MAX, Failure, Request, Success};
use crate::cluster::Kind;
use crate::copy::CopyObject;
use crate::env::Env;
use crate::event::RequestId;
use crate::key::Key;
use crate::listing::ListObjects;
use crate::local_set::LocalSet;
use crate::lost::{AcceptLoss, FindLost};
use crate::machine::object::{Command, Object};
use crate::operation::{Calls, Ticket};
use crate::vivace_rmw::{self, Extent};
use crate::vivace_rw;

impl Coordinator {
    pub(super) fn try_request(
        &mut self,
        env: &mut Env,
        local: &LocalSet,
        id: RequestId,
        request: Request,
        deadline: Duration,
    ) -> Result<(), Failure> {
        let longest = env.now.monotonic + Duration::from_millis(u64::from(DEADLINE_MS_MAX));
        let deadline = deadline.min(longest);
        self.admit(env)?;
        match request {
            Request::OpenSession => {
                let session = self.open_session(env);
                env.reply(id, Ok(Success::Session(session)));
                Ok(())
            }
            Request::FindLost {
                container,
                after,
                limit,
            } => {
                let container = propagated(find(env, &container)?)?;
                let operation = self.next_operation();
                let ticket = Ticket::new(id, deadline, Calls::new(env.incarnation, operation));
                let find = FindLost::new(ticket, after, limit);
                self.start(env, &container, None, Operation::FindLost(find));
                Ok(())
            }
            Request::AcceptLoss { container, key, ts } => {
                let container = propagated(find(env, &container)?)?;
                let (ticket, key) = self.ticket(env, &container, id, deadline, key);
                let accept = AcceptLoss::new(ticket, key, ts);
                self.start(env, &container, None, Operation::AcceptLoss(accept));
                Ok(())
            }
            Request::Status => Err(invalid("request", "status is answered by the node's owner")),
            Request::Read { container, key } => {
                let container = read_write(find(env, &container)?)?;
                let (ticket, key) = self.ticket(env, &container, id, deadline, key);
                if container.kind == Kind::Abd {
                    let read = Operation::Abd(abd::Operation::read(ticket, key));
                    self.start(env, &container, None, read);
                    return Ok(());
                }
                let read = Operation::Read(vivace_rw::Read::new(ticket, key.clone()));
                self.read(env, &container, key, (id, deadline), read)
            }
            Request::Write {
                container,
                key,
                value,
                durability,
            } => {
                let container = read_write(find(env, &container)?)?;
                let durability = durability_of(env, &container, durability)?;
                check_value(env, value.len())?;
                check_room(env, local, &container)?;
                let (ticket, key) = self.ticket(env, &container, id, deadline, key);
                self.write(env, &container, ticket, key, value, durability);
                Ok(())
            }
            Request::Execute {
                container,
                key,
                machine,
                session,
                sequence,
                repeated,
                command,
                durability,
            } => {
                let container = read_modify_write(find(env, &container)?)?;
                let durability = durability_of(env, &container, durability)?;
                check_machine(env, &machine)?;
                check_value(env, command.0.len())?;
                check_room(env, local, &container)?;
                if sequence == 0 {
                    return Err(invalid(
                        "sequence",
                        "is 0; a session numbers its commands from 1",
                    ));
                }
                let key = Key {
                    container: container.id,
                    name: key,
                };
                let command = Command {
                    machine,
                    session,
                    sequence,
                    repeated: repeated && !mutant!(env, ForgetUnchanged),
                    command,
                };
                let pending =
                    Pending::new(id, deadline, Wish::Execute(command)).durable(durability);
                self.enqueue(env, &container, key, pending)
            }
            Request::ReadState {
                container,
                key,
                machine,
            } => {
                let container = read_modify_write(find(env, &container)?)?;
                check_machine(env, &machine)?;
                let extent = Extent::State { machine };
                if container.kind == Kind::LanRmw {
                    let key = Key {
                        container: container.id,
                        name: key,
                    };
                    let pending = Pending::new(id, deadline, Wish::Read(extent));
                    return self.enqueue(env, &container, key, pending);
                }
                let (ticket, key) = self.ticket(env, &container, id, deadline, key);
                let read = vivace_rmw::Read::new(ticket, key.clone(), extent);
                let read = Operation::ReadState(read);
                self.read(env, &container, key, (id, deadline), read)
            }
            Request::ListObjects {
                container,
                after,
                limit,
            } => {
                let container = backed_up(find(env, &container)?)?;
                let operation = self.next_operation();
                let ticket = Ticket::new(id, deadline, Calls::new(env.incarnation, operation));
                let list = ListObjects::new(ticket, after, limit);
                self.start(env, &container, None, Operation::ListObjects(list));
                Ok(())
            }
            Request::CopyObject {
                container,
                key,
                at_least,
            } => {
                let container = backed_up(find(env, &container)?)?;
                let (ticket, key) = self.ticket(env, &container, id, deadline, key);
                let operation = match container.kind {
                    Kind::Rmw => {
                        Operation::ReadState(vivace_rmw::Read::new(ticket, key, Extent::Whole))
                    }
                    Kind::Rw | Kind::Abd | Kind::LanRmw => {
                        Operation::CopyObject(CopyObject::new(ticket, key, at_least))
                    }
                };
                self.start(env, &container, None, operation);
                Ok(())
            }
            Request::RestoreObject {
                container,
                key,
                object,
                durability,
            } => {
                let container = backed_up(read_modify_write(find(env, &container)?)?)?;
                let durability = durability_of(env, &container, durability)?;
                check_value(env, object.0.len())?;
                let object = Object::decode(&object)
                    .map_err(|error| invalid("object", format!("is no RMW object: {error}")))?;
                check_machine(env, object.machine())?;
                check_room(env, local, &container)?;
                let key = Key {
                    container: container.id,
                    name: key,
                };
                let wish = Wish::Restore(Box::new(object));
                let pending = Pending::new(id, deadline, wish).durable(durability);
                self.enqueue(env, &container, key, pending)
            }
        }
    }
}

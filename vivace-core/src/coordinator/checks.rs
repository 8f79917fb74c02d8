//! What a request must meet, and what its client hears where it does not.

use std::sync::Arc;

use crate::client_protocol::Failure;
use crate::cluster::Container;
use crate::durability::Durability;
use crate::env::Env;
use crate::local_set::LocalSet;

pub(super) fn find(env: &Env, name: &str) -> Result<Arc<Container>, Failure> {
    env.cluster.container_named(name).cloned().ok_or_else(|| {
        let names: Vec<&str> = env
            .cluster
            .spec()
            .containers
            .iter()
            .map(|c| c.name.as_str())
            .collect();
        invalid(
            "container",
            format!("{name:?} is not configured; there are {}", names.join(", ")),
        )
    })
}

/// Values of the baselines are at a majority before their writers hear of success: no
/// site takes one along.
pub(super) fn propagated(container: Arc<Container>) -> Result<Arc<Container>, Failure> {
    if container.kind.uses_local_sets() {
        return Ok(container);
    }
    let reason = format!(
        "{:?} is of kind {}, whose values are at a majority always: a lost site takes none along",
        container.name,
        container.kind.name()
    );
    Err(invalid("container", reason))
}

/// The baselines are for measurements, and keep what nobody would miss.
pub(super) fn backed_up(container: Arc<Container>) -> Result<Arc<Container>, Failure> {
    if container.kind.uses_local_sets() {
        return Ok(container);
    }
    let reason = format!(
        "{:?} is of kind {}; backups are of kinds rw and rmw",
        container.name,
        container.kind.name()
    );
    Err(invalid("container", reason))
}

pub(super) fn read_write(container: Arc<Container>) -> Result<Arc<Container>, Failure> {
    if container.kind.is_read_write() {
        return Ok(container);
    }
    let reason = format!(
        "{:?} holds RMW objects: execute commands on them instead",
        container.name
    );
    Err(invalid("container", reason))
}

pub(super) fn read_modify_write(container: Arc<Container>) -> Result<Arc<Container>, Failure> {
    if !container.kind.is_read_write() {
        return Ok(container);
    }
    let reason = format!(
        "{:?} holds RW objects: read and write them instead",
        container.name
    );
    Err(invalid("container", reason))
}

pub(super) fn durability_of(
    env: &Env,
    container: &Container,
    asked: Option<Durability>,
) -> Result<Durability, Failure> {
    let durability = asked.unwrap_or(container.durability);
    let checked = env.cluster.check_durability(container, durability);
    checked.map_err(|reason| invalid("durability", reason))?;
    Ok(durability)
}

pub(super) fn check_machine(env: &Env, machine: &str) -> Result<(), Failure> {
    if env.machines.contains(machine) {
        return Ok(());
    }
    let names: Vec<&str> = env.machines.names().collect();
    let reason = format!(
        "{machine:?} is not registered here; there are {}",
        names.join(", ")
    );
    Err(invalid("machine", reason))
}

pub(super) fn check_value(env: &Env, bytes: usize) -> Result<(), Failure> {
    let limit = env.cluster.spec().value_bytes_max;
    if bytes <= limit {
        return Ok(());
    }
    Err(invalid(
        "value",
        format!("has {bytes} bytes; the limit is {limit}"),
    ))
}

pub(super) fn check_room(
    env: &mut Env,
    local: &LocalSet,
    container: &Container,
) -> Result<(), Failure> {
    local.check_room(&env.cluster, container).map_err(|full| {
        env.counters.count("busy: the backlog is full");
        busy(full)
    })
}

pub(super) fn invalid(field: &str, reason: impl Into<String>) -> Failure {
    Failure::Invalid {
        field: field.into(),
        reason: reason.into(),
    }
}

pub(super) fn busy(reason: impl Into<String>) -> Failure {
    Failure::Busy {
        reason: reason.into(),
    }
}

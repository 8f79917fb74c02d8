//! `exec`: commands for RMW objects.

use serde_json::json;
use vivace_client::machine::builtin::{Counter, List, Map, Register, Set};
use vivace_client::{Client, Rmw};

use crate::arguments::ExecArguments;
use crate::exit::{Exit, Fault};
use crate::objects::not_found;
use crate::output::{print_bytes, print_json};
use crate::words::{Asked, Spoken};

/// Runs the command at the machine that it names.
pub async fn exec(client: &Client, asked: &ExecArguments, json: bool) -> Result<Exit, Fault> {
    match asked.machine.as_str() {
        "register" => run::<Register>(client, asked, json).await,
        "counter" => run::<Counter>(client, asked, json).await,
        "list" => run::<List>(client, asked, json).await,
        "set" => run::<Set>(client, asked, json).await,
        "map" => run::<Map>(client, asked, json).await,
        other => Err(Fault::usage(format!(
            "MACHINE {other:?} is not known; take register, counter, list, set or map"
        ))),
    }
}

async fn run<M: Spoken>(client: &Client, asked: &ExecArguments, json: bool) -> Result<Exit, Fault> {
    let words: Vec<&str> = asked.command.iter().map(String::as_str).collect();
    let request = M::parse(&words).ok_or_else(|| {
        let has_options = words.iter().any(|word| word.starts_with("--"));
        let hint = match has_options {
            true => "; options go before the machine's name, what follows it is the command",
            false => "",
        };
        Fault::usage(format!(
            "{:?} is no command of a {}; it knows: {}{hint}",
            asked.command.join(" "),
            asked.machine,
            M::COMMANDS
        ))
    })?;
    let key = asked.object.key.clone().into_bytes();
    let mut object: Rmw<M> = client.container(&asked.object.container).rmw(key);
    if let Some(level) = asked.durability.level {
        object = object.durability(level);
    }
    let (shown, name) = match request {
        Asked::Command(command) => (M::show_output(object.execute(command).await?), "output"),
        Asked::State { part } => {
            let state = object.read().await?;
            match state.and_then(|state| state.show_state(part.as_deref())) {
                Some(shown) => (shown, "state"),
                None => return not_found(&asked.object, json),
            }
        }
    };
    match json {
        true => print_json(&json!({ name: shown.json }))?,
        false => print_bytes(&shown.text)?,
    };
    Ok(Exit::Done)
}

//! `admin lost` and `admin accept-loss`: what an operator does when a site is gone.

use std::io::{self, BufRead, IsTerminal, Write};

use serde_json::{Value, json};
use tokio::task::JoinSet;
use vivace_client::client_protocol::LostKey;
use vivace_client::{Client, Losses};

use crate::arguments::{AcceptLossArguments, LostArguments};
use crate::exit::{Exit, Fault};
use crate::output::{json_bytes, print_bytes, print_json, remark};

/// How many losses are being accepted at the same time.
const ACCEPTED_AT_ONCE: usize = 32;

/// Lists what went with a lost site.
pub async fn lost(client: &Client, asked: &LostArguments, json: bool) -> Result<Exit, Fault> {
    let losses = client.container(&asked.container).losses().await?;
    if json {
        let keys: Vec<Value> = losses.keys.iter().map(key_as_json).collect();
        print_json(&json!({ "lost": keys, "silent_nodes": losses.silent }))?;
        return Ok(Exit::Done);
    }
    let mut text = String::new();
    for lost in &losses.keys {
        text += &line(&asked.container, lost);
    }
    if losses.keys.is_empty() {
        text += "nothing is lost: every newest value can be had\n";
    }
    print_bytes(text.as_bytes())?;
    tell_silent(&losses.silent);
    Ok(Exit::Done)
}

/// What is lost may be at these nodes: that is for the operator to weigh.
fn tell_silent(nodes: &[u16]) {
    if !nodes.is_empty() {
        let names: Vec<String> = nodes.iter().map(u16::to_string).collect();
        remark!(
            "vivace: node {} did not answer; what it holds may come back with it",
            names.join(", node ")
        );
    }
}

fn line(container: &str, lost: &LostKey) -> String {
    let left = match lost.best {
        Some(best) => format!("left: version {best}"),
        None => "left: nothing".into(),
    };
    format!(
        "{container}/{}  lost: version {}, written in {}  {left}\n",
        lost.key.as_bytes().escape_ascii(),
        lost.ts,
        lost.site,
    )
}

fn key_as_json(lost: &LostKey) -> Value {
    json!({
        "key": json_bytes(lost.key.as_bytes()),
        "lost": lost.ts.to_string(),
        "site": lost.site,
        "left": lost.best.map(|best| best.to_string()),
    })
}

/// Gives up what was lost. Asks first.
pub async fn accept_loss(
    client: &Client,
    asked: &AcceptLossArguments,
    json: bool,
) -> Result<Exit, Fault> {
    let (name, only) = match asked.target.split_once('/') {
        Some((name, key)) => (name, Some(key)),
        None => (asked.target.as_str(), None),
    };
    if only.is_none() && !asked.all {
        return Err(Fault::usage(
            "give up one object as CONTAINER/KEY, or everything lost in a container with --all",
        ));
    }
    if let (Some(_), true) = (only, asked.all) {
        return Err(Fault::usage(format!(
            "--all gives up everything lost in a container: give {name:?} alone, or leave out --all"
        )));
    }
    let container = client.container(name);
    let Losses { mut keys, silent } = container.losses().await?;
    if let Some(only) = only {
        keys.retain(|lost| lost.key.as_bytes() == only.as_bytes());
    }
    match only {
        // More than once does no harm where all that is lost is meant.
        None if keys.is_empty() => {
            remark!("vivace: nothing of that is lost; nothing was changed");
            return Ok(Exit::Done);
        }
        Some(only) if keys.is_empty() => {
            let reason = format!("{name}/{only} is not lost, or there is no such object");
            return Err(Fault::new(Exit::NotLost, reason));
        }
        _ => {}
    }
    tell_silent(&silent);
    if !asked.yes && !confirmed(name, &keys)? {
        return Err(Fault::new(Exit::Declined, "nothing was given up"));
    }
    // One takes seconds while nodes are silent, as those of a lost site are. After a
    // failure no other begins; what came of those under way is told.
    let mut waiting = keys.into_iter();
    let mut under_way = JoinSet::new();
    let mut failed = None;
    loop {
        let room = match failed {
            None => ACCEPTED_AT_ONCE - under_way.len(),
            Some(_) => 0,
        };
        for lost in waiting.by_ref().take(room) {
            let container = container.clone();
            under_way.spawn(async move { container.accept_loss(&lost).await.map(|()| lost) });
        }
        let Some(ended) = under_way.join_next().await else {
            break;
        };
        let lost = match ended.expect("an acceptance does not panic") {
            Ok(lost) => lost,
            Err(error) => {
                failed.get_or_insert(error);
                continue;
            }
        };
        if json {
            print_json(&key_as_json(&lost))?;
        } else {
            print_bytes(format!("gave up {}", line(name, &lost)).as_bytes())?;
        }
    }
    match failed {
        None => Ok(Exit::Done),
        Some(error) => Err(error.into()),
    }
}

fn confirmed(container: &str, keys: &[LostKey]) -> Result<bool, Fault> {
    let fault = |error: io::Error| Fault::local(format!("standard input: {error}"));
    if !io::stdin().is_terminal() {
        return Err(Fault::usage(
            "standard input is no terminal to ask at; say --yes if the values are to be given up",
        ));
    }
    let mut asking = io::stderr().lock();
    for lost in keys {
        write!(asking, "{}", line(container, lost)).map_err(fault)?;
    }
    write!(
        asking,
        "Give up these {} newest values for good? Nothing brings them back. [y/N] ",
        keys.len()
    )
    .map_err(fault)?;
    asking.flush().map_err(fault)?;
    let mut answer = String::new();
    io::stdin().lock().read_line(&mut answer).map_err(fault)?;
    Ok(matches!(answer.trim(), "y" | "Y" | "yes"))
}

//! `status`: what this site's nodes say of themselves and their peers.

use std::io::{self, IsTerminal};
use std::time::Duration;

use serde_json::{Value, json};
use tokio::time::sleep;
use vivace_client::Client;

use crate::exit::{Exit, Fault};
use crate::output::{Reader, print_bytes, print_json};
use crate::status_table::table;

/// How often `--watch` asks.
const WATCH_INTERVAL: Duration = Duration::from_secs(1);

/// Moves a terminal's cursor home and clears what is below it.
const CLEAR_SCREEN: &[u8] = b"\x1b[H\x1b[2J";

/// Shows the status once, or until Ctrl-C.
pub async fn status(client: &Client, watch: bool, json: bool) -> Result<Exit, Fault> {
    if !watch {
        return Ok(show(client, json, false).await?.0);
    }
    loop {
        tokio::select! {
            shown = show(client, json, io::stdout().is_terminal()) => {
                if let (exit, Reader::Gone) = shown? {
                    return Ok(exit);
                }
            }
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Done),
        }
        tokio::select! {
            () = sleep(WATCH_INTERVAL) => {}
            _ = tokio::signal::ctrl_c() => return Ok(Exit::Done),
        }
    }
}

async fn show(client: &Client, json: bool, clear: bool) -> Result<(Exit, Reader), Fault> {
    let statuses = client.statuses().await;
    let any_up = statuses.iter().any(|(_, status)| status.is_ok());
    let reader = if json {
        let nodes: Vec<Value> = statuses
            .iter()
            .map(|(address, status)| match status {
                Ok(status) => json!({ "address": address.to_string(), "status": status }),
                Err(error) => json!({ "address": address.to_string(), "error": error.to_string() }),
            })
            .collect();
        print_json(&Value::Array(nodes))?
    } else {
        let mut text = String::new();
        for (address, status) in &statuses {
            match status {
                Ok(status) => text += &table(*address, status),
                Err(error) => text += &format!("{address}  DOWN  {error}\n"),
            }
            text.push('\n');
        }
        if clear {
            print_bytes(CLEAR_SCREEN)?;
        }
        print_bytes(text.trim_end_matches('\n').as_bytes())?;
        print_bytes(b"\n")?
    };
    let exit = match any_up {
        true => Exit::Done,
        false => Exit::Unavailable,
    };
    Ok((exit, reader))
}

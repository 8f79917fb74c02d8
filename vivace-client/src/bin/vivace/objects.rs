//! `get`, `put` and `delete`: RW objects.

use std::io::{self, IsTerminal};

use serde_json::json;
use vivace_client::{Client, Durability, Rw, Timestamp};

use crate::arguments::ObjectName;
use crate::exit::{Exit, Fault};
use crate::output::{json_bytes, print_bytes, print_json, remark};

fn rw(client: &Client, object: &ObjectName) -> Rw {
    let key = object.key.clone().into_bytes();
    client.container(&object.container).rw(key)
}

fn durable(object: Rw, durability: Option<Durability>) -> Rw {
    match durability {
        Some(level) => object.durability(level),
        None => object,
    }
}

/// Prints the value; a terminal gets an end of line too.
pub async fn get(client: &Client, object: &ObjectName, json: bool) -> Result<Exit, Fault> {
    let Some(found) = rw(client, object).read().await? else {
        return not_found(object, json);
    };
    if json {
        print_json(&json!({
            "found": true,
            "timestamp": found.ts.to_string(),
            "value": json_bytes(&found.value),
        }))?;
    } else {
        print_bytes(&found.value)?;
        if io::stdout().is_terminal() && !found.value.ends_with(b"\n") {
            print_bytes(b"\n")?;
        }
    }
    Ok(Exit::Done)
}

/// Says that there is nothing to show.
pub fn not_found(object: &ObjectName, json: bool) -> Result<Exit, Fault> {
    if json {
        print_json(&json!({ "found": false }))?;
    } else {
        remark!("vivace: {}/{} not found", object.container, object.key);
    }
    Ok(Exit::NotFound)
}

/// Writes the value.
pub async fn put(
    client: &Client,
    object: &ObjectName,
    value: Vec<u8>,
    durability: Option<Durability>,
    json: bool,
) -> Result<Exit, Fault> {
    let ts = durable(rw(client, object), durability).write(value).await?;
    written(ts, json)
}

/// Deletes the object.
pub async fn delete(
    client: &Client,
    object: &ObjectName,
    durability: Option<Durability>,
    json: bool,
) -> Result<Exit, Fault> {
    let ts = durable(rw(client, object), durability).delete().await?;
    written(ts, json)
}

fn written(ts: Timestamp, json: bool) -> Result<Exit, Fault> {
    if json {
        print_json(&json!({ "timestamp": ts.to_string() }))?;
    }
    Ok(Exit::Done)
}

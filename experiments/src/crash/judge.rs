//! Was anything lost, or answered out of order?

use std::collections::BTreeSet;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context;
use serde_json::{Value, json};
use vivace_client::machine::StateMachine;
use vivace_client::machine::builtin::{Counter, List};
use vivace_client::{Client, ClientConfig};
use vivace_core::linearizability::read_json_lines;

use super::acknowledged::Acknowledged;
use super::load::{KEYS_OF_KIND, Load, counter_key, hexadecimal, list_key, register_key, state};
use super::record::HISTORY_FILE;

/// How long one last read may take; all nodes are up.
const LAST_READ_DEADLINE: Duration = Duration::from_secs(20);

/// What every key holds at the end.
#[derive(Default)]
pub struct LastReads {
    registers: Vec<(String, Option<String>)>,
    counters: Vec<(String, i64)>,
    lists: Vec<(String, BTreeSet<String>)>,
    /// Keys that could not be read, and why.
    pub unread: Vec<String>,
}

/// Reads every key of every generation through one site, and adds that to the history.
///
/// # Errors
/// The client file can't be used, or no node serves.
pub async fn read_all(load: &Load, file: &Path) -> anyhow::Result<LastReads> {
    let config = ClientConfig::from_file(file)?.timeout(LAST_READ_DEADLINE);
    let client = Client::connect(config).await.context("the last reads")?;
    let mut last = LastReads::default();
    for generation in 0..load.generations() {
        for number in 0..KEYS_OF_KIND {
            let key = register_key(generation, number);
            last.read_register(load, &client, key).await;
            let key = counter_key(generation, number);
            if let Some(found) = last.read_state::<Counter>(load, &client, &key).await {
                let value = found.map_or(0, Counter::value);
                last.counters.push((format!("objects/{key}"), value));
            }
            let key = list_key(generation, number);
            if let Some(found) = last.read_state::<List>(load, &client, &key).await {
                let items = found.iter().flat_map(|list| list.items());
                let items = items.map(|item| hexadecimal(&item.0)).collect();
                last.lists.push((format!("objects/{key}"), items));
            }
        }
    }
    Ok(last)
}

impl LastReads {
    /// Where no key could be read.
    pub fn none(why: &anyhow::Error) -> Self {
        Self {
            unread: vec![format!("every key: {why:#}")],
            ..Self::default()
        }
    }

    async fn read_register(&mut self, load: &Load, client: &Client, key: String) {
        let name = format!("kv/{key}");
        let begun = Instant::now();
        match client.container("kv").rw(key).read().await {
            Ok(found) => {
                let found = found.map(|found| String::from_utf8_lossy(&found.value).into_owned());
                let ret = found.as_ref().map_or(Value::Null, |value| json!(value));
                load.record.add_last_read("read", &name, begun, ret);
                self.registers.push((name, found));
            }
            Err(error) => self.unread.push(format!("{name}: {error}")),
        }
    }

    async fn read_state<M: StateMachine>(
        &mut self,
        load: &Load,
        client: &Client,
        key: &str,
    ) -> Option<Option<M>> {
        let name = format!("objects/{key}");
        let begun = Instant::now();
        match client.container("objects").rmw(key.to_owned()).read().await {
            Ok(found) => {
                let ret = state::<M>(found.as_ref());
                load.record.add_last_read("read_state", &name, begun, ret);
                Some(found)
            }
            Err(error) => {
                self.unread.push(format!("{name}: {error}"));
                None
            }
        }
    }

    /// How many acknowledged writes, steps and items are not there.
    pub fn lost(&self, acknowledged: &Acknowledged) -> u64 {
        let registers = self
            .registers
            .iter()
            .map(|(key, found)| acknowledged.lost_writes(key, found.as_deref()));
        let counters = self
            .counters
            .iter()
            .map(|(key, found)| acknowledged.lost_steps(key, *found));
        let lists = self
            .lists
            .iter()
            .map(|(key, found)| acknowledged.lost_items(key, found));
        registers.chain(counters).chain(lists).sum()
    }
}

/// The history's keys, and what is wrong with those whose answers no order explains.
pub struct Judged {
    /// How many keys it has.
    pub keys: usize,
    /// One line for each bad key.
    pub wrong: Vec<String>,
}

/// Judges the history in `directory` key by key.
///
/// # Errors
/// It can't be read.
pub fn judge(directory: &Path) -> anyhow::Result<Judged> {
    let path = directory.join(HISTORY_FILE);
    let shown = || path.display().to_string();
    let text = std::fs::read_to_string(&path).with_context(shown)?;
    let history = read_json_lines(&text).with_context(shown)?;
    let keys: Vec<&str> = history.keys().collect();
    let wrong = keys.iter().filter_map(|key| {
        let why = history.check_key(key).err()?.why;
        // The operations follow; they are in the file.
        Some(why.lines().next().unwrap_or_default().to_owned())
    });
    Ok(Judged {
        keys: keys.len(),
        wrong: wrong.collect(),
    })
}

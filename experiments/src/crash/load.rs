//! Clients that ask without pause for long.

use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::{Value, json};
use vivace_client::machine::StateMachine;
use vivace_client::machine::builtin::{Counter, List, counter, list};
use vivace_client::{Client, ClientConfig, OperationError};
use vivace_core::codec;

use super::record::{Done, Record};

/// How many keys of each kind are in use at once.
pub const KEYS_OF_KIND: u32 = 2;

/// The longest pause between two operations of a client.
const PAUSE_MAX_MS: u64 = 6;

/// How often a command of unknown outcome is asked for again.
const REPEATS_MAX: u32 = 2;

/// How long a client that finds no node waits.
const RECONNECT_PAUSE: Duration = Duration::from_millis(20);

/// What all clients share.
pub struct Load {
    pub record: Record,
    /// Keys change now and then: a history of one key stays short enough to judge.
    generation: AtomicU32,
    over: AtomicBool,
    seed: u64,
    deadline: Duration,
}

/// A register's key in a generation.
pub fn register_key(generation: u32, number: u32) -> String {
    format!("register-{generation}-{number}")
}

/// A counter's.
pub fn counter_key(generation: u32, number: u32) -> String {
    format!("counter-{generation}-{number}")
}

/// A list's.
pub fn list_key(generation: u32, number: u32) -> String {
    format!("list-{generation}-{number}")
}

/// A list's items as a history writes them.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

/// A state as a history has it.
pub fn state<M: StateMachine>(state: Option<&M>) -> Value {
    state.map_or(Value::Null, |state| {
        json!(hexadecimal(&codec::encode(state)))
    })
}

impl Load {
    /// A load of the first generation.
    pub fn new(record: Record, seed: u64, deadline: Duration) -> Self {
        Self {
            record,
            generation: AtomicU32::new(0),
            over: AtomicBool::new(false),
            seed,
            deadline,
        }
    }

    /// Has the clients use other keys from now on.
    pub fn next_generation(&self) {
        self.generation.fetch_add(1, Ordering::Relaxed);
    }

    /// How many generations of keys were used.
    pub fn generations(&self) -> u32 {
        self.generation.load(Ordering::Relaxed) + 1
    }

    /// Has the clients end after what they are at.
    pub fn end(&self) {
        self.over.store(true, Ordering::Relaxed);
    }

    /// Whether they shall end.
    pub fn is_over(&self) -> bool {
        self.over.load(Ordering::Relaxed)
    }
}

/// Asks until the load is over.
///
/// # Errors
/// The client file can't be used.
pub async fn run_client(load: Arc<Load>, number: u32, file: &Path) -> anyhow::Result<()> {
    let mut asker = Asker {
        number,
        rng: ChaCha8Rng::seed_from_u64(load.seed ^ u64::from(number) << 32),
        turn: 0,
        client: None,
        load: load.clone(),
    };
    while !load.is_over() {
        let Some(client) = asker.client(file).await? else {
            tokio::time::sleep(RECONNECT_PAUSE).await;
            continue;
        };
        asker.ask(&client).await;
        let pause = asker.rng.random_range(0..=PAUSE_MAX_MS);
        tokio::time::sleep(Duration::from_millis(pause)).await;
    }
    Ok(())
}

struct Asker {
    number: u32,
    rng: ChaCha8Rng,
    turn: u64,
    client: Option<Client>,
    load: Arc<Load>,
}

impl Asker {
    /// The connected client; none where the site's node is down at first.
    async fn client(&mut self, file: &Path) -> anyhow::Result<Option<Client>> {
        if self.client.is_none() {
            let config = ClientConfig::from_file(file)?.timeout(self.load.deadline);
            self.client = Client::connect(config).await.ok();
        }
        Ok(self.client.clone())
    }

    async fn ask(&mut self, client: &Client) {
        self.turn += 1;
        let generation = self.load.generation.load(Ordering::Relaxed);
        let key = self.rng.random_range(0..KEYS_OF_KIND);
        match self.rng.random_range(0..100) {
            0..40 => self.write(client, &register_key(generation, key)).await,
            40..75 => self.read(client, &register_key(generation, key)).await,
            75..88 => self.add(client, &counter_key(generation, key)).await,
            88..91 => {
                let key = counter_key(generation, key);
                self.read_state::<Counter>(client, &key).await;
            }
            91..99 => self.push(client, &list_key(generation, key)).await,
            _ => {
                let key = list_key(generation, key);
                self.read_state::<List>(client, &key).await;
            }
        }
    }

    fn note(
        &self,
        kind: &'static str,
        (container, key): (&str, &str),
        arg: Value,
        (begun, last): (Instant, Instant),
        outcome: Result<Value, OperationError>,
    ) {
        self.load.record.add(&Done {
            client: self.number,
            kind,
            key: &format!("{container}/{key}"),
            arg,
            begun,
            latency: last.elapsed(),
            outcome,
        });
    }

    async fn write(&self, client: &Client, key: &str) {
        let value = format!("{}-{}", self.number, self.turn);
        let begun = Instant::now();
        let rw = client.container("kv").rw(key.to_owned());
        let written = rw.write(value.clone()).await.map(|_| Value::Null);
        self.note("write", ("kv", key), json!(value), (begun, begun), written);
    }

    async fn read(&self, client: &Client, key: &str) {
        let begun = Instant::now();
        let read = client.container("kv").rw(key.to_owned()).read().await;
        let found = read.map(|found| {
            found.map_or(Value::Null, |found| {
                json!(String::from_utf8_lossy(&found.value))
            })
        });
        self.note("read", ("kv", key), Value::Null, (begun, begun), found);
    }

    async fn read_state<M: StateMachine>(&self, client: &Client, key: &str) {
        let begun = Instant::now();
        let object = client.container("objects").rmw::<M>(key.to_owned());
        let found = object.read().await.map(|found| state(found.as_ref()));
        let of = ("objects", key);
        self.note("read_state", of, Value::Null, (begun, begun), found);
    }

    async fn add(&self, client: &Client, key: &str) {
        let ret = |value| json!(value);
        self.execute::<Counter>(client, key, counter::Command::Add(1), json!(1), ret)
            .await;
    }

    async fn push(&self, client: &Client, key: &str) {
        let item = format!("{}-{}", self.number, self.turn).into_bytes();
        let arg = json!({ "list": { "push": hexadecimal(&item) } });
        let ret = |output| match output {
            list::Output::Length(length) => json!({ "length": length }),
            list::Output::Popped(_) => Value::Null,
        };
        self.execute::<List>(client, key, list::Command::Push(item.into()), arg, ret)
            .await;
    }

    /// Asks again for what is of unknown outcome: it must not take effect twice.
    async fn execute<M: StateMachine>(
        &self,
        client: &Client,
        key: &str,
        command: M::Command,
        arg: Value,
        ret: impl Fn(M::Output) -> Value,
    ) {
        let begun = Instant::now();
        let object = client.container("objects").rmw::<M>(key.to_owned());
        let mut prepared = object.prepare(command);
        let mut last = begun;
        let mut outcome = prepared.run().await;
        for _ in 0..REPEATS_MAX {
            if !matches!(outcome, Err(OperationError::Unknown { .. })) {
                break;
            }
            last = Instant::now();
            outcome = prepared.run().await;
        }
        let of = ("objects", key);
        self.note("execute", of, arg, (begun, last), outcome.map(ret));
    }
}

//! Objects drawn from many that were written before.

use bytes::Bytes;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use vivace_client::machine::builtin::{Counter, counter};
use vivace_client::{Container, OperationError};

use super::objects::Failure;
use crate::step::Operation;
use crate::workload::cause;

/// One client of Vivace that draws an object for each operation.
pub struct Drawn {
    rw: Container,
    rmw: Container,
    keys: u32,
    value: Bytes,
    random: ChaCha8Rng,
}

impl Drawn {
    /// One of `keys` objects, whose values have `bytes` bytes.
    pub fn new(rw: Container, rmw: Container, keys: u32, bytes: usize, seed: u64) -> Self {
        Self {
            rw,
            rmw,
            keys,
            value: vec![7; bytes].into(),
            random: ChaCha8Rng::seed_from_u64(seed),
        }
    }

    /// Writes the object of this number.
    pub async fn fill(&self, number: u32) -> Result<(), Failure> {
        let written = self.rw.rw(key(number)).write(self.value.clone()).await;
        written.map(drop).map_err(failure)
    }

    /// Does one operation.
    pub async fn operate(&mut self, operation: Operation) -> Result<(), Failure> {
        let number = self.random.random_range(0..self.keys);
        match operation {
            Operation::Read => match self.rw.rw(key(number)).read().await {
                Ok(Some(_)) => Ok(()),
                Ok(None) => Err(("missing".to_owned(), format!("key {number} is not there"))),
                Err(error) => Err(failure(error)),
            },
            Operation::Write => self.fill(number).await,
            Operation::Execute => {
                let counter = self.rmw.rmw::<Counter>(key(number));
                let added = counter.execute(counter::Command::Add(1)).await;
                added.map(drop).map_err(failure)
            }
            other => Err(("no such operation".to_owned(), other.id().to_owned())),
        }
    }
}

fn key(number: u32) -> String {
    format!("key-{number}")
}

fn failure(error: OperationError) -> Failure {
    (cause(&error).to_owned(), error.to_string())
}

//! Who is killed, and when.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::arguments::CrashArguments;
use super::load::Load;
use super::nodes::{NodeFault, Nodes};
use crate::interrupt::Interrupt;
use crate::progress::Progress;
use crate::results::Latencies;

/// One in so many rounds kills a node again while it starts.
const WHILE_STARTING_ONE_IN: u32 = 8;

/// How long a node is dead, at most.
const DOWN_MAX: Duration = Duration::from_millis(300);

/// How long after its start a node that is killed while it starts lives, at most.
const STARTING_MAX: Duration = Duration::from_millis(150);

/// How long all are up between two rounds: from, to.
const UP: (Duration, Duration) = (Duration::from_millis(200), Duration::from_millis(800));

/// What a kill takes on a quiet machine, for the estimate alone.
const KILL_TYPICAL: Duration = Duration::from_millis(1200);

/// Rounds that use the same keys.
const ROUNDS_OF_GENERATION: u32 = 3;

/// Kills between two lines of progress.
const KILLS_OF_STEP: u32 = 10;

/// How long a run will probably take.
pub fn planned(arguments: &CrashArguments) -> Duration {
    KILL_TYPICAL * arguments.kills
}

/// What the rounds came to.
#[derive(Default)]
pub struct Rounds {
    /// Processes killed.
    pub kills: u32,
    /// Of those, while they started.
    pub kills_while_starting: u32,
    /// Rounds in which all were killed at once.
    pub all_at_once: u32,
    /// From a process's start until it answered a client, each restart.
    pub restarts: Latencies,
    /// Nodes that were not as they should be.
    pub faults: Vec<NodeFault>,
    /// Whether all kills were done.
    pub complete: bool,
}

/// Kills and restarts.
pub struct Killer<'a> {
    arguments: &'a CrashArguments,
    nodes: &'a mut Nodes,
    load: &'a Load,
    rng: ChaCha8Rng,
    done: Rounds,
}

impl<'a> Killer<'a> {
    /// One for nodes that all run.
    pub fn new(arguments: &'a CrashArguments, nodes: &'a mut Nodes, load: &'a Load) -> Self {
        Self {
            arguments,
            nodes,
            load,
            rng: ChaCha8Rng::seed_from_u64(arguments.seed),
            done: Rounds::default(),
        }
    }

    /// Kills until there were enough, a node is not as it should be, or the interrupt is
    /// raised. Those that are dead then have been started again, unless they refused.
    ///
    /// # Errors
    /// A process can't be started.
    pub async fn run(
        mut self,
        interrupt: &Interrupt,
        progress: &mut Progress,
    ) -> anyhow::Result<Rounds> {
        let mut round = 0;
        let mut shown = 0;
        while self.done.kills < self.arguments.kills && self.done.faults.is_empty() {
            if self.done.kills >= shown {
                let words = format!("{} of {} kills", self.done.kills, self.arguments.kills);
                progress.begin(words, KILL_TYPICAL * KILLS_OF_STEP);
                shown += KILLS_OF_STEP;
            }
            let up = self.draw(UP.0, UP.1);
            let paused = interrupt.unless_raised(tokio::time::sleep(up)).await;
            if paused.is_none() {
                return Ok(self.done);
            }
            if let Err(fault) = self.nodes.check_all() {
                self.done.faults.push(fault);
                break;
            }
            round += 1;
            self.round(round).await?;
            if round % ROUNDS_OF_GENERATION == 0 {
                self.load.next_generation();
            }
        }
        self.done.complete = self.done.kills >= self.arguments.kills;
        Ok(self.done)
    }

    fn draw(&mut self, from: Duration, to: Duration) -> Duration {
        self.rng.random_range(from..=to)
    }

    async fn round(&mut self, round: u32) -> anyhow::Result<()> {
        let every = self.arguments.all_every;
        let victims: Vec<usize> = if every > 0 && round.is_multiple_of(every) {
            self.done.all_at_once += 1;
            (0..self.nodes.len()).collect()
        } else {
            vec![self.rng.random_range(0..self.nodes.len())]
        };
        for &victim in &victims {
            self.kill(victim);
        }
        let down = self.draw(Duration::ZERO, DOWN_MAX);
        tokio::time::sleep(down).await;
        if let &[victim] = &victims[..]
            && self.rng.random_ratio(1, WHILE_STARTING_ONE_IN)
        {
            self.nodes.start(victim)?;
            let lives = self.draw(Duration::ZERO, STARTING_MAX);
            tokio::time::sleep(lives).await;
            self.done.kills_while_starting += 1;
            self.kill(victim);
        }
        let since = Instant::now();
        for &victim in &victims {
            self.nodes.start(victim)?;
        }
        for &victim in &victims {
            match self.nodes.wait_until_serving(victim, since).await? {
                Ok(took) => self.done.restarts.record(took),
                Err(fault) => self.done.faults.push(fault),
            }
        }
        Ok(())
    }

    fn kill(&mut self, victim: usize) {
        match self.nodes.kill(victim) {
            Ok(()) => self.done.kills += 1,
            Err(fault) => self.done.faults.push(fault),
        }
    }
}

//! Who is killed, and when.

use std::time::{Duration, Instant};

use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;

use super::arguments::CrashArguments;
use super::load::Load;
use super::nodes::{NodeFault, Nodes};
use super::small_disk::{Fullness, SmallDisk};
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

/// With a small disk: it is full from the one of so many rounds on, until the last.
const ROUNDS_OF_DISK: u32 = 6;
const FULL_FROM: u32 = 3;

/// How a node ends that has no space to start.
const DISK_FULL_EXIT_CODE: i32 = 20;

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
    /// How often the disk was full.
    pub times_full: u32,
    /// Starts that were refused because it was.
    pub refused_full: u32,
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
    disk: Option<&'a SmallDisk>,
    is_full: bool,
    rng: ChaCha8Rng,
    done: Rounds,
}

impl<'a> Killer<'a> {
    /// One for nodes that all run.
    pub fn new(
        arguments: &'a CrashArguments,
        nodes: &'a mut Nodes,
        load: &'a Load,
        disk: Option<&'a SmallDisk>,
    ) -> Self {
        Self {
            arguments,
            nodes,
            load,
            disk,
            is_full: false,
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
                self.give_space()?;
                return Ok(self.done);
            }
            if let Err(fault) = self.nodes.check_all() {
                self.done.faults.push(fault);
                break;
            }
            round += 1;
            match round % ROUNDS_OF_DISK {
                FULL_FROM => self.take_space()?,
                0 => self.give_space()?,
                _ => {}
            }
            self.round(round).await?;
            if round % ROUNDS_OF_GENERATION == 0 {
                self.load.next_generation();
            }
        }
        self.give_space()?;
        self.done.complete = self.done.kills >= self.arguments.kills;
        Ok(self.done)
    }

    fn take_space(&mut self) -> anyhow::Result<()> {
        if let Some(disk) = self.disk {
            let fullness = match self.rng.random_ratio(1, 2) {
                true => Fullness::Reserve,
                false => Fullness::LastBlock,
            };
            disk.fill(fullness)?;
            self.is_full = true;
            self.done.times_full += 1;
        }
        Ok(())
    }

    fn give_space(&mut self) -> anyhow::Result<()> {
        if let Some(disk) = self.disk
            && std::mem::take(&mut self.is_full)
        {
            disk.free()?;
        }
        Ok(())
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
            self.await_serving(victim, since).await?;
        }
        Ok(())
    }

    async fn await_serving(&mut self, victim: usize, since: Instant) -> anyhow::Result<()> {
        let mut served = self.nodes.wait_until_serving(victim, since).await?;
        // With space it starts, whatever the attempt without left behind.
        if served.as_ref().is_err_and(|fault| self.is_for_space(fault)) {
            self.done.refused_full += 1;
            self.give_space()?;
            self.nodes.start(victim)?;
            served = self
                .nodes
                .wait_until_serving(victim, Instant::now())
                .await?;
        }
        match served {
            Ok(took) => self.done.restarts.record(took),
            Err(fault) => self.done.faults.push(fault),
        }
        Ok(())
    }

    fn kill(&mut self, victim: usize) {
        match self.nodes.kill(victim) {
            Ok(()) => self.done.kills += 1,
            // It had ended before it was killed.
            Err(fault) if self.is_for_space(&fault) => self.done.refused_full += 1,
            Err(fault) => self.done.faults.push(fault),
        }
    }

    /// Whether a node did not start because the disk is full.
    fn is_for_space(&self, fault: &NodeFault) -> bool {
        let full = Some(DISK_FULL_EXIT_CODE);
        self.is_full && matches!(fault, NodeFault::Refused { code, .. } if *code == full)
    }
}

//! Many seeds, on all cores.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use vivace_core::sim::Trace;
use vivace_core::sim::swarm::{Configuration, Outcome, Promise, Violation, run, shrink};

use crate::Fault;
use crate::arguments::Explore;
use crate::replay::tell;

/// What this many seeds never did, they can't do.
const SEEDS_TO_COVER: u64 = 2_000;

/// Rare paths that a long exploration must have taken.
const EXPECTED_MARKS: &[&str] = &[
    "aborted: a value without a timestamp",
    "busy: the backlog is full",
    "came back: from query mode to clock mode",
    "commit wait judged by a replica's clock",
    "contested: a vote waits for the silent",
    "died: a coordinator with an operation under way",
    "fault: a clock changes",
    "fault: a damaged journal",
    "fault: a disk is full",
    "fault: a disk that lies",
    "fault: a disk's error",
    "fault: a local set is lost",
    "fault: a site is lost",
    "fault: bulk at 1 %",
    "fault: connections cut",
    "fault: copies that one node has alone",
    "fault: crash",
    "fault: crash at a step",
    "fault: crash between two messages",
    "fault: crash for good",
    "fault: messages vanish in silence",
    "fault: one kind of message is lost",
    "fault: pause",
    "fault: power failure",
    "fell back: from clock mode to query mode",
    "gone: a version asked for after a newer one was chosen",
    "hasty: a request to a second node",
    "hedged: a value asked of one more node",
    "judged: truthful nodes beside lying clocks",
    "late: a client waits for the next round",
    "lost: a value at its relay",
    "lost: an RMW round to another coordinator",
    "direct: an RMW round without promises",
    "yielded: it is another coordinator's turn",
    "disturbed: a direct round that another coordinator came before",
    "lost: the newest version with a site",
    "overlooked: a replica's timestamp ahead of the clock",
    "read-only command completed by a round",
    "read: a timestamp ahead of its value",
    "rechecked: promises whose base does not come",
    "rechecked: reports whose version does not come",
    "refused: BIND of an aborted write",
    "refused: a damaged journal",
    "refused: timestamp ahead of the clock",
    "repeated: a command with an unknown outcome",
    "repeated: a request without an answer",
    "repeated: a value without an acknowledgment",
    "shared: a read joins another's round",
    "superseded: a value by a newer one",
    "taken over: a value that nobody carried",
];

/// What this many seeds never did, they can't do; fewer may miss it.
const SEEDS_TO_COVER_ALL: u64 = 20_000;

/// Paths that 2 of 13 runs of 2,000 seeds did not take.
const RARE_MARKS: &[&str] = &["refused: a copy of an aborted write"];

/// Objects whose histories are too long to judge: one of a machine in 10,000 seeds has so
/// many commands without an answer that the search for an order gives up.
const UNDECIDED: &str = "undecided: a history too long to judge";

/// More of them than one in so many seeds say that the checker does not judge any more.
const SEEDS_PER_UNDECIDED: u64 = 1_000;

#[derive(Default)]
struct Totals {
    seeds: u64,
    void: u64,
    twice: u64,
    operations: u64,
    completed: u64,
    virtual_time: Duration,
    marks: BTreeMap<String, u64>,
    /// By promise: how many seeds broke it, and the smallest of them.
    broken: BTreeMap<Promise, (u64, u64)>,
}

impl Totals {
    fn add(&mut self, seed: u64, outcome: &Outcome) {
        self.seeds += 1;
        self.void += u64::from(outcome.is_void);
        self.operations += outcome.operations as u64;
        self.completed += outcome.completed as u64;
        self.virtual_time += outcome.length;
        for (mark, count) in &outcome.marks {
            *self.marks.entry(mark.clone()).or_default() += count;
        }
        if let Some(violation) = &outcome.violation {
            let (count, first) = self.broken.entry(violation.promise).or_insert((0, seed));
            *count += 1;
            *first = (*first).min(seed);
        }
    }
}

struct Exploration<'a> {
    asked: &'a Explore,
    next: AtomicU64,
    is_over: AtomicBool,
    totals: Mutex<Totals>,
    progress: ProgressBar,
}

pub fn explore(asked: &Explore) -> Result<(), Fault> {
    if asked.seeds == 0 || asked.jobs == Some(0) {
        return Err(Fault::Asked("--seeds and --jobs must be 1 at least".into()));
    }
    let Some(end) = asked.from.checked_add(asked.seeds) else {
        return Err(Fault::Asked("--from plus --seeds exceeds 2^64".into()));
    };
    let begun = Instant::now();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = asked.jobs.unwrap_or(cores);
    let style =
        ProgressStyle::with_template("{bar:40} {pos}/{len} seeds {per_sec} {msg} eta {eta}");
    let exploration = Exploration {
        asked,
        next: AtomicU64::new(asked.from),
        is_over: AtomicBool::new(false),
        totals: Mutex::default(),
        progress: ProgressBar::new(asked.seeds)
            .with_style(style.expect("the template is well-formed")),
    };
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| exploration.work(end));
        }
    });
    exploration.progress.finish_and_clear();
    let totals = exploration
        .totals
        .into_inner()
        .unwrap_or_else(PoisonError::into_inner);
    summarize(&totals, begun.elapsed(), jobs);
    let is_uncovered = totals.seeds >= SEEDS_TO_COVER && tell_uncovered(&totals);
    if let Some((_, &(_, first))) = totals.broken.iter().min_by_key(|(_, (_, first))| first) {
        tell_violation(first, asked);
        return Err(Fault::Broken);
    }
    match is_uncovered {
        true => Err(Fault::Broken),
        false => Ok(()),
    }
}

impl Exploration<'_> {
    fn work(&self, end: u64) {
        while !self.is_over.load(Ordering::Relaxed) {
            let seed = self.next.fetch_add(1, Ordering::Relaxed);
            if seed >= end {
                return;
            }
            self.run(seed);
        }
    }

    fn run(&self, seed: u64) {
        let mut configuration = Configuration::draw(seed);
        configuration.mutants = self.asked.mutants.set;
        // Every n-th, so that the same seeds always run twice.
        let share = self.asked.verify_determinism;
        let is_twice = share > 0.0 && seed.is_multiple_of((1.0 / share).round() as u64);
        let mut outcome = match is_twice {
            false => run(&configuration, Trace::Off),
            true => run(&configuration, Trace::hash()),
        };
        if is_twice && outcome.violation.is_none() {
            let again = run(&configuration, Trace::hash());
            if again.trace.finish() != outcome.trace.finish() {
                outcome.violation = Some(Violation {
                    promise: Promise::Sound,
                    details: "two runs of one seed differ".into(),
                });
            }
        }
        if let Some(violation) = &outcome.violation {
            if self.asked.keep_going {
                let what = violation.details.lines().next().unwrap_or_default();
                self.progress
                    .suspend(|| println!("seed {seed}: {}: {what}", violation.promise));
            } else {
                self.is_over.store(true, Ordering::Relaxed);
            }
        }
        let mut totals = self.totals.lock().unwrap_or_else(PoisonError::into_inner);
        totals.add(seed, &outcome);
        totals.twice += u64::from(is_twice);
        let broken: u64 = totals.broken.values().map(|(count, _)| count).sum();
        drop(totals);
        if broken > 0 {
            self.progress.set_message(format!("{broken} violations"));
        }
        self.progress.inc(1);
    }
}

fn summarize(totals: &Totals, took: Duration, jobs: usize) {
    let seconds = took.as_secs_f64();
    println!(
        "{} seeds in {seconds:.1} s with {jobs} jobs: {:.1} seeds/s",
        totals.seeds,
        totals.seeds as f64 / seconds
    );
    println!(
        "{} operations, {:.0} a seed, {} with a result; {:.1} virtual hours",
        totals.operations,
        totals.operations as f64 / totals.seeds as f64,
        totals.completed,
        totals.virtual_time.as_secs_f64() / 3600.0
    );
    println!(
        "{} seeds ran twice; {} with clocks beyond their bounds, where registers in clock mode promise nothing",
        totals.twice, totals.void
    );
    for (mark, count) in &totals.marks {
        println!("{count:>12}  {mark}");
    }
    for (promise, (count, first)) in &totals.broken {
        println!("{count:>12}  VIOLATIONS: {promise}, first at seed {first}");
    }
    if totals.broken.is_empty() {
        println!("no violation");
    }
}

/// Tells what never happened; true where there is such a thing.
fn tell_uncovered(totals: &Totals) -> bool {
    let rare = match totals.seeds >= SEEDS_TO_COVER_ALL {
        true => RARE_MARKS,
        false => &[],
    };
    let missing = EXPECTED_MARKS
        .iter()
        .chain(rare)
        .filter(|mark| !totals.marks.contains_key(**mark));
    let mut is_uncovered = false;
    for mark in missing {
        is_uncovered = true;
        println!("NOT COVERED: {mark}");
    }
    let undecided = totals.marks.get(UNDECIDED).copied().unwrap_or_default();
    if undecided > totals.seeds / SEEDS_PER_UNDECIDED {
        is_uncovered = true;
        println!("NOT JUDGED: {undecided} objects, in {} seeds", totals.seeds);
    }
    is_uncovered
}

fn tell_violation(seed: u64, asked: &Explore) {
    println!("seed {seed} breaks a promise");
    let mut full = Configuration::draw(seed);
    full.mutants = asked.mutants.set;
    match shrink(&full, asked.shrink_runs) {
        Some(shrunk) => tell(&full, &shrunk),
        None => println!("replay: vivace-sim replay {seed}   (a second run broke nothing)"),
    }
}

//! Many seeds, on all cores.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use vivace_core::sim::Trace;
use vivace_core::sim::swarm::{Configuration, Limits, Outcome, Promise, Violation, run, shrink};

use crate::Fault;
use crate::arguments::{Explore, flags};
use crate::coverage;
use crate::output::say;
use crate::replay::tell;

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
    if asked.seeds == 0 {
        return Err(Fault::Asked("--seeds must be 1 at least".into()));
    }
    let end = end(asked.from, asked.seeds)?;
    let begun = Instant::now();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = asked.jobs.map_or(cores, usize::from);
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
    let wanting = match totals.seeds >= asked.cover_from {
        true => coverage::wanting(totals.seeds, &totals.marks),
        false => Vec::new(),
    };
    for line in &wanting {
        say!("{line}");
    }
    if let Some((_, &(_, first))) = totals.broken.iter().min_by_key(|(_, (_, first))| first) {
        tell_violation(first, asked);
        return Err(Fault::Broken);
    }
    match wanting.is_empty() {
        true => Ok(()),
        false => Err(Fault::Broken),
    }
}

/// The end of `seeds` seeds.
pub fn end(from: u64, seeds: u64) -> Result<u64, Fault> {
    let why = "--from plus --seeds must be below 2^64";
    from.checked_add(seeds)
        .ok_or_else(|| Fault::Asked(why.into()))
}

/// The next seed below the end.
pub fn take(next: &AtomicU64, end: impl Fn() -> u64) -> Option<u64> {
    let order = Ordering::Relaxed;
    next.fetch_update(order, order, |seed| (seed < end()).then(|| seed + 1))
        .ok()
}

/// Whether a seed is one of `share` of them: always the same ones.
fn is_of_share(seed: u64, share: f64) -> bool {
    let millionths = (share * 1e6).round() as u64;
    let place = seed % 1_000_000;
    (place + 1) * millionths / 1_000_000 > place * millionths / 1_000_000
}

impl Exploration<'_> {
    fn work(&self, end: u64) {
        while !self.is_over.load(Ordering::Relaxed) {
            let Some(seed) = take(&self.next, || end) else {
                return;
            };
            self.run(seed);
        }
    }

    fn run(&self, seed: u64) {
        let mut configuration = Configuration::draw(seed);
        configuration.break_by(self.asked.mutants.set);
        let is_twice = is_of_share(seed, self.asked.verify_determinism);
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
                    .suspend(|| say!("seed {seed}: {}: {what}", violation.promise));
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
    say!(
        "{} seeds in {seconds:.1} s with {jobs} jobs: {:.1} seeds/s",
        totals.seeds,
        totals.seeds as f64 / seconds
    );
    say!(
        "{} operations, {:.0} a seed, {} with a result; {:.1} virtual hours",
        totals.operations,
        totals.operations as f64 / totals.seeds as f64,
        totals.completed,
        totals.virtual_time.as_secs_f64() / 3600.0
    );
    say!(
        "{} seeds ran twice; {} with clocks beyond their bounds, where registers in clock mode promise nothing",
        totals.twice,
        totals.void
    );
    for (mark, count) in &totals.marks {
        say!("{count:>12}  {mark}");
    }
    for (promise, (count, first)) in &totals.broken {
        say!("{count:>12}  VIOLATIONS: {promise}, first at seed {first}");
    }
    if totals.broken.is_empty() {
        say!("no violation");
    }
}

fn tell_violation(seed: u64, asked: &Explore) {
    say!("seed {seed} breaks a promise");
    let mut full = Configuration::draw(seed);
    full.break_by(asked.mutants.set);
    match shrink(&full, asked.shrink_runs) {
        Some(shrunk) => tell(&full, &shrunk),
        None => {
            let flags = flags(&full, &Limits::default());
            say!("replay: vivace-sim replay {flags}   (a second run broke nothing)");
        }
    }
}

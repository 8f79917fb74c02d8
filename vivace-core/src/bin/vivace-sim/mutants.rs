//! How soon swarms find each broken protocol.

use std::collections::BTreeMap;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use vivace_core::sim::Trace;
use vivace_core::sim::swarm::{Configuration, Promise, run};
use vivace_core::{Mutant, Mutants};

use crate::Fault;
use crate::arguments::Hunt;
use crate::explore::{end, take};
use crate::output::{self, say};

/// Where the table stands in a document.
const BEGIN: &str = "<!-- begin: vivace-sim mutants --write docs/mutants.md -->\n";
const END: &str = "<!-- end -->\n";

/// The first seed that breaks a promise, and what it took.
struct Catch {
    seed: u64,
    operations: u64,
    promise: Promise,
}

#[derive(Default)]
struct Found {
    operations: BTreeMap<u64, u64>,
    first: Option<(u64, Promise)>,
}

pub fn mutants(asked: &Hunt) -> Result<(), Fault> {
    if asked.seeds == 0 {
        return Err(Fault::Asked("--seeds must be 1 at least".into()));
    }
    let end = end(asked.from, asked.seeds)?;
    if let Some(document) = &asked.write {
        if !asked.only.is_empty() {
            let why = "--write puts down the whole table: leave out --only";
            return Err(Fault::Asked(why.into()));
        }
        check_document(document)?;
    }
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let jobs = asked.jobs.map_or(cores, usize::from);
    let single = Mutant::ALL.iter().map(|&m| (m.name(), Mutants::from(m)));
    let published = [
        ("published-alg-1", Mutants::PUBLISHED_ALG_1),
        ("published-alg-3", Mutants::PUBLISHED_ALG_3),
    ];
    let all: Vec<(&str, Mutants)> = single.chain(published).collect();
    for only in &asked.only {
        if !all.iter().any(|(name, _)| name == only) {
            let names: Vec<&str> = all.iter().map(|(name, _)| *name).collect();
            let why = format!(
                "--only {only:?} is no mutant; there are {}",
                names.join(", ")
            );
            return Err(Fault::Asked(why));
        }
    }
    let mut table = String::from("\n| mutant | seed | operations | what is broken |\n");
    table += "|---|---:|---:|---|\n";
    output::write(format_args!("{table}"));
    let mut escaped = Vec::new();
    for (name, set) in all {
        if !asked.only.is_empty() && !asked.only.iter().any(|only| only == name) {
            continue;
        }
        let row = match hunt(set, asked.from, end, jobs) {
            Some(caught) => format!(
                "| `{name}` | {} | {} | {} |\n",
                caught.seed, caught.operations, caught.promise
            ),
            None => {
                escaped.push(name);
                format!("| `{name}` | none of {} | | |\n", asked.seeds)
            }
        };
        output::write(format_args!("{row}"));
        table += &row;
    }
    if let Some(document) = &asked.write {
        replace(document, &table)?;
    }
    if !escaped.is_empty() {
        say!("escaped: {}", escaped.join(", "));
        return Err(Fault::Broken);
    }
    Ok(())
}

/// The same seed whatever the number of jobs: those below the first catch all run.
fn hunt(set: Mutants, from: u64, end: u64, jobs: usize) -> Option<Catch> {
    let next = AtomicU64::new(from);
    let end = AtomicU64::new(end);
    let found = Mutex::new(Found::default());
    std::thread::scope(|scope| {
        for _ in 0..jobs {
            scope.spawn(|| {
                while let Some(seed) = take(&next, || end.load(Ordering::Relaxed)) {
                    let (operations, broken) = try_seed(set, seed);
                    let mut found = found.lock().unwrap_or_else(PoisonError::into_inner);
                    found.operations.insert(seed, operations);
                    if let Some(promise) = broken
                        && found.first.is_none_or(|(first, _)| seed < first)
                    {
                        found.first = Some((seed, promise));
                        end.fetch_min(seed, Ordering::Relaxed);
                    }
                }
            });
        }
    });
    let found = found.into_inner().unwrap_or_else(PoisonError::into_inner);
    let (seed, promise) = found.first?;
    let operations = found.operations.range(..=seed).map(|(_, count)| count);
    Some(Catch {
        seed,
        operations: operations.sum(),
        promise,
    })
}

/// A seed that breaks a protocol which follows the rules has caught nothing.
fn try_seed(set: Mutants, seed: u64) -> (u64, Option<Promise>) {
    let mut configuration = Configuration::draw(seed);
    configuration.break_by(set);
    let outcome = run(&configuration, Trace::Off);
    let broken = outcome.violation.map(|violation| violation.promise);
    let broken = broken.filter(|_| {
        configuration.mutants = Mutants::none();
        run(&configuration, Trace::Off).violation.is_none()
    });
    (outcome.operations as u64, broken)
}

/// Tells before hours of work what would keep the table out of the document.
fn check_document(document: &Path) -> Result<(), Fault> {
    let opened = std::fs::OpenOptions::new().append(true).open(document);
    opened.map_err(|error| Fault::Asked(format!("{}: {error}", document.display())))?;
    with_table(document, "").map(drop)
}

fn replace(document: &Path, table: &str) -> Result<(), Fault> {
    let text = with_table(document, table)?;
    std::fs::write(document, text)
        .map_err(|error| Fault::Asked(format!("{}: {error}", document.display())))
}

/// The document with this table in place of its own.
fn with_table(document: &Path, table: &str) -> Result<String, Fault> {
    let shown = document.display();
    let asked = |why: String| Fault::Asked(format!("{shown}: {why}"));
    let text = std::fs::read_to_string(document).map_err(|error| asked(error.to_string()))?;
    let parts = text.split_once(BEGIN).and_then(|(before, rest)| {
        let (_, after) = rest.split_once(END)?;
        Some(format!("{before}{BEGIN}{table}\n{END}{after}"))
    });
    parts.ok_or_else(|| asked(format!("has no lines {BEGIN:?} and {END:?}")))
}

//! Swarms: a few seeds of what `vivace-sim explore` does by the thousand, and what it
//! promises of itself.

#![allow(clippy::unwrap_used, clippy::disallowed_methods)]

mod corpus;

use vivace_core::sim::swarm::{Configuration, Limits, Outcome, run, shrink};
use vivace_core::sim::{Trace, read_json_lines, write_json_lines};
use vivace_core::{Mutant, Mutants};

/// Seeds tried here: about 10 s in a debug build.
const SEEDS: u64 = 16;

fn run_seed(seed: u64, trace: Trace) -> Outcome {
    run(&Configuration::draw(seed), trace)
}

#[test]
fn any_seed_keeps_every_promise() {
    let mut operations = 0;
    for seed in 0..SEEDS {
        let outcome = run_seed(seed, Trace::Off);
        operations += outcome.operations;
        if let Some(violation) = outcome.violation {
            panic!("{violation}\nreplay: vivace-sim replay {seed}");
        }
    }
    assert!(
        operations > 500 * SEEDS as usize,
        "only {operations} operations"
    );
}

#[test]
fn one_seed_is_one_run_to_the_byte() {
    let one = run_seed(11, Trace::lines());
    let other = run_seed(11, Trace::lines());
    assert!(!one.trace.text().is_empty());
    assert!(one.trace.text() == other.trace.text(), "the traces differ");
    let hash = |seed| run_seed(seed, Trace::hash()).trace.finish();
    assert_eq!(hash(11), hash(11));
    assert_ne!(hash(11), hash(12));
}

#[test]
fn an_exported_history_reads_back_and_is_judged_the_same() {
    let outcome = run_seed(3, Trace::Off);
    let text = write_json_lines(&outcome.history);
    for lines in text
        .lines()
        .collect::<Vec<_>>()
        .chunks(4)
        .step_by(7)
        .take(12)
    {
        corpus::seed("history_lines", lines.join("\n").as_bytes());
    }
    let read = read_json_lines(&text).unwrap();
    assert_eq!(read.len(), outcome.history.len());
    assert_eq!(read.completed(), outcome.history.completed());
    assert_eq!(read.check(), Ok(()));
    assert_eq!(
        write_json_lines(&read).lines().count(),
        text.lines().count()
    );
}

#[test]
fn a_broken_line_is_refused_with_its_number() {
    let good = r#"{"client":1,"kind":"execute","key":"k","arg":1,"ret":1,"start_ns":1,"end_ns":2,"outcome":"ok"}"#;
    corpus::seed("history_lines", good.as_bytes());
    for (bad, reason) in [
        ("{", "is no JSON"),
        ("[]", "must be a JSON object"),
        (r#"{"client":1}"#, "no field"),
        (&good.replace("execute", "eat"), "kind must be"),
        (
            &good.replace("\"end_ns\":2", "\"end_ns\":0"),
            "before start_ns",
        ),
        (
            &good.replace("\"end_ns\":2", "\"end_ns\":null"),
            "end_ns is null",
        ),
        (&good.replace("\"ret\":1", "\"ret\":\"x\""), "whole number"),
        (
            &good.replace("\"start_ns\":1", "\"start_ns\":-1"),
            "nanoseconds",
        ),
        (
            &good.replace("\"arg\":1", "\"arg\":{\"list\":\"eat\"}"),
            "one machine",
        ),
        (
            &good.replace("\"arg\":1", "\"arg\":{\"counter\":{\"add\":2,\"add\":1}}"),
            "\"add\" is there twice",
        ),
        (
            &good.replace("\"arg\":1", "\"arg\":{\"counter\":{\"add\":1,\"ad\":2}}"),
            "\"ad\" is no part of a counter's command",
        ),
        (&good.replace("\"ok\"", "\"busy\""), "nobody heard it"),
        (&good.replace("\"ok\"", "\"unknown\""), "nobody heard it"),
    ] {
        let error = read_json_lines(&format!("{good}\n{bad}\n")).unwrap_err();
        assert_eq!(error.line, 2, "{error}");
        assert!(error.to_string().contains(reason), "{error}");
    }
}

#[test]
fn a_history_of_a_real_cluster_is_judged() {
    let line = |kind: &str, arg: &str, ret: &str, start: u64, end: &str, outcome: &str| {
        format!(
            r#"{{"client":0,"kind":"{kind}","key":"rw/k","arg":{arg},"ret":{ret},"start_ns":{start},"end_ns":{end},"outcome":"{outcome}"}}"#
        )
    };
    let lost = [
        line("write", "\"a-0-1\"", "null", 1, "2", "ok"),
        line("write", "\"a-0-2\"", "null", 3, "null", "unknown"),
        line("write", "\"a-0-3\"", "null", 4, "5", "busy"),
        line("read", "null", "\"a-0-1\"", 6, "7", "ok"),
    ];
    assert_eq!(read_json_lines(&lost.join("\n")).unwrap().check(), Ok(()));
    corpus::seed("history_lines", lost.join("\n").as_bytes());
    let stale = line("read", "null", "null", 8, "9", "ok");
    let text = format!("{}\n{stale}", lost.join("\n"));
    assert!(read_json_lines(&text).unwrap().check().is_err());
    corpus::seed("history_lines", text.as_bytes());
}

#[test]
fn a_broken_protocol_is_found_and_shrunk() {
    let broken = (0..40).find_map(|seed| {
        let mut full = Configuration::draw(seed);
        full.mutants = Mutants::from(Mutant::ForgetCommands);
        shrink(&full, 20).map(|shrunk| (full, shrunk))
    });
    let (full, shrunk) = broken.expect("a repeated command takes effect twice somewhere");
    assert!(shrunk.limits != Limits::default());
    let least = full.limited(&shrunk.limits);
    let again = run(&least, Trace::Off).violation.unwrap();
    assert_eq!(again.promise, shrunk.outcome.violation.unwrap().promise);
}

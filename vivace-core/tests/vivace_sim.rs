//! The command `vivace-sim`: what it refuses, and that it judges what it is given.

#![allow(
    clippy::unwrap_used,
    clippy::disallowed_methods,
    clippy::disallowed_types
)]

use std::path::PathBuf;
use std::process::Command;

struct Ended {
    code: Option<i32>,
    out: String,
    err: String,
}

fn vivace_sim(words: &[&str]) -> Ended {
    let output = Command::new(env!("CARGO_BIN_EXE_vivace-sim"))
        .args(words)
        .output()
        .unwrap();
    Ended {
        code: output.status.code(),
        out: String::from_utf8(output.stdout).unwrap(),
        err: String::from_utf8(output.stderr).unwrap(),
    }
}

#[track_caller]
fn assert_refused(words: &[&str], says: &[&str]) {
    let ended = vivace_sim(words);
    assert_eq!(ended.code, Some(2), "{words:?}: {}{}", ended.out, ended.err);
    for part in says {
        assert!(ended.err.contains(part), "{words:?}: {}", ended.err);
    }
}

fn file(name: &str, lines: &[&str]) -> PathBuf {
    let path = PathBuf::from(env!("CARGO_TARGET_TMPDIR")).join(name);
    std::fs::write(&path, lines.join("\n")).unwrap();
    path
}

const WRITE: &str = r#"{"client":0,"kind":"write","key":"a","arg":"x","ret":null,"start_ns":10,"end_ns":20,"outcome":"ok"}"#;
const READ: &str = r#"{"client":0,"kind":"read","key":"a","arg":null,"ret":"x","start_ns":30,"end_ns":40,"outcome":"ok"}"#;
const STALE_READ: &str = r#"{"client":1,"kind":"read","key":"a","arg":null,"ret":null,"start_ns":30,"end_ns":40,"outcome":"ok"}"#;

#[test]
fn a_seed_that_is_none_is_refused() {
    for seed in ["", "x", "-1", "1.5", "0x10", "18446744073709551616"] {
        for command in ["replay", "shrink"] {
            let ended = vivace_sim(&[command, "--", seed]);
            assert_eq!(ended.code, Some(2), "{command} {seed}");
            assert!(ended.err.contains("whole number"), "{}", ended.err);
        }
    }
}

#[test]
fn a_mutant_or_model_that_is_none_is_refused() {
    assert_refused(
        &["replay", "1", "--mutant", "no-such"],
        &["the mutants are"],
    );
    assert_refused(
        &["exhaust", "--model", "abd"],
        &["possible values: rw, rmw"],
    );
    assert_refused(&["exhaust", "--operations", "0"], &["--operations"]);
    assert_refused(&["exhaust", "--crashes", "300"], &["--crashes"]);
    assert_refused(
        &["explore", "--verify-determinism", "101%"],
        &["0% to 100%"],
    );
}

#[test]
fn a_broken_line_is_named_by_file_and_number() {
    let whole = file("whole.jsonl", &[WRITE]);
    let whole = whole.to_str().unwrap();
    let cases: [(&str, &str); 6] = [
        ("{\"client\":0", "is no JSON"),
        ("[]", "must be a JSON object"),
        (&READ.replace("\"key\":\"a\",", ""), "no field \"key\""),
        (
            &READ.replace("\"end_ns\":40", "\"end_ns\":4"),
            "before start_ns",
        ),
        (&READ.replace("\"read\"", "\"peek\""), "kind must be"),
        (&READ.replace("\"ok\"", "\"OK\""), "outcome must be ok,"),
    ];
    for (broken, says) in cases {
        let path = file("broken.jsonl", &[WRITE, "", broken]);
        assert_refused(
            &["check", whole, path.to_str().unwrap()],
            &["broken.jsonl", "line 3", says],
        );
    }
}

#[test]
fn a_file_that_is_no_text_or_is_given_twice_is_named() {
    let whole = file("once.jsonl", &[WRITE]);
    let whole = whole.to_str().unwrap();
    assert_refused(&["check", whole, whole], &["once.jsonl", "given twice"]);
    let other = whole.replace("once.jsonl", "./once.jsonl");
    assert_refused(&["check", whole, &other], &["./once.jsonl", "given twice"]);
    let copy = file("copy.jsonl", &[WRITE]);
    let words = ["check", whole, copy.to_str().unwrap()];
    assert_refused(&words, &["copy.jsonl", "a file before it"]);
    let path = file("latin.jsonl", &[WRITE, READ]);
    let mut bytes = std::fs::read(&path).unwrap();
    bytes.extend(b"\n\xe9\n");
    std::fs::write(&path, bytes).unwrap();
    let words = ["check", path.to_str().unwrap()];
    assert_refused(&words, &["latin.jsonl", "line 3: is no UTF-8"]);
}

#[test]
fn a_write_of_unknown_outcome_may_be_read_later_whatever_its_end() {
    let unknown = WRITE.replace("\"ok\"", "\"unknown\"");
    let path = file("unknown.jsonl", &[&unknown, READ]);
    let ended = vivace_sim(&["check", path.to_str().unwrap()]);
    assert_eq!(ended.code, Some(0), "{} {}", ended.out, ended.err);
}

#[test]
fn limits_that_leave_nothing_or_name_nothing_are_refused() {
    for (limit, value) in [
        ("--faults", "999"),
        ("--clients", "0"),
        ("--clients", "99"),
        ("--operations", "0"),
    ] {
        assert_refused(&["replay", "3", limit, value], &[limit, "seed 3 has"]);
    }
}

#[test]
fn a_file_that_is_missing_or_empty_is_refused() {
    assert_refused(&["check", "/no/such/file"], &["/no/such/file"]);
    let empty = file("empty.jsonl", &[]);
    assert_refused(
        &["check", empty.to_str().unwrap()],
        &["no operation to judge"],
    );
    assert_refused(&["check"], &["FILE"]);
}

/// Each file alone is in order; together they are not.
#[test]
fn histories_of_several_files_are_judged_as_one() {
    let writer = file("writer.jsonl", &[WRITE, READ]);
    let reader = file("reader.jsonl", &[STALE_READ]);
    let (writer, reader) = (writer.to_str().unwrap(), reader.to_str().unwrap());
    for alone in [writer, reader] {
        let ended = vivace_sim(&["check", alone]);
        assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    }
    let ended = vivace_sim(&["check", writer, reader]);
    assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
    assert!(ended.out.contains("NOT linearizable"), "{}", ended.out);
}

/// Whoever takes a cut search for a proof must not hear 0.
#[test]
fn a_search_that_is_cut_says_so() {
    let ended = vivace_sim(&["exhaust", "--states", "50"]);
    assert_eq!(ended.code, Some(2), "{}{}", ended.out, ended.err);
    assert!(ended.out.contains("CUT at 50 states"), "{}", ended.out);
    assert!(ended.err.contains("nothing is proved"), "{}", ended.err);
}

fn execute(arg: &str, ret: &str, start: u64, outcome: &str) -> String {
    format!(
        r#"{{"client":0,"kind":"execute","key":"a","arg":{arg},"ret":{ret},"start_ns":{start},"end_ns":{},"outcome":"{outcome}"}}"#,
        start + 1
    )
}

#[test]
fn what_is_no_history_of_one_object_is_refused_with_its_line() {
    let state = READ
        .replace("\"read\"", "\"read_state\"")
        .replace("\"x\"", "\"00\"");
    let add = execute("1", "1", 50, "ok");
    let push = execute(r#"{"list":{"push":"00"}}"#, r#"{"length":1}"#, 60, "ok");
    let swap = r#"{"register":{"expected":null,"new":"00"}}"#;
    let cases = [
        (vec![WRITE, &add], "read_state"),
        (vec![&add, READ], "read_state"),
        (vec![WRITE, &state], "read_state"),
        (vec![&state, &add, &push], "two machines, counter and list"),
    ];
    for (number, (lines, why)) in cases.iter().enumerate() {
        let path = file(&format!("mixed-{number}.jsonl"), lines);
        let line = format!("line {}", lines.len());
        assert_refused(&["check", path.to_str().unwrap()], &[&line, why]);
    }
    let odd = [
        (execute(swap, "false", 50, "ok"), "outcome conflict"),
        (
            execute(r#"{"register":{"set":"+f"}}"#, "null", 50, "ok"),
            "hexadecimal",
        ),
        (
            WRITE.replace("\"ret\"", "\"key\":\"b\",\"ret\""),
            "there twice",
        ),
        (WRITE.replace("\"ret\":null", "\"ret\":1"), "ret of a write"),
        (READ.replace("\"arg\":null", "\"arg\":1"), "arg of a read"),
        (WRITE.replace("\"x\"", "18446744073709551616"), "strings"),
    ];
    for (line, why) in odd {
        let path = file("odd.jsonl", &[&line]);
        assert_refused(&["check", path.to_str().unwrap()], &["line 1", why]);
    }
}

#[test]
fn a_value_written_twice_is_judged() {
    let again = WRITE.replace("10", "50").replace("20", "60");
    let path = file("twice.jsonl", &[WRITE, &again, READ]);
    let ended = vivace_sim(&["check", path.to_str().unwrap()]);
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
}

/// As they stand in the file, so that they can be found there.
#[test]
fn a_violation_names_values_and_operations() {
    let path = file("stale.jsonl", &[WRITE, READ, STALE_READ]);
    let ended = vivace_sim(&["check", path.to_str().unwrap()]);
    assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
    for part in ["\"x\"", "nothing written", READ] {
        assert!(ended.out.contains(part), "{part}: {}", ended.out);
    }
    let wrong = execute("1", "2", 50, "ok");
    let path = file("sum.jsonl", &[&wrong]);
    let ended = vivace_sim(&["check", path.to_str().unwrap()]);
    assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
    assert!(
        ended.out.contains(r#"{"counter":{"add":1}}"#),
        "{}",
        ended.out
    );
}

/// The pipe's reader has seen enough; the run is judged to its end all the same.
#[test]
fn a_closed_pipe_hides_no_violation() {
    for words in ["replay 2", "explore --from 2 --seeds 1 --shrink-runs 1"] {
        let mut child = Command::new(env!("CARGO_BIN_EXE_vivace-sim"))
            .args(words.split(' '))
            .args(["--mutant", "minority-quorum"])
            .stdout(std::process::Stdio::piped())
            .stderr(std::process::Stdio::null())
            .spawn()
            .unwrap();
        let mut line = [0; 16];
        let mut out = child.stdout.take().unwrap();
        std::io::Read::read_exact(&mut out, &mut line).unwrap();
        drop(out);
        assert_eq!(child.wait().unwrap().code(), Some(1), "{words}");
    }
}

#[test]
fn the_last_seeds_can_be_explored() {
    let last = [
        "--from",
        "18446744073709551613",
        "--seeds",
        "2",
        "--jobs",
        "2",
    ];
    let ended = vivace_sim(&[&["explore"][..], &last].concat());
    assert_eq!(ended.code, Some(0), "{}{}", ended.out, ended.err);
    assert!(ended.out.starts_with("2 seeds"), "{}", ended.out);
}

#[test]
fn a_mutant_in_a_small_cluster_ends_with_its_schedule() {
    let ended = vivace_sim(&["exhaust", "--crashes", "0", "--mutant", "minority-quorum"]);
    assert_eq!(ended.code, Some(1), "{}{}", ended.out, ended.err);
    assert!(ended.out.contains("not linearizable"), "{}", ended.out);
    assert!(ended.out.contains("client -> node 0 asks"), "{}", ended.out);
}

/// Three seeds can't take every rare path; what was not taken is named, and nothing else.
#[test]
fn an_exploration_that_took_no_rare_path_fails_and_names_it() {
    let few = vivace_sim(&["explore", "--seeds", "3"]);
    assert_eq!(few.code, Some(0), "{}{}", few.out, few.err);
    assert!(!few.out.contains("NOT COVERED"), "{}", few.out);
    let enough = vivace_sim(&["explore", "--seeds", "3", "--cover-from", "3"]);
    assert_eq!(enough.code, Some(1), "{}{}", enough.out, enough.err);
    assert!(enough.out.contains("no violation"), "{}", enough.out);
    let missing = enough.out.lines();
    let missing: Vec<&str> = missing
        .filter_map(|line| line.strip_prefix("NOT COVERED: "))
        .collect();
    assert!(!missing.is_empty(), "{}", enough.out);
    for mark in missing {
        let taken = format!("  {mark}\n");
        assert!(!enough.out.contains(&taken), "{mark}: {}", enough.out);
    }
    let too_few = vivace_sim(&["explore", "--seeds", "3", "--cover-from", "4"]);
    assert_eq!(too_few.code, Some(0), "{}{}", too_few.out, too_few.err);
}

#[test]
fn what_no_run_can_be_made_of_is_refused() {
    let cases: [(&[&str], &[&str]); 19] = [
        (
            &["explore", "--seeds", "0"],
            &["--seeds must be 1 at least"],
        ),
        (&["explore", "--jobs", "0"], &["--jobs", "1..=1024"]),
        (&["mutants", "--jobs", "1025"], &["--jobs", "1..=1024"]),
        (&["exhaust", "--operations", "3,1"], &["1 stands behind 3"]),
        (&["exhaust", "--operations", "1,1"], &["1 stands behind 1"]),
        (
            &["explore", "--from", "18446744073709551615"],
            &["--from plus --seeds"],
        ),
        (&["explore", "--seeds", "many"], &["--seeds", "many"]),
        // No exploration can ask for less than the usual one does.
        (&["explore", "--cover-from", "2001"], &["--cover-from"]),
        (&["explore", "--cover-from", "0"], &["--cover-from"]),
        (
            &["mutants", "--seeds", "0"],
            &["--seeds must be 1 at least"],
        ),
        (&["mutants", "--only", "no-such"], &["no-such"]),
        (&["replay", "1", "--faults", "one"], &["no fault's number"]),
        (&["exhaust", "--crash-at", "3"], &["--crash-at"]),
        (&["exhaust", "--states", "none"], &["--states"]),
        (&["exhaust", "--losses", "9"], &["--losses"]),
        (&["exhaust", "--at", "0,1"], &["--at", "3 operations"]),
        (
            &["exhaust", "--operations", "1,3", "--after", "0,0,1"],
            &["--after", "2 operations"],
        ),
        (
            &["exhaust", "--after", "0,2,0"],
            &["--after", "operation 2"],
        ),
        (&["prove"], &["prove"]),
    ];
    for (words, says) in cases {
        assert_refused(words, says);
    }
}

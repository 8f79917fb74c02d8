//! What an exploration must have come across to prove anything: every rare path taken,
//! and nearly every history judged.

use std::collections::BTreeMap;

/// What this many seeds never did, they can't do.
pub const SEEDS_TO_COVER: u64 = 2_000;

/// Rare paths that a long exploration must have taken.
const EXPECTED_MARKS: &[&str] = &[
    "aborted: a value without a timestamp",
    "adopted anew: another base, by promises of others",
    "asked after all: a replica beyond a majority",
    "asked: a replica lacks what is taken over",
    "asked: a value whose commands come before what they change",
    "asked: whether a value has come that nobody acknowledged",
    "busy: the backlog is full",
    "busy: the backlog of a local set is full",
    "came back: from query mode to clock mode",
    "commit wait judged by a replica's clock",
    "contested: a vote waits for the silent",
    "derived: a version that came as commands",
    "died: a coordinator with an operation under way",
    "direct: an RMW round without promises",
    "disturbed: a direct round that another coordinator came before",
    "dropped: a value, for the disk is full",
    "early: a value awaited when its timestamp was known",
    "early: a value that came with its timestamp",
    "early: a value, but older than was wanted",
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
    "fault: crash at a step",
    "fault: crash between two messages",
    "fault: crash for good",
    "fault: crash",
    "fault: messages vanish in silence",
    "fault: one kind of message is lost",
    "fault: pause",
    "fault: power failure",
    "fault: writes that one replica alone is told of",
    "fell back: from clock mode to query mode",
    "gone: a version asked for after a newer one was chosen",
    "hasty: a request to a second node",
    "hedged: a value asked of one more node",
    "judged: truthful nodes beside lying clocks",
    "kept: the version before one that a crash left without its value",
    "late: a client waits for the next round",
    "lost: a value at its relay",
    "lost: a value whose record outlived it",
    "lost: an RMW round to another coordinator",
    "lost: the newest version with a site",
    "overlooked: a replica's timestamp ahead of the clock",
    "read-only command completed by a round",
    "read: a timestamp ahead of its value",
    "rechecked: promises whose base does not come",
    "rechecked: reports whose version does not come",
    "recovered: a value ahead of its record",
    "refused: BIND of an aborted write",
    "refused: a copy of an aborted write",
    "refused: a damaged journal",
    "refused: timestamp ahead of the clock",
    "repair: a value that the disk lost is asked for",
    "repaired: a value that the disk lost has come",
    "repeated: a command with an unknown outcome",
    "repeated: a request without an answer",
    "repeated: a value without an acknowledgment",
    "restarted: a read whose value nobody sent",
    "sent: commands in their value's stead",
    "shared: a read joins another's round",
    "spared: replicas beyond a majority",
    "superseded: a value by a newer one",
    "taken over: a value that nobody carried",
    "waits: a replica that lacks the value it knows of",
    "waits: a value to be taken over",
    "yielded: it is another coordinator's turn",
];

/// Bounds that swarms stay within, and messages that no node sends there. The scenarios of
/// `tests/scenarios` take each of these, and look for the mark.
#[cfg(test)]
const NOT_IN_SWARMS: &[&str] = &[
    "asked: a value that its commands do not make here",
    "asked: a value, for too many are being made",
    "dropped: a question for a value, for room",
    "dropped: a value, because the disk is behind",
    "dropped: an answer of another epoch",
    "dropped: an answer, because the disk is behind",
    "lost: a value, by the disk",
    "refused: another epoch",
    "refused: message of another algorithm",
    "refused: not a replica",
    "refused: not in the local set",
    "refused: relay to a node that is no replica here",
    "refused: unknown container",
    "waits: a value for room on the way",
];

/// What the judge says of a run that it judges less of.
#[cfg(test)]
const NO_PATHS: &[&str] = &[
    UNDECIDED,
    "lost: a baseline's value, by crashes at a majority",
];

/// Objects whose histories are too long to judge: one of a machine in 10,000 seeds has so
/// many commands without an answer that the search for an order gives up.
const UNDECIDED: &str = "undecided: a history too long to judge";

/// More of them than one in so many seeds say that the checker does not judge any more.
const SEEDS_PER_UNDECIDED: u64 = 1_000;

/// A line for each thing that these seeds, with so many of each mark, should have done and
/// did not.
pub fn wanting(seeds: u64, marks: &BTreeMap<String, u64>) -> Vec<String> {
    let count = |mark: &str| marks.get(mark).copied().unwrap_or_default();
    let missing = EXPECTED_MARKS.iter().filter(|mark| count(mark) == 0);
    let mut lines: Vec<String> = missing.map(|mark| format!("NOT COVERED: {mark}")).collect();
    let undecided = count(UNDECIDED);
    if undecided > seeds / SEEDS_PER_UNDECIDED {
        lines.push(format!("NOT JUDGED: {undecided} objects, in {seeds} seeds"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;
    use std::fs;
    use std::path::Path;

    use super::*;

    /// As if every path had been taken once.
    fn all_taken() -> BTreeMap<String, u64> {
        let all = EXPECTED_MARKS.iter();
        all.map(|mark| ((*mark).to_owned(), 1)).collect()
    }

    #[test]
    fn each_path_that_was_never_taken_is_named() {
        assert_eq!(wanting(SEEDS_TO_COVER, &all_taken()), [""; 0]);
        for mark in EXPECTED_MARKS {
            let expected = [format!("NOT COVERED: {mark}")];
            let mut marks = all_taken();
            marks.insert((*mark).to_owned(), 0);
            assert_eq!(wanting(SEEDS_TO_COVER, &marks), expected);
            marks.remove(*mark);
            assert_eq!(wanting(SEEDS_TO_COVER, &marks), expected);
        }
        let none = wanting(SEEDS_TO_COVER, &BTreeMap::new());
        assert_eq!(none.len(), EXPECTED_MARKS.len());
    }

    #[test]
    fn more_than_one_undecided_object_in_a_thousand_seeds_is_a_failure() {
        let with = |undecided| {
            let mut marks = all_taken();
            marks.insert(UNDECIDED.to_owned(), undecided);
            marks
        };
        for (seeds, allowed) in [(2_000, 2), (2_999, 2), (200_000, 200)] {
            assert_eq!(wanting(seeds, &with(allowed)), [""; 0]);
            let one_more = allowed + 1;
            let expected = [format!("NOT JUDGED: {one_more} objects, in {seeds} seeds")];
            assert_eq!(wanting(seeds, &with(one_more)), expected);
        }
    }

    /// The rare paths that a night's run must have taken, whatever else it took.
    #[test]
    fn the_paths_of_the_protocol_that_testers_miss_are_all_due() {
        for path in [
            "hedged: ",
            "fell back: ",
            "taken over: ",
            "early: ",
            "contested: ",
            "aborted: ",
            "refused: BIND ",
            "gone: ",
            "read: a timestamp ahead of its value",
        ] {
            let is_due = EXPECTED_MARKS.iter().any(|mark| mark.starts_with(path));
            assert!(is_due, "{path}");
        }
    }

    fn read(path: &Path, files: &mut Vec<String>) {
        for entry in fs::read_dir(path).expect("the sources are here") {
            let path = entry.expect("the sources are here").path();
            if path.is_dir() {
                read(&path, files);
            } else if path.extension().is_some_and(|extension| extension == "rs") {
                files.push(fs::read_to_string(path).expect("the sources are here"));
            }
        }
    }

    /// What the code counts is due in a long exploration, or a scenario looks for it.
    #[test]
    fn no_path_is_counted_and_never_asked_for() {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"));
        let (mut code, mut scenarios) = (Vec::new(), Vec::new());
        read(&root.join("src"), &mut code);
        read(&root.join("tests/scenarios"), &mut scenarios);
        let mut counted = BTreeSet::new();
        for text in &code {
            let calls = [".count(", ".mark(", "let cause = "].map(|call| text.split(call).skip(1));
            for behind in calls.into_iter().flatten() {
                let literal = behind.trim_start().strip_prefix('"');
                let mark = literal.and_then(|behind| behind.split('"').next());
                let is_mark = |mark: &&str| mark.starts_with(char::is_lowercase);
                counted.extend(mark.filter(is_mark));
            }
        }
        assert!(counted.len() > EXPECTED_MARKS.len(), "{counted:?}");
        for mark in counted {
            let is_known = [EXPECTED_MARKS, NOT_IN_SWARMS, NO_PATHS]
                .iter()
                .any(|list| list.contains(&mark));
            assert!(is_known, "{mark:?} is counted and in no list");
        }
        for mark in NOT_IN_SWARMS {
            let quoted = format!("\"{mark}\"");
            let is_shown = scenarios.iter().any(|text| text.contains(&quoted));
            assert!(is_shown, "no scenario looks for {mark:?}");
        }
    }

    #[test]
    fn no_mark_is_listed_twice() {
        let lists = [EXPECTED_MARKS, NOT_IN_SWARMS, NO_PATHS].concat();
        let all: BTreeSet<&str> = lists.iter().copied().collect();
        assert_eq!(all.len(), lists.len());
    }
}

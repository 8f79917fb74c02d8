//! What an exploration must have come across to prove anything: every rare path taken,
//! and nearly every history judged.

use std::collections::BTreeMap;

/// What this many seeds never did, they can't do.
pub const SEEDS_TO_COVER: u64 = 2_000;

/// Rare paths that a long exploration must have taken.
const EXPECTED_MARKS: &[&str] = &[
    "aborted: a value without a timestamp",
    "asked: a value whose commands come before what they change",
    "busy: the backlog is full",
    "came back: from query mode to clock mode",
    "commit wait judged by a replica's clock",
    "contested: a vote waits for the silent",
    "died: a coordinator with an operation under way",
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
    "fault: writes that one replica alone is told of",
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
    "kept: the version before one that a crash left without its value",
    "late: a client waits for the next round",
    "lost: a value at its relay",
    "lost: an RMW round to another coordinator",
    "derived: a version that came as commands",
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
    "sent: commands in their value's stead",
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

/// A line for each thing that these seeds, with so many of each mark, should have done and
/// did not.
pub fn wanting(seeds: u64, marks: &BTreeMap<String, u64>) -> Vec<String> {
    let rare = match seeds >= SEEDS_TO_COVER_ALL {
        true => RARE_MARKS,
        false => &[],
    };
    let count = |mark: &str| marks.get(mark).copied().unwrap_or_default();
    let expected = EXPECTED_MARKS.iter().chain(rare);
    let missing = expected.filter(|mark| count(mark) == 0);
    let mut lines: Vec<String> = missing.map(|mark| format!("NOT COVERED: {mark}")).collect();
    let undecided = count(UNDECIDED);
    if undecided > seeds / SEEDS_PER_UNDECIDED {
        lines.push(format!("NOT JUDGED: {undecided} objects, in {seeds} seeds"));
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As if every path had been taken once.
    fn all_taken() -> BTreeMap<String, u64> {
        let all = EXPECTED_MARKS.iter().chain(RARE_MARKS);
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
        let none = wanting(SEEDS_TO_COVER_ALL, &BTreeMap::new());
        assert_eq!(none.len(), EXPECTED_MARKS.len() + RARE_MARKS.len());
    }

    #[test]
    fn the_rarest_paths_are_due_from_more_seeds_on() {
        for mark in RARE_MARKS {
            let mut marks = all_taken();
            marks.remove(*mark);
            assert_eq!(wanting(SEEDS_TO_COVER_ALL - 1, &marks), [""; 0]);
            let expected = [format!("NOT COVERED: {mark}")];
            assert_eq!(wanting(SEEDS_TO_COVER_ALL, &marks), expected);
        }
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

    #[test]
    fn no_mark_is_listed_twice() {
        assert_eq!(all_taken().len(), EXPECTED_MARKS.len() + RARE_MARKS.len());
    }
}

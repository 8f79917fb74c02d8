//! Directories that are a node's, and all that are not.

use super::*;

const NODE: NodeId = NodeId(1);
const PARTS: [&str; 1] = ["journal"];

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().expect("a temporary directory"));
        DataDirectory::make(&home.data(), "test", NODE).expect("makes it");
        home
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn witness(&self) -> PathBuf {
        self.0.path().join("witness")
    }

    fn claim(&self) -> Result<DataDirectory, IdentityError> {
        DataDirectory::claim(&self.data(), "test", NODE, &PARTS, Some(&self.witness()))
    }

    fn live(&self) -> u16 {
        let mut claimed = self.claim().expect("is the node's");
        fs::create_dir_all(self.data().join("journal")).expect("makes it");
        claimed.begin_life().expect("begins").0
    }

    /// The code of a refusal, which changes nothing.
    fn refused(&self) -> u8 {
        let before = contents(self.0.path());
        let error = self.claim().expect_err("is refused");
        assert_eq!(contents(self.0.path()), before, "{error}");
        error.exit_code()
    }
}

fn contents(path: &Path) -> Vec<(PathBuf, Option<Vec<u8>>)> {
    let mut found = Vec::new();
    for entry in fs::read_dir(path).expect("lists") {
        let path = entry.expect("an entry").path();
        found.push((path.clone(), fs::read(&path).ok()));
        if path.is_dir() {
            found.extend(contents(&path));
        }
    }
    found.sort();
    found
}

fn copy(from: &Path, to: &Path) {
    fs::create_dir_all(to).expect("makes it");
    for entry in fs::read_dir(from).expect("lists") {
        let path = entry.expect("an entry").path();
        let to = to.join(path.file_name().expect("a name"));
        match path.is_dir() {
            true => copy(&path, &to),
            false => drop(fs::copy(&path, &to).expect("copies")),
        }
    }
}

#[test]
fn every_start_is_another_life() {
    let home = Home::new();
    assert_eq!((home.live(), home.live(), home.live()), (1, 2, 3));
}

#[test]
fn missing_emptied_and_half_emptied_directories_are_refused() {
    let home = Home::new();
    home.live();
    fs::remove_dir_all(home.data().join("journal")).expect("removes");
    assert_eq!(home.refused(), 11);
    fs::create_dir(home.data().join("journal")).expect("makes it");
    fs::remove_file(home.data().join(IDENTITY)).expect("removes");
    assert_eq!(home.refused(), 11);
    fs::remove_dir_all(home.data().join("journal")).expect("removes");
    assert_eq!(home.refused(), 11);
    fs::remove_dir(home.data()).expect("removes");
    assert_eq!(home.refused(), 10);
}

#[test]
fn a_directory_made_anew_for_a_node_that_has_lived_is_refused() {
    let home = Home::new();
    home.live();
    fs::remove_dir_all(home.data()).expect("removes");
    DataDirectory::make(&home.data(), "test", NODE).expect("makes it");
    assert_eq!(home.refused(), 11);
}

#[test]
fn another_nodes_and_another_clusters_directories_are_refused() {
    let home = Home::new();
    let claim = |cluster: &str, node| {
        DataDirectory::claim(&home.data(), cluster, node, &PARTS, None).map(|_| ())
    };
    let wrong = claim("test", NodeId(2)).expect_err("is node 1's");
    assert_eq!(wrong.exit_code(), 12);
    let wrong = claim("other", NODE).expect_err("is cluster test's");
    assert_eq!(wrong.exit_code(), 12);
    assert!(wrong.to_string().contains("\"test\""), "{wrong}");
    claim("test", NODE).expect("is its own");
}

#[test]
fn a_directory_of_other_files_is_refused() {
    let home = Home::new();
    fs::remove_file(home.data().join(IDENTITY)).expect("removes");
    fs::write(home.data().join("letter.txt"), "dear all").expect("writes");
    assert_eq!(home.refused(), 12);
}

#[test]
fn a_copy_is_refused_until_it_is_adopted() {
    let home = Home::new();
    home.live();
    let away = home.0.path().join("away");
    fs::rename(home.data(), &away).expect("moves");
    assert!(birth(&away).is_some(), "this file system knows no births");
    copy(&away, &home.data());
    assert_eq!(home.refused(), 13);
    let (data, witness) = (home.data(), home.witness());
    DataDirectory::adopt(&data, "test", NODE, &PARTS, Some(&witness)).expect("adopts");
    assert_eq!(home.live(), 2);
}

/// Put back from an earlier moment of the same start: the number is right. The mark changes
/// with every commit, so that whoever puts older files back makes it anew.
#[test]
fn a_journal_that_is_a_copy_is_refused_until_it_is_adopted() {
    let home = Home::new();
    home.live();
    let mark = home.data().join("journal/mark");
    fs::write(&mark, "early").expect("writes");
    home.live();
    let claimed = home.claim().expect("is the node's");
    fs::write(&mark, "late").expect("writes");
    claimed.check_journal().expect("is the original");
    let away = home.0.path().join("away");
    fs::rename(&mark, &away).expect("moves");
    fs::rename(&away, &mark).expect("moves back");
    claimed.check_journal().expect("is the original");
    fs::write(&away, "early").expect("writes");
    fs::rename(&away, &mark).expect("puts back");
    let error = claimed.check_journal().expect_err("is a copy");
    assert_eq!(error.exit_code(), 13);
    drop(claimed);
    let (data, witness) = (home.data(), home.witness());
    DataDirectory::adopt(&data, "test", NODE, &PARTS, Some(&witness)).expect("adopts");
    let claimed = home.claim().expect("is the node's");
    claimed.check_journal().expect("is adopted");
}

#[test]
fn an_older_state_is_refused() {
    let home = Home::new();
    home.live();
    let identity = fs::read(home.data().join(IDENTITY)).expect("reads");
    home.live();
    fs::write(home.data().join(IDENTITY), identity).expect("writes");
    assert_eq!(home.refused(), 13);
}

#[test]
fn newer_older_and_damaged_formats_are_refused() {
    let home = Home::new();
    let path = home.data().join(IDENTITY);
    let text = fs::read_to_string(&path).expect("reads");
    let with = |text: &str| fs::write(&path, text).expect("writes");
    with(&text.replace("vivace-data 3", "vivace-data 4"));
    assert_eq!(home.refused(), 14);
    with("vivace-log-1 cluster test node 1 incarnation 4\n");
    assert_eq!(home.refused(), 15);
    with(&text.replace("node 1", "node one"));
    let error = home.claim().expect_err("is damaged");
    assert_eq!(error.exit_code(), 21);
    assert!(error.to_string().contains("line 3"), "{error}");
    // Nothing is behind the eight lines that anyone would have meant.
    with(&format!("{text}life 9\n"));
    let error = home.claim().expect_err("is damaged");
    assert_eq!(error.exit_code(), 21);
    assert!(error.to_string().contains("line 9"), "{error}");
    // The format before knew of no starts.
    with(
        &text
            .replace("vivace-data 3", "vivace-data 2")
            .replace("starts none\n", "")
            .replace("journal-born unknown\n", ""),
    );
    assert_eq!(home.live(), 1);
    let text = fs::read_to_string(&path).expect("reads");
    assert!(text.starts_with("vivace-data 3\n"), "{text}");
}

#[test]
fn each_start_is_told_from_all_others_and_remembered() {
    let home = Home::new();
    let next = || home.claim().expect("is the node's").history().starts;
    assert_ne!(next(), next());
    home.live();
    let first = home.claim().expect("is the node's");
    let expected = first.history().starts;
    assert_eq!(expected.len(), 2);
    drop(first);
    home.live();
    let starts = next();
    assert_eq!(starts.len(), 3);
    assert_eq!(starts[0], expected[0]);
    assert_ne!(starts[1], expected[1]);
    let mut claimed = home.claim().expect("is the node's");
    let announced = claimed.history();
    claimed.begin_life().expect("begins");
    assert_eq!(claimed.history(), announced);
}

#[test]
fn a_state_that_peers_refused_is_not_started_again() {
    let home = Home::new();
    home.live();
    let claimed = home.claim().expect("is the node's");
    claimed.mark_outdated("node 2 knows more").expect("marks");
    drop(claimed);
    assert_eq!(home.refused(), 13);
    let mark = home.data().join(OUTDATED);
    assert_eq!(
        fs::read_to_string(&mark).expect("reads"),
        "node 2 knows more\n"
    );
    fs::remove_file(mark).expect("removes");
    assert_eq!(home.live(), 2);
}

#[test]
fn a_directory_in_use_is_refused() {
    let home = Home::new();
    let claimed = home.claim().expect("is the node's");
    assert_eq!(home.refused(), 17);
    drop(claimed);
    home.live();
}

#[test]
fn make_touches_no_directory_with_files() {
    let home = Home::new();
    let before = contents(home.0.path());
    let again = DataDirectory::make(&home.data(), "test", NODE);
    assert!(matches!(again, Err(IdentityError::Taken(_))));
    assert_eq!(contents(home.0.path()), before);
}

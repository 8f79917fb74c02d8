//! Directories that are a node's, and all that are not.

use super::*;

use vivace_core::NodeId;
use vivace_core::journal::MarkTrouble;

const NODE: NodeId = NodeId(1);
const PARTS: [&str; 1] = ["journal"];

fn owner() -> Owner {
    Owner {
        cluster_id: Some(ClusterId([0xc1; 16])),
        ..Owner::named("test", NODE)
    }
}

struct Home(tempfile::TempDir);

impl Home {
    fn new() -> Self {
        let home = Self(tempfile::tempdir().expect("a temporary directory"));
        DataDirectory::make(&home.data(), &owner()).expect("makes it");
        home
    }

    fn data(&self) -> PathBuf {
        self.0.path().join("data")
    }

    fn witness(&self) -> PathBuf {
        self.0.path().join("witness")
    }

    fn claim(&self) -> Result<DataDirectory, IdentityError> {
        DataDirectory::claim(&self.data(), &owner(), &PARTS, Some(&self.witness()))
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

/// The operator says that the directory is the node's newest state.
fn adopt(data: &Path, witness: &Path) {
    let attested = Attestation {
        original_is_gone: true,
        ..Attestation::default()
    };
    let claimed = DataDirectory::attest(data, &owner(), &PARTS, Some(witness), attested);
    claimed.expect("is attested").adopt().expect("adopts");
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
    DataDirectory::make(&home.data(), &owner()).expect("makes it");
    assert_eq!(home.refused(), 11);
}

#[test]
fn another_nodes_and_another_clusters_directories_are_refused() {
    let home = Home::new();
    let claim = |owner: Owner| DataDirectory::claim(&home.data(), &owner, &PARTS, None).map(|_| ());
    let (mut node, mut name, mut id, mut no_id) = (owner(), owner(), owner(), owner());
    node.node = NodeId(2);
    name.cluster = "other".into();
    id.cluster_id = Some(ClusterId([0xc2; 16]));
    no_id.cluster_id = None;
    for (wrong, says) in [
        (node, "node 1 of"),
        (name, "\"test\""),
        (id, "id c2c2"),
        (no_id, "put `id = \"c1c1"),
    ] {
        let error = claim(wrong).expect_err("is another's");
        assert_eq!(error.exit_code(), 12);
        assert!(error.to_string().contains(says), "{error}");
    }
    claim(owner()).expect("is its own");
}

#[test]
fn a_directory_from_before_there_were_ids_takes_the_clusters() {
    let home = Home::new();
    let identity = home.data().join(IDENTITY);
    fs::remove_file(&identity).expect("removes");
    DataDirectory::make(&home.data(), &Owner::named("test", NODE)).expect("makes it");
    home.live();
    let text = fs::read_to_string(&identity).expect("reads");
    assert!(text.contains("cluster-id c1c1"), "{text}");
}

/// A slip in the cluster's file, which the directory took over.
#[test]
fn a_wrong_id_is_corrected_by_the_operators_word_alone() {
    let home = Home::new();
    let (data, witness) = (home.data(), home.witness());
    home.live();
    let right = Owner {
        cluster_id: Some(ClusterId([0xc2; 16])),
        ..owner()
    };
    let claim = || DataDirectory::claim(&data, &right, &PARTS, Some(&witness));
    let error = claim().expect_err("has another id");
    assert!(error.to_string().contains("--id-is-right"), "{error}");
    let other = Owner {
        node: NodeId(2),
        ..right.clone()
    };
    let attested = Attestation {
        id_is_right: true,
        ..Attestation::default()
    };
    let adopt =
        |owner| DataDirectory::attest(&data, owner, &PARTS, Some(&witness), attested)?.adopt();
    assert_eq!(adopt(&other).expect_err("is node 1's").exit_code(), 12);
    // Another cluster's, of which this node's witness knows nothing.
    let own = fs::read(&witness).expect("reads");
    let elsewhere = Home::new();
    elsewhere.live();
    fs::copy(elsewhere.witness(), &witness).expect("copies");
    assert_eq!(
        adopt(&right).expect_err("is not the node's").exit_code(),
        12
    );
    fs::write(&witness, own).expect("writes");
    adopt(&right).expect("adopts");
    claim().expect("is the node's");
}

/// The witness is this node's, and right; the directory is another's.
#[test]
fn no_word_of_its_id_makes_another_clusters_directory_this_nodes() {
    let home = Home::new();
    home.live();
    let other = Home::new();
    fs::remove_file(other.data().join(IDENTITY)).expect("removes");
    let elsewhere = Owner {
        cluster_id: Some(ClusterId([0xc2; 16])),
        ..owner()
    };
    DataDirectory::make(&other.data(), &elsewhere).expect("makes it");
    let mut claimed =
        DataDirectory::claim(&other.data(), &elsewhere, &PARTS, None).expect("is another's");
    fs::create_dir(other.data().join("journal")).expect("makes it");
    claimed.begin_life().expect("begins");
    drop(claimed);
    let attested = Attestation {
        id_is_right: true,
        ..Attestation::default()
    };
    let witness = home.witness();
    let error = DataDirectory::attest(&other.data(), &owner(), &PARTS, Some(&witness), attested)
        .expect_err("is not where the node lived");
    assert!(matches!(error, IdentityError::Another { .. }), "{error}");
}

/// As `cp -a backup/. node-1/` does it, which makes no file anew.
#[test]
fn files_of_an_earlier_start_written_over_those_of_a_later_are_known() {
    let home = Home::new();
    home.live();
    if birth(&home.data()).is_none() {
        eprintln!("SKIPPED: this file system keeps no times of birth");
        return;
    }
    let paths = [
        home.data().join(IDENTITY),
        home.data().join("journal/life"),
        home.witness(),
    ];
    let backup = paths.clone().map(|path| fs::read(path).expect("reads"));
    home.live();
    let check = || home.claim().expect("is the node's").check_journal(None);
    check().expect("is the newest");
    for (path, earlier) in paths.iter().zip(backup) {
        fs::write(path, earlier).expect("writes over it");
    }
    let error = check().expect_err("is an earlier one");
    assert_eq!(error.exit_code(), 13);
    adopt(&home.data(), &home.witness());
    check().expect("is taken for the newest");
}

/// Another node's beside this one's configuration.
#[test]
fn another_nodes_witness_is_refused() {
    let home = Home::new();
    home.live();
    let other = Owner {
        node: NodeId(2),
        ..owner()
    };
    let elsewhere = home.0.path().join("elsewhere");
    DataDirectory::make(&elsewhere, &other).expect("makes it");
    let witness = home.witness();
    let mut claimed = DataDirectory::claim(&elsewhere, &other, &PARTS, None).expect("is node 2's");
    claimed.witness = Some(witness);
    claimed.begin_life().expect("begins");
    assert_eq!(home.refused(), 12);
    let error = home.claim().expect_err("is refused").to_string();
    assert!(error.contains("the witness of node 2"), "{error}");

    // Of the same node, in another cluster of the name.
    let other = Owner {
        cluster_id: Some(ClusterId([0xc2; 16])),
        ..owner()
    };
    let there = Home::new();
    fs::remove_file(there.data().join(IDENTITY)).expect("removes");
    DataDirectory::make(&there.data(), &other).expect("makes it");
    let mut claimed = DataDirectory::claim(&there.data(), &other, &PARTS, Some(&there.witness()))
        .expect("is its own");
    claimed.begin_life().expect("begins");
    fs::copy(there.witness(), home.witness()).expect("copies");
    let error = home.claim().expect_err("is refused").to_string();
    assert!(error.contains("with id c2c2"), "{error}");
}

#[test]
fn what_has_lost_its_birth_was_moved_to_another_file_system() {
    for (born, now) in [(None, None), (None, Some(1)), (Some(1), Some(1))] {
        assert!(is_original(born, now), "{born:?} {now:?}");
    }
    for (born, now) in [(Some(1), Some(2)), (Some(1), None)] {
        assert!(!is_original(born, now), "{born:?} {now:?}");
    }
}

#[test]
fn a_journal_without_a_sound_mark_is_refused_until_it_is_adopted() {
    let home = Home::new();
    home.live();
    let mark = home.data().join("journal/mark");
    fs::write(&mark, "some").expect("writes");
    home.live();
    let claimed = home.claim().expect("is the node's");
    let trouble = Some(MarkTrouble::Blank);
    let error = claimed.check_journal(trouble).expect_err("tells nothing");
    assert_eq!(error.exit_code(), 11);
    assert!(error.to_string().contains("mark: is blank"), "{error}");
    drop(claimed);
    // Nor does a file system without births make it sound.
    let path = home.data().join(IDENTITY);
    let mut identity = Identity::read(&path).expect("reads").expect("is there");
    identity.journal_born = JournalBirth::Unknown;
    fs::write(&path, identity.encode()).expect("writes");
    let claimed = home.claim().expect("is the node's");
    claimed.check_journal(trouble).expect_err("tells nothing");
    drop(claimed);
    let (data, witness) = (home.data(), home.witness());
    adopt(&data, &witness);
    let claimed = home.claim().expect("is the node's");
    claimed.check_journal(trouble).expect("is adopted");
}

/// No digit of it can be another without being noticed, and what notices says that.
#[test]
fn damaged_files_are_told_from_others() {
    let home = Home::new();
    home.live();
    let (identity, witness) = (home.data().join(IDENTITY), home.witness());
    for path in [identity, witness] {
        let sound = fs::read(&path).expect("reads");
        for at in 0..sound.len() {
            let mut damaged = sound.clone();
            damaged[at] ^= 1;
            fs::write(&path, &damaged).expect("writes");
            let error = home.claim().expect_err("is damaged");
            let code = error.exit_code();
            // A later format is told by its number.
            let is_format = error.to_string().contains("run the newer program");
            assert!(code == 21 || (code == 14 && is_format), "at {at}: {error}");
        }
        for cut in 0..sound.len() {
            fs::write(&path, &sound[..cut]).expect("writes");
            let error = home.claim().expect_err("is damaged");
            assert_eq!(error.exit_code(), 21, "cut at {cut}: {error}");
        }
        fs::write(&path, &sound).expect("writes");
    }
    home.claim().expect("is sound again");
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
    adopt(&data, &witness);
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
    claimed.check_journal(None).expect("is the original");
    let away = home.0.path().join("away");
    fs::rename(&mark, &away).expect("moves");
    fs::rename(&away, &mark).expect("moves back");
    claimed.check_journal(None).expect("is the original");
    fs::write(&away, "early").expect("writes");
    fs::rename(&away, &mark).expect("puts back");
    let error = claimed.check_journal(None).expect_err("is a copy");
    assert_eq!(error.exit_code(), 13);
    drop(claimed);
    let (data, witness) = (home.data(), home.witness());
    adopt(&data, &witness);
    let claimed = home.claim().expect("is the node's");
    claimed.check_journal(None).expect("is adopted");
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
fn newer_and_older_formats_are_refused() {
    let home = Home::new();
    let path = home.data().join(IDENTITY);
    let with = |text: &str| fs::write(&path, text).expect("writes");
    with("vivace-data 6\n");
    assert_eq!(home.refused(), 14);
    for old in [
        "vivace-log-1 cluster test node 1 incarnation 4\n",
        "vivace-data 1\n",
    ] {
        with(old);
        assert_eq!(home.refused(), 15);
    }
}

/// As the journal's directory has it.
fn journal_life_of(life: u16) -> String {
    let covered = format!("life {life} ");
    format!("{covered}{:08x}\n", crc32c::crc32c(covered.as_bytes()))
}

/// The formats before this one: without a checksum, the first of them without starts.
#[test]
fn earlier_formats_are_read() {
    let home = Home::new();
    let path = home.data().join(IDENTITY);
    let directory = DirectoryId([0xd1; 16]);
    let head = |format| format!("vivace-data {format}\ncluster test\nnode 1\n");
    let of_2 = format!("{}directory {directory}\nlife 4\nborn unknown\n", head(2));
    let start = StartId(5);
    let of_3 = format!(
        "{}directory {directory}\nlife 4\nstarts {start}\nborn unknown\njournal-born unknown\n",
        head(3)
    );
    fs::create_dir(home.data().join("journal")).expect("makes it");
    fs::write(home.witness(), format!("directory {directory}\nlife 4\n")).expect("writes");
    let with = |text: &str| fs::write(&path, text).expect("writes");
    for (text, known) in [(&of_2, 1), (&of_3, 2)] {
        with(text);
        let claimed = home.claim().expect("is the node's");
        assert_eq!(claimed.history().starts.len(), known);
        assert_eq!(claimed.next_life().expect("has a number").0, 5);
        // No id was taken over that could be wrong: nothing is written.
        drop(claimed);
        let attested = Attestation {
            id_is_right: true,
            ..Attestation::default()
        };
        let (data, witness) = (home.data(), home.witness());
        let claimed = DataDirectory::attest(&data, &owner(), &PARTS, Some(&witness), attested);
        claimed.expect("is the node's").adopt().expect("adopts");
        assert_eq!(fs::read_to_string(&path).expect("reads"), *text);
        let claimed = home.claim().expect("is the node's");
        // Those programs wrote it with the first commit.
        fs::write(home.data().join("journal/life"), journal_life_of(4)).expect("writes");
        let check = |trouble| claimed.check_journal(Some(trouble));
        check(MarkTrouble::Blank).expect("is no trouble");
        check(MarkTrouble::Damaged).expect_err("tells nothing");
    }
    for (wrong, line) in [
        (of_3.replace("node 1", "node one"), 3),
        (format!("{of_3}life 9\n"), 9),
    ] {
        with(&wrong);
        let error = home.claim().expect_err("is damaged");
        assert_eq!(error.exit_code(), 21);
        let line = format!("line {line}");
        assert!(error.to_string().contains(&line), "{error}");
    }
    with(&of_3);
    assert_eq!(home.live(), 5);
    let text = fs::read_to_string(&path).expect("reads");
    let of_4 = text.replace("vivace-data 5\n", "vivace-data 4\n");
    let (covered, _) = of_4.rsplit_once("checksum ").expect("is sealed");
    let checksum = crc32c::crc32c(covered.as_bytes());
    with(&format!("{covered}checksum {checksum:08x}\n"));
    home.claim().expect("is the node's");
    with(&text);
    assert!(text.starts_with("vivace-data 5\n"), "{text}");
    assert!(text.contains(&format!("starts {start} ")), "{text}");
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
    let again = DataDirectory::make(&home.data(), &owner());
    assert!(matches!(again, Err(IdentityError::Taken(_))));
    assert_eq!(contents(home.0.path()), before);
}

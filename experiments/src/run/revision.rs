//! Which source the program was made from.

/// The git revision that this program was built from, with `-dirty` where tracked files
/// differed from it; none where it was built outside of git (`build.rs`).
pub fn revision() -> Option<String> {
    option_env!("VIVACE_REVISION").map(str::to_owned)
}

#[cfg(test)]
mod tests {
    use std::process::Command;

    use super::*;

    #[test]
    fn it_is_that_of_the_source_wherever_the_program_runs() {
        let mut git = Command::new("git");
        git.args([
            "-C",
            env!("CARGO_MANIFEST_DIR"),
            "rev-parse",
            "--short=12",
            "HEAD",
        ]);
        let Some(output) = git.output().ok().filter(|output| output.status.success()) else {
            return eprintln!("SKIPPED: the source is in no git repository");
        };
        let head = String::from_utf8_lossy(&output.stdout).trim().to_owned();
        let revision = revision().expect("it was built there");
        assert_eq!(revision.trim_end_matches("-dirty"), head);
    }
}

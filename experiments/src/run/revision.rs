//! Which source the program was run from.

use std::process::Command;

/// The git revision of the current directory's work tree, with `-dirty` where tracked
/// files differ from it; none where git knows of none.
pub fn revision() -> Option<String> {
    let git = |words: &[&str]| {
        let output = Command::new("git").args(words).output().ok()?;
        output
            .status
            .success()
            .then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
    };
    let revision = git(&["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(&["status", "--porcelain", "--untracked-files=no"])?;
    Some(match changed.is_empty() {
        true => revision,
        false => format!("{revision}-dirty"),
    })
}

//! Notes which source the program is made from, for the results that it will write.

use std::env;
use std::path::Path;
use std::process::Command;

/// What the program is made from. Cargo looks for changes in them, as in git's log.
const SOURCES: [&str; 5] = [
    "vivace-core",
    "vivace-node",
    "vivace-client",
    "netem",
    "experiments",
];

fn main() {
    let package = env::var("CARGO_MANIFEST_DIR").expect("cargo tells");
    let workspace = Path::new(&package)
        .parent()
        .expect("a package of a workspace");
    for source in SOURCES {
        println!(
            "cargo:rerun-if-changed={}",
            workspace.join(source).join("src").display()
        );
    }
    if let Some(log) = git(workspace, &["rev-parse", "--git-path", "logs/HEAD"]) {
        println!("cargo:rerun-if-changed={}", workspace.join(log).display());
    }
    if let Some(revision) = revision(workspace) {
        println!("cargo:rustc-env=VIVACE_REVISION={revision}");
    }
}

/// The revision, with `-dirty` where tracked files differ from it; none where git knows of none.
fn revision(workspace: &Path) -> Option<String> {
    let revision = git(workspace, &["rev-parse", "--short=12", "HEAD"])?;
    let changed = git(
        workspace,
        &["status", "--porcelain", "--untracked-files=no"],
    )?;
    Some(match changed.is_empty() {
        true => revision,
        false => format!("{revision}-dirty"),
    })
}

fn git(directory: &Path, words: &[&str]) -> Option<String> {
    let output = Command::new("git")
        .arg("-C")
        .arg(directory)
        .args(words)
        .output()
        .ok()?;
    let said = || String::from_utf8_lossy(&output.stdout).trim().to_owned();
    output.status.success().then(said)
}

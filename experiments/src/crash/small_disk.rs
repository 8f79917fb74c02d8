//! A small file system of its own for the nodes' data, which fills up and gets space again.

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, ensure};
use nix::errno::Errno;
use nix::fcntl::{FallocateFlags, fallocate};
use nix::sys::statvfs::statvfs;

/// What is taken at once, from coarse to the file system's block.
const STEPS: [i64; 3] = [16 << 20, 1 << 20, 4 << 10];

/// Of the disk, what each node keeps free: one part in so many.
const RESERVE_PART: u64 = 16;

/// How full the disk becomes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fullness {
    /// Into the nodes' reserve: they refuse writes before the disk does.
    Reserve,
    /// To the last block.
    LastBlock,
}

/// An ext4 file system in a file, mounted; unmounted when it is dropped.
pub struct SmallDisk {
    mount: PathBuf,
    bytes: u64,
}

impl SmallDisk {
    /// Makes and mounts one of `mib` MiB under `directory`.
    ///
    /// # Errors
    /// This process may not mount, or `mkfs.ext4` or a loop device is missing.
    pub fn mount(directory: &Path, mib: u64) -> anyhow::Result<Self> {
        let image = directory.join("disk.image");
        let mount = directory.join("disk");
        fs::create_dir(&mount).with_context(|| mount.display().to_string())?;
        let file = File::create(&image).with_context(|| image.display().to_string())?;
        let bytes = mib << 20;
        file.set_len(bytes)?;
        run(Command::new("mkfs.ext4")
            .args(["-q", "-m", "0"])
            .arg(&image))?;
        run(Command::new("mount")
            .args(["-o", "loop"])
            .args([&image, &mount]))?;
        Ok(Self { mount, bytes })
    }

    /// Where it is mounted.
    pub fn path(&self) -> &Path {
        &self.mount
    }

    /// What a node is to keep free of it.
    pub fn reserve_bytes(&self) -> u64 {
        self.bytes / RESERVE_PART
    }

    /// Takes its free space.
    ///
    /// # Errors
    /// The file system's, but that it is full.
    pub fn fill(&self, fullness: Fullness) -> anyhow::Result<()> {
        let leave = match fullness {
            // Three quarters: peers' values are still taken.
            Fullness::Reserve => self.reserve_bytes() / 4 * 3,
            Fullness::LastBlock => 0,
        };
        let path = self.ballast();
        let shown = || path.display().to_string();
        let ballast = OpenOptions::new().create(true).append(true).open(&path);
        let ballast = ballast.with_context(shown)?;
        let mut at = ballast.metadata()?.len() as i64;
        for step in STEPS {
            while self.free_bytes()? >= leave + step as u64 {
                match fallocate(&ballast, FallocateFlags::empty(), at, step) {
                    Ok(()) => at += step,
                    // The nodes took it first, or it needs a block for itself.
                    Err(Errno::ENOSPC) => break,
                    Err(error) => return Err(error).with_context(shown),
                }
            }
        }
        Ok(())
    }

    /// Gives it back.
    ///
    /// # Errors
    /// The file system's.
    pub fn free(&self) -> anyhow::Result<()> {
        let path = self.ballast();
        fs::remove_file(&path).with_context(|| path.display().to_string())
    }

    fn ballast(&self) -> PathBuf {
        self.mount.join("ballast")
    }

    fn free_bytes(&self) -> anyhow::Result<u64> {
        let found = statvfs(&self.mount)?;
        Ok(found.blocks_available() * found.fragment_size())
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        // Processes that were killed may still let go of it.
        let _ = Command::new("umount")
            .arg("--lazy")
            .arg(&self.mount)
            .status();
    }
}

fn run(command: &mut Command) -> anyhow::Result<()> {
    let program = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| program.clone())?;
    ensure!(
        output.status.success(),
        "--small-disk needs root, mkfs.ext4 and a loop device: {program}: {}",
        String::from_utf8_lossy(&output.stderr).trim()
    );
    Ok(())
}

//! CPU and memory of processes, as the kernel counts them.

use std::fs;
use std::time::Duration;

use anyhow::Context;

/// Ticks a second in which the kernel tells times to programs (`USER_HZ`).
const TICKS_PER_SECOND: f64 = 100.0;

/// CPU that was spent so far, user's and system's together.
#[derive(Clone, Copy, Debug)]
pub struct Spent {
    /// By the processes that were asked for.
    pub processes: Duration,
    /// By this one, with children that have ended.
    pub own: Duration,
}

impl Spent {
    /// Until now.
    ///
    /// # Errors
    /// A process is gone.
    pub fn now(processes: &[u32]) -> anyhow::Result<Self> {
        let mut sum = Duration::ZERO;
        for process in processes {
            sum += spent_by(&process.to_string(), false)?;
        }
        Ok(Self {
            processes: sum,
            own: spent_by("self", true)?,
        })
    }

    /// Since an earlier look.
    pub fn since(self, before: Self) -> Self {
        Self {
            processes: self.processes.saturating_sub(before.processes),
            own: self.own.saturating_sub(before.own),
        }
    }
}

/// Fields 14 to 17 of `/proc/PID/stat` (proc(5)): user's and system's ticks, and those of
/// children that were waited for.
fn spent_by(process: &str, with_children: bool) -> anyhow::Result<Duration> {
    let path = format!("/proc/{process}/stat");
    let text = fs::read_to_string(&path).with_context(|| path.clone())?;
    // The second field is a name in brackets, which may hold anything.
    let (_, fields) = text.rsplit_once(')').with_context(|| path.clone())?;
    let taken = if with_children { 4 } else { 2 };
    let ticks: u64 = fields
        .split_whitespace()
        .skip(11)
        .take(taken)
        .map(|field| field.parse::<u64>())
        .sum::<Result<u64, _>>()
        .with_context(|| path.clone())?;
    Ok(Duration::from_secs_f64(ticks as f64 / TICKS_PER_SECOND))
}

/// Resident memory of processes together, in bytes, but for what is mapped from files.
///
/// # Errors
/// A process is gone.
pub fn resident_bytes(processes: &[u32]) -> anyhow::Result<u64> {
    let mut sum = 0;
    for process in processes {
        let path = format!("/proc/{process}/status");
        let text = fs::read_to_string(&path).with_context(|| path.clone())?;
        let kib = text
            .lines()
            .find_map(|line| line.strip_prefix("RssAnon:"))
            .and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
        sum += kib.with_context(|| format!("{path}: no RssAnon"))? * 1024;
    }
    Ok(sum)
}

/// The machine's load average over a minute.
///
/// # Errors
/// The kernel does not tell.
pub fn load_average() -> anyhow::Result<f64> {
    let path = "/proc/loadavg";
    let text = fs::read_to_string(path).context(path)?;
    let first = text.split_whitespace().next().context(path)?;
    first.parse().context(path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cpu_that_is_burnt_here_is_counted_here() {
        let own = std::process::id();
        let before = Spent::now(&[own]).expect("this process is there");
        let begun = std::time::Instant::now();
        while begun.elapsed() < Duration::from_millis(300) {
            std::hint::spin_loop();
        }
        let spent = Spent::now(&[own])
            .expect("this process is there")
            .since(before);
        // Others may have had the core meanwhile.
        assert!(spent.own >= Duration::from_millis(20), "{spent:?}");
        assert!(spent.processes >= Duration::from_millis(20), "{spent:?}");
        assert!(resident_bytes(&[own]).expect("it is there") > 100_000);
    }
}

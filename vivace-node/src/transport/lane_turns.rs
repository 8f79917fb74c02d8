//! Which lane of a bulk connection goes first: what a reader waits for, then new
//! values, then repair, so that none of them starves the others.
//!
//! QUIC serves the stream with the larger number first, and another only when that
//! one has nothing to send. So most of the time the lanes stand in their order, and
//! each of the lower ones is first for a small part of it.

use std::time::{Duration, Instant};

use tokio::sync::watch;

use super::event::BulkLane;

/// How many lanes there are.
pub(super) const LANES: usize = BulkLane::ALL.len();

/// A cycle's parts: which order, and for how long. Repair and new values have a
/// twentieth and a tenth of a full link at least; a reader's value waits at most 10 ms
/// for them.
const CYCLE: [([BulkLane; LANES], Duration); 4] = {
    use BulkLane::{Propagate, Read, Repair};
    let ms = Duration::from_millis;
    [
        ([Read, Propagate, Repair], ms(42)),
        ([Propagate, Read, Repair], ms(10)),
        ([Read, Propagate, Repair], ms(43)),
        ([Repair, Read, Propagate], ms(5)),
    ]
};

/// A lane counts as used for so long after its last frame: QUIC may still hold it.
const USED_FOR: Duration = Duration::from_secs(60);

/// How often a quiet connection looks whether two lanes are in use.
const QUIET_PAUSE: Duration = Duration::from_millis(200);

/// The numbers of the lanes' streams, and when each was last used.
pub(super) struct LaneTurns {
    urgencies: watch::Sender<[i32; LANES]>,
    used: std::sync::Mutex<[Option<Instant>; LANES]>,
}

impl LaneTurns {
    pub(super) fn new() -> Self {
        Self {
            urgencies: watch::Sender::new(numbers(CYCLE[0].0, 0).0),
            used: std::sync::Mutex::default(),
        }
    }

    /// Follows the numbers.
    pub(super) fn urgencies(&self) -> watch::Receiver<[i32; LANES]> {
        self.urgencies.subscribe()
    }

    /// A frame of `lane` goes to QUIC.
    pub(super) fn on_used(&self, lane: BulkLane) {
        super::lock::lock(&self.used)[lane as usize] = Some(Instant::now());
    }

    fn is_contested(&self) -> bool {
        let used = *super::lock::lock(&self.used);
        let lately = |at: &Option<Instant>| at.is_some_and(|at| at.elapsed() < USED_FOR);
        used.iter().filter(|at| lately(at)).count() > 1
    }

    /// Gives the lanes their turns, for ever.
    pub(super) async fn run(&self) -> std::convert::Infallible {
        let mut lowest = *self.urgencies.borrow().iter().min().unwrap_or(&0);
        loop {
            while !self.is_contested() {
                tokio::time::sleep(QUIET_PAUSE).await;
            }
            for (order, part) in CYCLE {
                let (urgencies, new_lowest) = numbers(order, lowest);
                lowest = new_lowest;
                self.urgencies.send_replace(urgencies);
                tokio::time::sleep(part).await;
            }
        }
    }
}

/// The lanes in this order, all of them below `lowest`, and the lowest of them. A number
/// that grows would not be heard: QUIC looks at a stream's number when it puts the
/// stream back behind a packet of it, and a stream that others starve sends none. Below
/// all others, whoever sends now learns its new place with its next packet, and then
/// the others do. (At the end of the numbers, after a year of turns, the order stays.)
fn numbers(order: [BulkLane; LANES], lowest: i32) -> ([i32; LANES], i32) {
    let mut urgencies = [0; LANES];
    let mut next = lowest;
    for lane in order {
        next = next.saturating_sub(1);
        urgencies[lane as usize] = next;
    }
    (urgencies, next)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_order_is_below_all_before_it() {
        let mut lowest = 0;
        for (order, _) in CYCLE {
            let (urgencies, new_lowest) = numbers(order, lowest);
            let of = |place: usize| urgencies[order[place] as usize];
            assert!(lowest > of(0) && of(0) > of(1) && of(1) > of(2));
            assert_eq!(of(2), new_lowest);
            lowest = new_lowest;
        }
    }
}

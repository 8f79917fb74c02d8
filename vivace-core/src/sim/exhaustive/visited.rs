//! A set of digests, of eight bytes each.

/// The first size, a power of two.
const SLOTS_MIN: usize = 1 << 16;

/// Where no digest is yet.
const NOTHING: u64 = 0;

/// Open addressing with linear probing, at most 7/8 full. Digests are spread evenly, so
/// their low bits are as good as a hash.
pub struct Visited {
    slots: Vec<u64>,
    count: usize,
}

impl Visited {
    pub fn new() -> Self {
        Self {
            slots: vec![NOTHING; SLOTS_MIN],
            count: 0,
        }
    }

    /// Adds a digest; false where it was there.
    pub fn insert(&mut self, digest: u64) -> bool {
        let digest = digest.max(1);
        if self.count >= self.slots.len() / 8 * 7 {
            self.grow();
        }
        let is_new = place(&mut self.slots, digest);
        self.count += usize::from(is_new);
        is_new
    }

    fn grow(&mut self) {
        let mut larger = vec![NOTHING; 2 * self.slots.len()];
        for &digest in self.slots.iter().filter(|&&digest| digest != NOTHING) {
            place(&mut larger, digest);
        }
        self.slots = larger;
    }
}

fn place(slots: &mut [u64], digest: u64) -> bool {
    let mask = slots.len() - 1;
    let mut at = digest as usize & mask;
    loop {
        match slots[at] {
            NOTHING => {
                slots[at] = digest;
                return true;
            }
            there if there == digest => return false,
            _ => at = (at + 1) & mask,
        }
    }
}

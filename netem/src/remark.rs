//! Rewriting of marks, as carriers do it at their edge.

use std::fmt;

/// Which DSCP each DSCP becomes. `Default` leaves all as they are.
#[derive(Clone, PartialEq, Eq)]
pub struct Remark([u8; 64]);

impl Remark {
    /// The given pairs, all else unchanged; `None` if a mark is above 63.
    pub fn new(pairs: impl IntoIterator<Item = (u8, u8)>) -> Option<Self> {
        let mut remark = Self::default();
        for (from, to) in pairs {
            if to > 63 {
                return None;
            }
            *remark.0.get_mut(usize::from(from))? = to;
        }
        Some(remark)
    }

    /// Every mark becomes 0.
    pub fn bleach() -> Self {
        Self([0; 64])
    }

    /// What a packet marked `dscp` (0 to 63; the upper bits are ignored) is marked from
    /// here on.
    pub fn of(&self, dscp: u8) -> u8 {
        self.0[usize::from(dscp & 63)]
    }

    /// The marks that change, with what they become.
    pub fn changes(&self) -> impl Iterator<Item = (u8, u8)> {
        (0..64)
            .map(|from| (from, self.of(from)))
            .filter(|(from, to)| from != to)
    }
}

impl Default for Remark {
    fn default() -> Self {
        Self(std::array::from_fn(|dscp| dscp as u8))
    }
}

impl fmt::Debug for Remark {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_map().entries(self.changes()).finish()
    }
}

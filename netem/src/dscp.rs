//! Sets of DSCP values (RFC 2474): which marks a link serves first.

/// A set of DSCP values, 0 to 63. The empty set means that the link knows no classes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DscpSet(u64);

impl DscpSet {
    /// No value: every packet is bulk.
    pub const EMPTY: Self = Self(0);

    /// Expedited Forwarding alone (46, RFC 3246), what operators give voice.
    pub const EXPEDITED: Self = Self(1 << 46);

    /// The set of `dscps`, or `None` if one is above 63.
    pub fn new(dscps: &[u8]) -> Option<Self> {
        dscps.iter().try_fold(Self::EMPTY, |set, &dscp| {
            (dscp < 64).then(|| Self(set.0 | 1 << dscp))
        })
    }

    /// Whether `dscp` is in the set; a value above 63 never is.
    pub fn contains(self, dscp: u8) -> bool {
        dscp < 64 && self.0 & (1 << dscp) != 0
    }

    /// Whether the set has no value.
    pub fn is_empty(self) -> bool {
        self.0 == 0
    }
}

//! What recovery restores of the local set, as text.

use super::LocalSet;

impl LocalSet {
    /// Equal for two that recovered the same.
    pub fn remembered(&self) -> String {
        let copies = self
            .copies
            .iter()
            .filter(|(_, versions)| !versions.is_empty());
        let copies = copies.flat_map(|(key, versions)| {
            versions
                .iter()
                .map(move |(ts, copy)| format!("{key:?} {ts} {:?} {:?}\n", copy.write, copy.value))
        });
        let unbound = self.unbound.iter();
        let unbound =
            unbound.map(|((key, write), copy)| format!("{key:?} {write:?} {:?}\n", copy.value));
        let (aborted, bytes) = (&self.aborted, self.copy_bytes);
        let stable = self.propagator.stable.remembered();
        let copies: String = copies.chain(unbound).collect();
        format!("{copies}{aborted:?}\n{bytes} bytes\n{stable}")
    }
}

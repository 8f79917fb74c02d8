//! What recovery restores of a node, as text.

use super::Node;

impl Node {
    /// Equal for two nodes that recovered the same: what they promised, know and hold.
    pub fn remembered(&self) -> String {
        format!(
            "{:?}\n{:?}\n{:?}\n{:?}\n{}",
            self.env.clock,
            self.rw,
            self.rmw,
            self.lan,
            self.local.remembered()
        )
    }
}

//! An input taken apart, where a target builds its files from one.

/// The bytes of an input that are not yet taken. At the end there are zeros.
pub struct Input<'i>(pub &'i [u8]);

impl<'i> Input<'i> {
    /// Whether all is taken.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The next byte.
    pub fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((&byte, rest)) => {
                self.0 = rest;
                byte
            }
            None => 0,
        }
    }

    /// As many bytes as there are of the next `count`.
    pub fn bytes(&mut self, count: usize) -> &'i [u8] {
        let (taken, rest) = self.0.split_at(count.min(self.0.len()));
        self.0 = rest;
        taken
    }

    /// As many bytes as the next byte says.
    pub fn string(&mut self) -> &'i [u8] {
        let count = self.byte();
        self.bytes(usize::from(count))
    }
}

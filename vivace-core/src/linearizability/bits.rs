//! A set of small numbers.

/// No zero word at its end, so that equal sets are equal.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Bits(Vec<u64>);

const WORD: usize = u64::BITS as usize;

impl Bits {
    pub fn has(&self, number: usize) -> bool {
        let word = self.0.get(number / WORD).copied().unwrap_or_default();
        word >> (number % WORD) & 1 == 1
    }

    #[must_use]
    pub fn with(&self, number: usize) -> Self {
        let mut words = self.0.clone();
        if words.len() <= number / WORD {
            words.resize(number / WORD + 1, 0);
        }
        words[number / WORD] |= 1 << (number % WORD);
        Self(words)
    }

    /// Takes the numbers from 0 on that are in it without a gap, and counts the others from
    /// there; how many those were.
    pub fn take_first(&mut self) -> usize {
        let mut count = 0;
        while self.has(count) {
            count += 1;
        }
        let (words, bits) = (count / WORD, count % WORD);
        self.0.drain(..words.min(self.0.len()));
        if bits > 0 {
            for at in 0..self.0.len() {
                let next = self.0.get(at + 1).copied().unwrap_or_default();
                self.0[at] = self.0[at] >> bits | next << (WORD - bits);
            }
        }
        while self.0.last() == Some(&0) {
            self.0.pop();
        }
        count
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_without_a_gap_are_taken_wherever_the_gap_is() {
        for gap in [0, 1, 63, 64, 65, 127, 128, 200] {
            let numbers = (0..gap).chain([gap + 1, gap + 64, gap + 130]);
            let mut bits = numbers.fold(Bits::default(), |bits, number| bits.with(number));
            assert_eq!(bits.take_first(), gap);
            let left: Vec<usize> = (0..300).filter(|&number| bits.has(number)).collect();
            assert_eq!(left, [1, 64, 130]);
            let same = [130, 1, 64];
            let same = same
                .iter()
                .fold(Bits::default(), |bits, &number| bits.with(number));
            assert_eq!(bits, same);
        }
        assert_eq!(Bits::default().take_first(), 0);
        let mut all = Bits::default().with(0);
        assert_eq!((all.take_first(), all), (1, Bits::default()));
    }
}

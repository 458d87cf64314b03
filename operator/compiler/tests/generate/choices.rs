//! Choices out of bytes: the one source of randomness here.
//!
//! The same bytes give the same choices, whoever made them: a property test at random, a fuzzer by what they reached,
//! a file that holds an old failure. Where the bytes end, every choice is the first, which is the plainest one; so
//! less of a failing input is a simpler failure.

/// A reader of choices.
#[derive(Clone, Debug)]
pub(crate) struct Choices<'b>(&'b [u8]);

impl<'b> Choices<'b> {
    pub(crate) fn new(bytes: &'b [u8]) -> Self {
        Self(bytes)
    }

    /// Whether all bytes are used up.
    pub(crate) fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// The bytes that are left.
    pub(crate) fn rest(&self) -> &'b [u8] {
        self.0
    }

    pub(crate) fn byte(&mut self) -> u8 {
        let Some((&first, rest)) = self.0.split_first() else { return 0 };
        self.0 = rest;
        first
    }

    /// A number below `count`, which is at most 256.
    pub(crate) fn below(&mut self, count: usize) -> usize {
        assert!((1..=256).contains(&count), "{count} things to choose from");
        usize::from(self.byte()) % count
    }

    /// One of those.
    pub(crate) fn one<T: Copy>(&mut self, of: &[T]) -> T {
        of[self.below(of.len())]
    }

    /// Whether something happens that happens `percent` times in a hundred.
    pub(crate) fn chance(&mut self, percent: u8) -> bool {
        // At the end of the bytes it does not.
        100 - self.byte() % 100 <= percent
    }

    /// The position of one of the weights, each as likely as it is heavy.
    pub(crate) fn weighted(&mut self, weights: &[usize]) -> usize {
        let mut left = self.below(weights.iter().sum());
        for (position, &weight) in weights.iter().enumerate() {
            if left < weight {
                return position;
            }
            left -= weight;
        }
        unreachable!("what is left is less than the sum of the weights")
    }

    /// From `least` to `most` things.
    pub(crate) fn some<T>(
        &mut self,
        least: usize,
        most: usize,
        mut thing: impl FnMut(&mut Self) -> T,
    ) -> Vec<T> {
        let count = least + self.below(most - least + 1);
        (0..count).map(|_| thing(self)).collect()
    }
}

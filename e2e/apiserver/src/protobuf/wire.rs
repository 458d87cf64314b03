//! Fields of a protobuf message, as they follow each other. Knows no kinds.

/// What a field holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Item<'a> {
    Number(u64),
    Bytes(&'a [u8]),
}

/// See the module.
pub(super) struct Reader<'a>(&'a [u8]);

impl<'a> Reader<'a> {
    pub(super) fn new(bytes: &'a [u8]) -> Self {
        Self(bytes)
    }

    /// All fields with their numbers; `None`: the message breaks off.
    pub(super) fn all(mut self) -> Option<Vec<(u32, Item<'a>)>> {
        let mut all = Vec::new();
        while !self.0.is_empty() {
            let tag = self.number()?;
            let item = match tag & 7 {
                0 => Item::Number(self.number()?),
                1 => Item::Bytes(self.take(8)?),
                2 => {
                    let length = usize::try_from(self.number()?).ok()?;
                    Item::Bytes(self.take(length)?)
                }
                5 => Item::Bytes(self.take(4)?),
                _ => return None,
            };
            all.push((u32::try_from(tag >> 3).ok()?, item));
        }
        Some(all)
    }

    /// Numbers without tags.
    pub(super) fn numbers(mut self) -> Option<Vec<Item<'a>>> {
        let mut all = Vec::new();
        while !self.0.is_empty() {
            all.push(Item::Number(self.number()?));
        }
        Some(all)
    }

    fn take(&mut self, length: usize) -> Option<&'a [u8]> {
        let (taken, rest) = self.0.split_at_checked(length)?;
        self.0 = rest;
        Some(taken)
    }

    /// Seven bits a byte, the lowest first.
    fn number(&mut self) -> Option<u64> {
        let mut number = 0;
        for shift in (0..64).step_by(7) {
            let (&byte, rest) = self.0.split_first()?;
            self.0 = rest;
            number |= u64::from(byte & 0x7f) << shift;
            if byte & 0x80 == 0 {
                return Some(number);
            }
        }
        None
    }
}

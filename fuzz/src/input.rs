//! Takes decisions from the bytes of an input. When they run out, every decision is zero.

pub struct Input<'a>(pub &'a [u8]);

impl<'a> Input<'a> {
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn byte(&mut self) -> u8 {
        match self.0.split_first() {
            Some((first, rest)) => {
                self.0 = rest;
                *first
            }
            None => 0,
        }
    }

    /// Up to 255 bytes, or with a first byte of 255 up to 64 KiB.
    pub fn bytes(&mut self) -> &'a [u8] {
        let len = match self.byte() {
            255 => usize::from(u16::from_be_bytes([self.byte(), self.byte()])),
            len => usize::from(len),
        };
        let (taken, rest) = self.0.split_at(len.min(self.0.len()));
        self.0 = rest;
        taken
    }
}

/// The pieces of `data`, each of `cut` bytes; of nothing, one empty piece.
pub fn pieces(data: &[u8], cut: usize) -> impl Iterator<Item = &[u8]> {
    let empty: &[u8] = &[];
    data.is_empty()
        .then_some(empty)
        .into_iter()
        .chain(data.chunks(cut.max(1)))
}

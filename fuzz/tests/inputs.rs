//! Every target with the inputs in `inputs/`, which are seeds and what was once found, and with many that are made of
//! them: without coverage guidance, on any toolchain, the same in every run.
//!
//! `FUZZ_ROUNDS` says how many inputs are made for each target. One that fails is written beside the program and named.

use std::path::{Path, PathBuf};
use std::{env, fs, panic};

use velocity_fuzz::TARGETS;

/// xorshift64* (Marsaglia 2003, Vigna 2016).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 ^= self.0 >> 12;
        self.0 ^= self.0 << 25;
        self.0 ^= self.0 >> 27;
        self.0.wrapping_mul(0x2545_f491_4f6c_dd1d)
    }

    fn below(&mut self, end: usize) -> usize {
        (self.next() >> 33) as usize % end.max(1)
    }

    fn byte(&mut self) -> u8 {
        // What is special in most formats, or anything.
        const SPECIAL: [u8; 12] = [0, 1, 2, 3, 4, 0x10, 0x21, 0x3f, 0x40, 0x7f, 0x80, 0xff];
        match self.below(3) {
            0 => SPECIAL[self.below(SPECIAL.len())],
            _ => self.next() as u8,
        }
    }

    /// A few changes to one of the inputs.
    fn change(&mut self, inputs: &[Vec<u8>]) -> Vec<u8> {
        let mut input = match inputs.len() {
            0 => Vec::new(),
            len => inputs[self.below(len)].clone(),
        };
        for _ in 0..=self.below(6) {
            let at = self.below(input.len() + 1);
            match self.below(6) {
                0 => input.insert(at, self.byte()),
                1 if at < input.len() => drop(input.remove(at)),
                2 if at < input.len() => input[at] = self.byte(),
                3 if at < input.len() => input[at] ^= 1 << self.below(8),
                4 => input.truncate(at.max(1)),
                _ => {
                    let other = inputs.get(self.below(inputs.len())).map_or(&[][..], Vec::as_slice);
                    let from = self.below(other.len() + 1);
                    let piece = &other[from..other.len().min(from + 1 + self.below(64))];
                    input.splice(at..at, piece.iter().copied());
                }
            }
        }
        input.truncate(4096);
        input
    }
}

fn inputs(target: &str) -> Vec<Vec<u8>> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("inputs").join(target);
    let mut files: Vec<PathBuf> = fs::read_dir(folder)
        .map(|entries| entries.flatten().map(|entry| entry.path()).collect())
        .unwrap_or_default();
    files.sort();
    files
        .iter()
        .map(|file| fs::read(file).expect("a readable file"))
        .collect()
}

/// One test, because the targets look at how much memory the whole process has.
#[test]
fn every_target() {
    let rounds: usize = env::var("FUZZ_ROUNDS").map_or(50_000, |rounds| rounds.parse().expect("a number"));
    for (name, target) in TARGETS {
        let known = inputs(name);
        assert!(!known.is_empty(), "inputs/{name} is empty");
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let made = (0..rounds).map(|_| random.change(&known));
        for input in known.iter().cloned().chain(made) {
            if panic::catch_unwind(|| target(&input)).is_err() {
                let file = env::temp_dir().join(format!("velocity-fuzz-{name}"));
                fs::write(&file, &input).expect("a file can be written");
                panic!("{name} fails with {}, which belongs into inputs/{name}", file.display());
            }
        }
    }
}

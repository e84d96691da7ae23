//! The command line: `velocity-loader MODE --key value ... [-- COMMAND ...]`.

use std::collections::BTreeMap;
use std::fmt::Display;
use std::str::FromStr;

use crate::error::Result;

/// What was asked for. Modes take the options they know; [`Args::finish`] refuses what is left.
pub struct Args {
    pub mode: String,
    options: BTreeMap<String, String>,
    command: Vec<String>,
}

impl Args {
    pub fn parse(mut words: impl Iterator<Item = String>) -> Result<Self> {
        let mode = words
            .next()
            .ok_or("usage: velocity-loader MODE --key value ... [-- COMMAND ...]")?;
        let mut options = BTreeMap::new();
        while let Some(word) = words.next() {
            if word == "--" {
                break;
            }
            let key = word
                .strip_prefix("--")
                .ok_or_else(|| format!("expected an option, got {word:?}"))?;
            let value = words.next().ok_or_else(|| format!("--{key} needs a value"))?;
            if options.insert(key.to_owned(), value).is_some() {
                return Err(format!("--{key} is given twice").into());
            }
        }
        Ok(Self {
            mode,
            options,
            command: words.collect(),
        })
    }

    /// The value of `--key`, which must be given.
    pub fn required<T: FromStr<Err: Display>>(&mut self, key: &str) -> Result<T> {
        self.optional(key)?.ok_or_else(|| format!("--{key} is missing").into())
    }

    /// The value of `--key`, or `default`.
    pub fn or<T: FromStr<Err: Display>>(&mut self, key: &str, default: T) -> Result<T> {
        Ok(self.optional(key)?.unwrap_or(default))
    }

    /// The value of `--key`, if given.
    pub fn optional<T: FromStr<Err: Display>>(&mut self, key: &str) -> Result<Option<T>> {
        match self.options.remove(key) {
            Some(text) => text
                .parse()
                .map(Some)
                .map_err(|e| format!("--{key} {text:?}: {e}").into()),
            None => Ok(None),
        }
    }

    /// The words after `--`.
    pub fn take_command(&mut self) -> Vec<String> {
        std::mem::take(&mut self.command)
    }

    /// Call when every known option is taken: whatever is left is a mistake.
    pub fn finish(&self) -> Result<()> {
        match (self.options.keys().next(), self.command.first()) {
            (Some(key), _) => Err(format!("{} knows no option --{key}", self.mode).into()),
            (None, Some(word)) => Err(format!("{} takes no command, got {word:?}", self.mode).into()),
            (None, None) => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(line: &str) -> Result<Args> {
        Args::parse(line.split_whitespace().map(str::to_owned))
    }

    #[test]
    fn takes_options_and_a_command() {
        let mut args = parse("start --timeout 3 -- server --port 1").unwrap();
        assert_eq!(args.mode, "start");
        assert_eq!(args.or("timeout", 10u32).unwrap(), 3);
        assert_eq!(args.or("count", 5u32).unwrap(), 5);
        assert_eq!(args.take_command(), ["server", "--port", "1"]);
        args.finish().unwrap();
    }

    #[test]
    fn refuses_what_nobody_takes() {
        assert!(parse("rps --speed 9").unwrap().finish().is_err());
        assert!(parse("rps -- server").unwrap().finish().is_err());
        assert!(parse("rps --a 1 --a 2").is_err());
        assert!(parse("rps --a").is_err());
        assert!(parse("rps --a x").unwrap().required::<u32>("a").is_err());
    }
}

//! What is known of origins: what they spoke last, and where else they can be reached.
//!
//! Kept in one JSON file where there is a folder for it. It is a memory and no policy: one that cannot be read or
//! written is no reason to fail.

use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use rustc_hash::FxHashMap;
use serde::{Deserialize, Serialize};

use super::Protocol;
use super::alternatives::Alternative;
use super::target::Origin;

const FILE: &str = "origins.json";
/// Origins; beyond it those that were heard of longest ago go.
const MAX: usize = 1000;
/// What of a file is read, in bytes.
const MAX_FILE: u64 = 4 << 20;
/// How long QUIC is left alone where it did not get through.
const PAUSE: Duration = Duration::from_secs(60);

#[derive(Default)]
pub struct Memory {
    folder: Option<PathBuf>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    known: FxHashMap<String, Known>,
    silent: FxHashMap<String, Instant>,
    changed: bool,
}

#[derive(Clone, Default, Serialize, Deserialize)]
struct Known {
    /// The ALPN identifier of what was spoken last.
    spoke: Option<String>,
    /// When, in Unix seconds.
    at: u64,
    #[serde(default)]
    alternatives: Vec<Place>,
}

#[derive(Clone, Serialize, Deserialize)]
struct Place {
    alpn: String,
    host: Option<String>,
    port: u16,
    /// Unix seconds.
    until: u64,
}

impl Memory {
    /// With what a folder holds, which is made if it is missing.
    pub fn new(folder: Option<PathBuf>) -> Self {
        let memory = Self {
            folder,
            state: Mutex::default(),
        };
        memory.state().known = memory.read();
        memory
    }

    /// What an origin spoke last.
    pub fn spoke(&self, origin: &Origin) -> Option<Protocol> {
        let state = self.state();
        state
            .known
            .get(&name(origin))?
            .spoke
            .as_deref()
            .and_then(Protocol::parse)
    }

    /// Where else an origin is, for any of these protocols.
    pub fn alternative(&self, origin: &Origin, protocols: &[Protocol]) -> Option<(Option<String>, u16)> {
        let state = self.state();
        let known = state.known.get(&name(origin))?;
        let mut fresh = known.alternatives.iter().filter(|one| one.until > now());
        let place = fresh.find(|one| Protocol::parse(&one.alpn).is_some_and(|one| protocols.contains(&one)))?;
        Some((place.host.clone(), place.port))
    }

    /// Whether QUIC did not get through a moment ago.
    pub fn is_silent(&self, origin: &Origin) -> bool {
        let state = self.state();
        state
            .silent
            .get(&name(origin))
            .is_some_and(|since| since.elapsed() < PAUSE)
    }

    pub fn speaks(&self, origin: &Origin, protocol: Protocol) {
        let mut state = self.state();
        state.silent.remove(&name(origin));
        let known = state.known.entry(name(origin)).or_default();
        let changed = known.spoke.as_deref() != Some(protocol.alpn());
        known.spoke = Some(protocol.alpn().to_owned());
        known.at = now();
        state.changed |= changed;
        state.bound();
    }

    /// QUIC did not get through.
    pub fn silence(&self, origin: &Origin) {
        let mut state = self.state();
        if state.silent.len() >= MAX {
            state.silent.clear();
        }
        state.silent.insert(name(origin), Instant::now());
    }

    /// Section 2.2 of RFC 7838: the last word counts.
    pub fn learn(&self, origin: &Origin, alternatives: Vec<Alternative>) {
        let mut state = self.state();
        let known = state.known.entry(name(origin)).or_default();
        let places = alternatives.into_iter().map(|one| Place {
            alpn: one.protocol.alpn().to_owned(),
            host: one.host,
            port: one.port,
            until: now() + one.fresh.as_secs(),
        });
        let places: Vec<Place> = places.collect();
        let same = |(a, b): (&Place, &Place)| a.alpn == b.alpn && a.host == b.host && a.port == b.port;
        let changed = places.len() != known.alternatives.len() || !places.iter().zip(&known.alternatives).all(same);
        known.alternatives = places;
        known.at = now();
        state.changed |= changed;
        state.bound();
    }

    /// An alternative that leads nowhere.
    pub fn forget(&self, origin: &Origin) {
        let mut state = self.state();
        if let Some(known) = state.known.get_mut(&name(origin)) {
            known.alternatives.clear();
            state.changed = true;
        }
    }

    /// Write what has changed. Others may have written as well: what is newer counts.
    pub fn save(&self) {
        if self.folder.is_none() || !std::mem::take(&mut self.state().changed) {
            return;
        }
        let mut all = self.read();
        for (name, known) in &self.state().known {
            if all.get(name).is_none_or(|other| other.at <= known.at) {
                all.insert(name.clone(), known.clone());
            }
        }
        let _ = self.write(&all);
    }

    fn read(&self) -> FxHashMap<String, Known> {
        let read = || -> io::Result<FxHashMap<String, Known>> {
            let folder = self.folder.as_ref().ok_or(io::ErrorKind::NotFound)?;
            let path = folder.join(FILE);
            if fs::metadata(&path)?.len() > MAX_FILE {
                return Err(io::ErrorKind::FileTooLarge.into());
            }
            Ok(serde_json::from_slice(&fs::read(path)?)?)
        };
        read().unwrap_or_default()
    }

    /// Whole or not at all, for the user alone.
    fn write(&self, known: &FxHashMap<String, Known>) -> io::Result<()> {
        let Some(folder) = &self.folder else { return Ok(()) };
        DirBuilder::new().recursive(true).mode(0o700).create(folder)?;
        let mut latest: Vec<_> = known.iter().collect();
        latest.sort_by_key(|(_, known)| std::cmp::Reverse(known.at));
        latest.truncate(MAX);
        let latest: std::collections::BTreeMap<_, _> = latest.into_iter().collect();
        let beside = folder.join(format!(".{FILE}.{}", std::process::id()));
        let written = OpenOptions::new()
            .write(true)
            .create(true)
            .truncate(true)
            .mode(0o600)
            .open(&beside)
            .and_then(|mut file| {
                file.write_all(&serde_json::to_vec_pretty(&latest)?)?;
                file.sync_all()
            })
            .and_then(|()| fs::rename(&beside, folder.join(FILE)));
        if written.is_err() {
            let _ = fs::remove_file(&beside);
        }
        written
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn bound(&mut self) {
        if self.known.len() > MAX
            && let Some(oldest) = self
                .known
                .iter()
                .min_by_key(|(_, known)| known.at)
                .map(|(name, _)| name.clone())
        {
            self.known.remove(&oldest);
        }
    }
}

fn name(origin: &Origin) -> String {
    let host = &origin.host;
    format!("{}://{host}:{}", origin.scheme(), origin.port)
}

fn now() -> u64 {
    SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs()
}

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    fn origin() -> Origin {
        super::super::target::parse("https://a.example/").unwrap().0
    }

    #[test]
    fn what_was_learnt_outlives_the_process_for_the_user_alone() {
        let folder = tempfile::tempdir().unwrap();
        let inside = folder.path().join("state");
        let memory = Memory::new(Some(inside.clone()));
        memory.speaks(&origin(), Protocol::H3);
        memory.learn(
            &origin(),
            vec![Alternative {
                protocol: Protocol::H3,
                host: None,
                port: 8443,
                fresh: Duration::from_secs(60),
            }],
        );
        memory.save();
        assert_eq!(
            fs::metadata(inside.join(FILE)).unwrap().permissions().mode() & 0o777,
            0o600
        );
        assert_eq!(fs::metadata(&inside).unwrap().permissions().mode() & 0o777, 0o700);
        let later = Memory::new(Some(inside));
        assert_eq!(later.spoke(&origin()), Some(Protocol::H3));
        assert_eq!(later.alternative(&origin(), &[Protocol::H3]), Some((None, 8443)));
        assert_eq!(later.alternative(&origin(), &[Protocol::H2]), None);
        later.forget(&origin());
        assert_eq!(later.alternative(&origin(), &[Protocol::H3]), None);
    }

    #[test]
    fn a_broken_memory_is_an_empty_one() {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join(FILE), "{").unwrap();
        let memory = Memory::new(Some(folder.path().to_owned()));
        assert_eq!(memory.spoke(&origin()), None);
        memory.speaks(&origin(), Protocol::H2);
        memory.save();
        assert_eq!(
            Memory::new(Some(folder.path().to_owned())).spoke(&origin()),
            Some(Protocol::H2)
        );
    }

    #[test]
    fn it_does_not_grow_for_ever() {
        let memory = Memory::default();
        for number in 0..MAX + 10 {
            let (origin, _) = super::super::target::parse(&format!("https://a{number}.example/")).unwrap();
            memory.speaks(&origin, Protocol::H2);
        }
        assert_eq!(memory.state().known.len(), MAX);
    }
}

//! Chains that somebody tampered with: no bit is left to chance, and no octets make the verifier panic.

// Also outside of the test functions, a test is allowed to stop.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use rustls::pki_types::{CertificateDer, UnixTime};
use serde_json::Value;
use support::*;
use velocity_tls::chain::{ChainError, Level, Roots, alternative_key, verify, verify_ml_dsa};

/// Bits flipped in each of the three certificates, besides those of the vectors.
const FLIPS: usize = 900;

static VECTORS: LazyLock<Value> = LazyLock::new(|| vectors("hybrid-refusals.json"));

/// Leaf, intermediate and root, and when they are good.
struct Good {
    certificates: Vec<Vec<u8>>,
    at: UnixTime,
}

static GOOD: LazyLock<Good> = LazyLock::new(|| {
    let flips = &VECTORS["flips"];
    Good {
        certificates: named(&VECTORS["certificates"], &flips["certificates"]),
        at: time(&flips["at"]),
    }
});

/// Whether the good chain passes with `which` replaced.
fn replaced(which: usize, replacement: Vec<u8>) -> Result<(), ChainError> {
    let mut certificates = GOOD.certificates.clone();
    certificates[which] = replacement;
    let (sent, trusted) = certificates.split_at(2);
    judge(sent, trusted, &[], &demands(GOOD.at, "a.example")).map(|_| ())
}

fn flipped(which: usize, bit: usize) -> Result<(), ChainError> {
    let mut data = GOOD.certificates[which].clone();
    data[bit / 8] ^= 1 << (bit % 8);
    replaced(which, data)
}

#[test]
fn it_is_good_before() {
    replaced(0, GOOD.certificates[0].clone()).unwrap();
}

#[test]
fn any_single_bit_flipped_is_refused_for_its_cause() {
    let mut count = 0;
    for (key, bits) in VECTORS["flips"]["bits"].as_object().unwrap() {
        let [which, cause, link] = key.split(' ').collect::<Vec<_>>().try_into().unwrap();
        let (which, link): (usize, usize) = (which.parse().unwrap(), link.parse().unwrap());
        for bit in bits.as_str().unwrap().split(' ') {
            let error = flipped(which, bit.parse().unwrap()).unwrap_err();
            assert_eq!(error.cause.as_str(), cause, "bit {bit} of certificate {which}: {error}");
            let unread = error.subject.is_empty() && which == 2;
            assert!(
                unread || error.link == link,
                "bit {bit} of certificate {which}: {error}"
            );
            count += 1;
        }
    }
    assert!(count > 600);
}

#[test]
fn any_single_bit_flipped_is_refused() {
    for which in 0..GOOD.certificates.len() {
        let bits = GOOD.certificates[which].len() * 8;
        for number in 0..FLIPS {
            // Some bit of the many in its turn, not always the same of an octet.
            let bit = (number * bits / FLIPS + number * 5 % 8).min(bits - 1);
            let error = flipped(which, bit).unwrap_err();
            assert_eq!(error.to_string().lines().count(), 1, "bit {bit} of certificate {which}");
        }
    }
}

/// Something that happens to octets, at places that are a fraction of their length.
#[derive(Clone, Debug)]
enum Edit {
    Write(prop::sample::Index, Vec<u8>),
    Insert(prop::sample::Index, Vec<u8>),
    Remove(prop::sample::Index, usize),
    Cut(prop::sample::Index),
}

fn edit() -> impl Strategy<Value = Edit> {
    let octets = || {
        vec(
            prop_oneof![any::<u8>(), Just(0x30), Just(0x80), Just(0xff), Just(0)],
            1..6,
        )
    };
    prop_oneof![
        4 => (any::<prop::sample::Index>(), octets()).prop_map(|(at, data)| Edit::Write(at, data)),
        1 => (any::<prop::sample::Index>(), octets()).prop_map(|(at, data)| Edit::Insert(at, data)),
        1 => (any::<prop::sample::Index>(), 1usize..300).prop_map(|(at, count)| Edit::Remove(at, count)),
        1 => any::<prop::sample::Index>().prop_map(Edit::Cut),
    ]
}

fn edited(mut data: Vec<u8>, edits: &[Edit]) -> Vec<u8> {
    for edit in edits {
        let size = data.len().max(1);
        match edit {
            Edit::Write(at, octets) => data
                .iter_mut()
                .skip(at.index(size))
                .zip(octets)
                .for_each(|(old, new)| *old = *new),
            Edit::Insert(at, octets) => {
                let at = at.index(size).min(data.len());
                data.splice(at..at, octets.iter().copied());
            }
            Edit::Remove(at, count) => {
                let at = at.index(size).min(data.len());
                data.drain(at..(at + count).min(data.len()));
            }
            Edit::Cut(at) => data.truncate(at.index(size)),
        }
    }
    data
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(1024))]

    #[test]
    fn arbitrary_octets_are_refused(data in vec(any::<u8>(), 0..600), which in 0usize..3) {
        prop_assert!(replaced(which, data.clone()).is_err());
        prop_assert!(alternative_key(&data).is_err());
        prop_assert!(Roots::new(&[], std::slice::from_ref(&data)).is_err());
        for level in Level::ALL {
            prop_assert!(!verify_ml_dsa(level, &data, &data, &data));
        }
    }

    #[test]
    fn edited_certificates_are_refused(edits in vec(edit(), 1..4), which in 0usize..3) {
        let data = edited(GOOD.certificates[which].clone(), &edits);
        if data != GOOD.certificates[which] {
            prop_assert!(replaced(which, data).is_err());
        }
    }

    #[test]
    fn edited_lists_do_not_make_it_panic(edits in vec(edit(), 1..4), number in any::<prop::sample::Index>()) {
        let lists: Vec<_> = VECTORS["lists"].as_object().unwrap().values().map(octets).collect();
        let list = edited(lists[number.index(lists.len())].clone(), &edits);
        let (sent, trusted) = GOOD.certificates.split_at(2);
        let _ = judge(sent, trusted, &[list], &demands(GOOD.at, "a.example"));
    }

    #[test]
    fn all_names_and_times_can_be_asked_for(name in ".{0,80}", seconds in any::<u64>()) {
        let der = |data: &Vec<u8>| CertificateDer::from(data.clone());
        let (sent, trusted) = GOOD.certificates.split_at(2);
        let roots = Roots::new(&trusted.iter().map(der).collect::<Vec<_>>(), &[]).unwrap();
        let sent: Vec<_> = sent.iter().map(der).collect();
        let at = UnixTime::since_unix_epoch(std::time::Duration::from_secs(seconds));
        let name = demands(GOOD.at, &name);
        prop_assert!(verify(&sent, &roots, &name).is_err());
        prop_assert!(verify(&sent, &roots, &demands(at, "a.example")).is_err());
    }
}

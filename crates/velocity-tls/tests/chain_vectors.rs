//! Chains of the test vectors: those of the specification, and those on which two implementations have to agree.

// Also outside of the test functions, a test is allowed to stop.
#![allow(clippy::unwrap_used, clippy::panic)]

mod support;

use std::collections::HashSet;
use std::time::Duration;

use aws_lc_rs::signature::{KeyPair, ML_DSA_44_SIGNING, ML_DSA_65_SIGNING, ML_DSA_87_SIGNING, PqdsaKeyPair};
use rustls::pki_types::{CertificateDer, UnixTime};
use serde_json::Value;
use support::*;
use velocity_tls::chain::{Cause, Demands, Level, Roots, Usage, alternative_key, verify, verify_ml_dsa};

/// Run every case of a file; returns the causes that occurred.
fn run(file: &str) -> HashSet<Option<Cause>> {
    let vectors = vectors(file);
    let cases = vectors["cases"].as_array().unwrap();
    assert!(cases.len() > 20);
    cases.iter().map(|case| run_case(&vectors, case)).collect()
}

fn run_case(vectors: &Value, case: &Value) -> Option<Cause> {
    let what = case["what"].as_str().unwrap();
    let demands = Demands {
        at: time(&case["at"]),
        name: case["name"].as_str(),
        usage: if case["usage"] == "client" {
            Usage::Client
        } else {
            Usage::Server
        },
        at_least: level(&case["at_least"]),
    };
    let [sent, trusted] = ["chain", "roots"].map(|which| named(&vectors["certificates"], &case[which]));
    let lists = named(&vectors["lists"], &case["lists"]);
    let found = judge(&sent, &trusted, &lists, &demands);
    // Where webpki alone refuses, that is the cause, of the leaf.
    let alone = cause(&case["webpki"]);
    let expected = alone.or(cause(&case["cause"]));
    match (found, expected) {
        (Ok(verified), None) => {
            assert!(verified.level >= demands.at_least, "{what}");
            assert!(!verified.subject.is_empty(), "{what}");
        }
        (Err(error), Some(cause)) => {
            assert_eq!(error.cause, cause, "{what}: {error}");
            assert_eq!(error.to_string().lines().count(), 1, "{what}");
            assert_eq!(error.to_string().contains("webpki"), alone.is_some(), "{what}: {error}");
            assert!(error.message.contains(&error.subject), "{what}: {error}");
            // What cannot be read of the roots has its place among them: there is no chain yet.
            let link = if alone.is_some() {
                0
            } else {
                case["link"].as_u64().unwrap()
            };
            let unread = error.subject.is_empty() && link == sent.len() as u64;
            assert!(unread || error.link as u64 == link, "{what}: {error}");
        }
        (found, expected) => panic!("{what}: {found:?} where {expected:?} was expected"),
    }
    expected
}

#[test]
fn the_specification() {
    let found = run("hybrid-certificates.json");
    let elsewhere = [Cause::Malformed, Cause::Revoked, Cause::BadRevocationList];
    assert_eq!(found.len(), Cause::ALL.len() - elsewhere.len() + 1);
}

#[test]
fn whatever_else_is_refused() {
    let found = run("hybrid-refusals.json");
    for cause in [Cause::Malformed, Cause::Revoked, Cause::BadRevocationList] {
        assert!(found.contains(&Some(cause)), "{cause}");
    }
}

#[test]
fn a_list_is_asked_again() {
    let vectors = vectors("hybrid-refusals.json");
    let cases = vectors["cases"].as_array().unwrap();
    let case = cases.iter().find(|case| case["what"] == "a revoked leaf").unwrap();
    let der = |which: &str| {
        named(&vectors["certificates"], &case[which])
            .into_iter()
            .map(CertificateDer::from)
    };
    let lists = named(&vectors["lists"], &case["lists"]);
    let roots = Roots::new(&der("roots").collect::<Vec<_>>(), &lists).unwrap();
    let sent: Vec<_> = der("chain").collect();
    let demands = demands(time(&case["at"]), "a.example");
    for _ in 0..3 {
        assert_eq!(verify(&sent, &roots, &demands).unwrap_err().cause, Cause::Revoked);
        // Its signatures are known now, but not that it is of another day.
        let at = UnixTime::since_unix_epoch(Duration::from_secs(demands.at.as_secs() + 2 * 86_400));
        let later = Demands { at, ..demands };
        assert_eq!(
            verify(&sent, &roots, &later).unwrap_err().cause,
            Cause::BadRevocationList
        );
    }
}

#[test]
fn a_list_is_only_by_whom_it_was_found_to_be() {
    let vectors = vectors("hybrid-refusals.json");
    let cases = vectors["cases"].as_array().unwrap();
    let [one, other] =
        ["one of two of a name", "the other"].map(|what| cases.iter().find(|case| case["what"] == what).unwrap());
    let der = |names: &Value| {
        named(&vectors["certificates"], names)
            .into_iter()
            .map(CertificateDer::from)
            .collect()
    };
    let (trusted, first, second): (Vec<_>, Vec<_>, Vec<_>) =
        (der(&one["roots"]), der(&one["chain"]), der(&other["chain"]));
    let roots = Roots::new(&trusted, &named(&vectors["lists"], &one["lists"])).unwrap();
    let demands = demands(time(&one["at"]), "a.example");
    for _ in 0..2 {
        verify(&first, &roots, &demands).unwrap();
        assert_eq!(
            verify(&second, &roots, &demands).unwrap_err().cause,
            Cause::BadRevocationList
        );
    }
}

#[test]
fn roots_with_and_without_an_alternative_key() {
    let vectors = vectors("hybrid-certificates.json");
    for (name, hybrid) in [("8 root", true), ("10 a.example", false)] {
        let der = CertificateDer::from(octets(&vectors["certificates"][name]));
        let roots = Roots::new(&[der], &[]).unwrap();
        assert_eq!(roots.is_hybrid(), hybrid);
        assert!(format!("{roots:?}").contains(name[2..].trim_start()));
    }
}

#[test]
fn alternative_signatures() {
    for vector in vectors("hybrid-certificates.json")["signatures"].as_array().unwrap() {
        let part = |name: &str| octets(&vector[name]);
        let (level, key) = alternative_key(&part("certificate")).unwrap().unwrap();
        assert!(part("subject_alt_public_key_info").ends_with(&key));
        let (covered, signature) = (part("covered"), part("alternative_signature"));
        assert!(verify_ml_dsa(level, &key, &covered, &signature));
        for other in Level::ALL {
            assert_eq!(verify_ml_dsa(other, &key, &covered, &signature), other == level);
        }
        assert!(!verify_ml_dsa(level, &key, &covered[1..], &signature));
        assert!(!verify_ml_dsa(level, &key, &covered, &signature[1..]));
        assert!(!verify_ml_dsa(
            level,
            &part("subject_alt_public_key_info"),
            &covered,
            &signature
        ));
        let algorithm = match level {
            Level::MlDsa44 => &ML_DSA_44_SIGNING,
            Level::MlDsa65 => &ML_DSA_65_SIGNING,
            Level::MlDsa87 => &ML_DSA_87_SIGNING,
        };
        let pair = PqdsaKeyPair::from_pkcs8(algorithm, &part("alternative_private_key")).unwrap();
        assert_eq!(pair.public_key().as_ref(), key);
        let mut again = vec![0; algorithm.signature_len()];
        pair.sign(b"message", &mut again).unwrap();
        assert!(verify_ml_dsa(level, &key, b"message", &again));
        assert!(!verify_ml_dsa(level, &key, b"massage", &again));
    }
}

#[test]
fn a_classical_certificate_has_no_alternative_key() {
    let vectors = vectors("hybrid-certificates.json");
    let classical = octets(&vectors["certificates"]["10 a.example"]);
    assert_eq!(alternative_key(&classical).unwrap(), None);
    assert_eq!(alternative_key(b"nothing").unwrap_err().cause, Cause::Malformed);
}

#[test]
fn names_of_the_leaf() {
    let vectors = vectors("hybrid-certificates.json");
    let case = &vectors["cases"][0];
    let [sent, trusted] = ["chain", "roots"].map(|which| named(&vectors["certificates"], &case[which]));
    let verified = judge(&sent, &trusted, &[], &demands(time(&case["at"]), "a.example")).unwrap();
    assert_eq!(verified.leaf_names, ["a.example", "192.0.2.1"]);
    assert_eq!(
        (verified.level, verified.subject.as_str()),
        (Level::MlDsa44, "a.example")
    );
}

#[test]
fn causes_have_names_of_their_own() {
    let names: HashSet<_> = Cause::ALL.iter().map(|cause| cause.as_str()).collect();
    assert_eq!(names.len(), Cause::ALL.len());
    assert!(Cause::ALL.iter().all(|cause| !cause.hint().is_empty()));
}

//! The three profiles of Velocity/1 (docs/spec/velocity-1.md, "Profiles").
//!
//! A profile is a promise about strength: under `velocity/1` nothing but the groups of a permitted
//! profile is ever negotiated, and no signature rests on less than its ML-DSA parameter set.

use std::fmt;
use std::str::FromStr;

use serde::{Deserialize, Serialize};

use crate::chain::Level;
use crate::group;

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Profile {
    Light,
    #[default]
    Balanced,
    Secure,
}

impl Profile {
    pub const ALL: [Profile; 3] = [Profile::Light, Profile::Balanced, Profile::Secure];

    /// Code points of the groups of this profile, preferred first.
    pub fn groups(self) -> &'static [u16] {
        match self {
            Profile::Light => &[group::X25519MLKEM512],
            Profile::Balanced => &[group::X25519MLKEM768],
            Profile::Secure => &[group::X25519MLKEM1024, group::SECP384R1MLKEM1024],
        }
    }

    /// The profile a group belongs to; `None` for classical groups and hybrids of no profile.
    pub fn of_group(code: u16) -> Option<Profile> {
        Profile::ALL
            .into_iter()
            .find(|profile| profile.groups().contains(&code))
    }

    /// The weakest ML-DSA parameter set that a chain may rest on.
    pub fn level(self) -> Level {
        match self {
            Profile::Light => Level::MlDsa44,
            Profile::Balanced | Profile::Secure => Level::MlDsa65,
        }
    }

    pub fn as_str(self) -> &'static str {
        match self {
            Profile::Light => "light",
            Profile::Balanced => "balanced",
            Profile::Secure => "secure",
        }
    }
}

impl fmt::Display for Profile {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// The text is no profile name.
#[derive(Debug, PartialEq, Eq)]
pub struct UnknownProfile;

impl FromStr for Profile {
    type Err = UnknownProfile;

    fn from_str(name: &str) -> Result<Self, Self::Err> {
        match name {
            "light" | "turbo" => Ok(Profile::Light),
            "balanced" => Ok(Profile::Balanced),
            "secure" | "fortress" => Ok(Profile::Secure),
            _ => Err(UnknownProfile),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_group_of_a_profile_is_hybrid_and_leads_back_to_it() {
        for profile in Profile::ALL {
            for &code in profile.groups() {
                assert!(group::is_post_quantum(code));
                assert_eq!(Profile::of_group(code), Some(profile));
            }
        }
        assert_eq!(Profile::of_group(group::X25519), None);
    }

    #[test]
    fn aliases() {
        assert_eq!("turbo".parse(), Ok(Profile::Light));
        assert_eq!("fortress".parse(), Ok(Profile::Secure));
        assert_eq!("Balanced".parse::<Profile>(), Err(UnknownProfile));
    }
}

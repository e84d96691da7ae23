//! Which upstream gets a request.

use std::hash::BuildHasher;
use std::net::IpAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use http::HeaderName;

use super::sticky::Sticky;
use super::upstream::Upstream;
use crate::call::Call;
use crate::error::{Error, Result};
use crate::http::cookie;
use crate::plan::{self, BalanceBy};

/// Turns of one round: more weight than this is weighed more coarsely.
const ROUND: u32 = 1000;

pub struct Balance {
    by: By,
    /// Round robin: places in the order in which they have their turns, each as often as its weight says.
    turns: Vec<usize>,
    next: AtomicUsize,
}

enum By {
    RoundRobin,
    LeastConnections,
    TwoChoices,
    /// Round robin for those who come for the first time.
    Sticky(Sticky),
    Hash(Key),
}

enum Key {
    Client,
    Path,
    Header(HeaderName),
    Cookie(String),
}

impl Balance {
    pub fn new(plan: &plan::Balance, upstreams: &[Arc<Upstream>]) -> Result<Self> {
        let name = || plan.name.as_deref().unwrap_or_default();
        let by = match plan.by {
            BalanceBy::RoundRobin => By::RoundRobin,
            BalanceBy::LeastConnections => By::LeastConnections,
            BalanceBy::TwoChoices => By::TwoChoices,
            BalanceBy::Sticky => By::Sticky(Sticky::new(name(), plan.secret_file.as_deref(), upstreams)?),
            BalanceBy::ClientHash => By::Hash(Key::Client),
            BalanceBy::PathHash => By::Hash(Key::Path),
            BalanceBy::CookieHash => By::Hash(Key::Cookie(name().to_owned())),
            BalanceBy::HeaderHash => By::Hash(Key::Header(HeaderName::from_bytes(name().as_bytes()).map_err(
                |_| {
                    Error::config("HEADER_INVALID", format!("{:?} is no name of a header", name()))
                        .hint("balance by a header needs its name")
                },
            )?)),
        };
        Ok(Self {
            by,
            turns: turns(upstreams),
            next: AtomicUsize::new(0),
        })
    }

    /// The place of an upstream for this request: one that is available and was not `tried`, then one that was not
    /// tried, then any. Those of a higher rank come only after all others.
    pub fn choose(&self, upstreams: &[Arc<Upstream>], tried: &[usize], call: &Call<'_>) -> usize {
        if let [_] = upstreams {
            return 0;
        }
        let fresh = |place: &usize| !tried.contains(place);
        let up = |place: &usize| upstreams[*place].is_available();
        let rank = |place: &usize| upstreams[*place].rank;
        if let Some(place) = self.sticky().and_then(|sticky| sticky.place(&call.parts.headers))
            && fresh(&place)
            && up(&place)
        {
            return place;
        }
        let lowest = (0..upstreams.len())
            .filter(|place| fresh(place) && up(place))
            .map(|place| rank(&place))
            .min();
        let first = |place: &usize| Some(rank(place)) == lowest;
        let threshold = self.threshold();
        let ready = |place: &usize| upstreams[*place].share() > threshold;
        let pick = |wanted: &dyn Fn(&usize) -> bool| self.among(upstreams, wanted, call);
        pick(&|place| fresh(place) && up(place) && first(place) && ready(place))
            .or_else(|| pick(&|place| fresh(place) && up(place) && first(place)))
            .or_else(|| pick(&|place| fresh(place)))
            .or_else(|| pick(&up))
            .unwrap_or_default()
    }

    /// How a client stays with its upstream, if it does.
    pub fn sticky(&self) -> Option<&Sticky> {
        match &self.by {
            By::Sticky(sticky) => Some(sticky),
            _ => None,
        }
    }

    /// Who has a smaller share of its weight than this is passed over: an upstream that is half back has every other
    /// turn. A key is not moved for a while only.
    fn threshold(&self) -> f64 {
        match &self.by {
            By::Hash(_) => 0.0,
            _ => even(mixed(self.next.load(Relaxed) as u64)),
        }
    }

    fn among(&self, upstreams: &[Arc<Upstream>], wanted: &dyn Fn(&usize) -> bool, call: &Call<'_>) -> Option<usize> {
        let all = || (0..upstreams.len()).filter(wanted);
        match &self.by {
            By::RoundRobin | By::Sticky(_) => {
                let start = self.next.fetch_add(1, Relaxed);
                let rounds = start.checked_div(self.turns.len()).unwrap_or(start);
                let turn = self.turns.get(start.checked_rem(self.turns.len()).unwrap_or_default());
                turn.copied()
                    .filter(|place| wanted(place))
                    // Who cannot take its turn leaves it to all the others, not to its neighbour.
                    .or_else(|| nth_of(self.turns.iter().copied().filter(|place| wanted(place)), rounds))
                    .or_else(|| nth_of(all(), start))
            }
            By::LeastConnections => {
                // Of equals, not always the first.
                let start = self.next.fetch_add(1, Relaxed);
                let count = upstreams.len();
                let rotated = (0..count).map(|step| start.wrapping_add(step) % count).filter(wanted);
                rotated.min_by(|a, b| upstreams[*a].load().total_cmp(&upstreams[*b].load()))
            }
            By::TwoChoices => {
                let count = all().count();
                let random = self.next.fetch_add(1, Relaxed).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 16;
                let first = all().nth(random.checked_rem(count)?)?;
                let second = all()
                    .nth((random / count + random % count + 1) % count)
                    .unwrap_or(first);
                Some(match upstreams[first].load() <= upstreams[second].load() {
                    true => first,
                    false => second,
                })
            }
            By::Hash(key) => {
                let key = key.of(call);
                // Rendezvous hashing: one upstream less moves only what it had.
                let score = |place: &usize| {
                    let hash = mixed(HASHER.hash_one((&*upstreams[*place].url, &key)));
                    // -weight / ln(u), u even in (0, 1): each gets its share.
                    f64::from(upstreams[*place].weight) / -even(hash).max(f64::MIN_POSITIVE).ln()
                };
                all().max_by(|a, b| score(a).total_cmp(&score(b)))
            }
        }
    }
}

/// One of several, in turn.
fn nth_of(mut several: impl Iterator<Item = usize> + Clone, number: usize) -> Option<usize> {
    let place = number.checked_rem(several.clone().count())?;
    several.nth(place)
}

/// The same on every worker and after every start: a client keeps its upstream.
const HASHER: rustc_hash::FxBuildHasher = rustc_hash::FxBuildHasher;

/// The hasher is all but linear: what it makes of two upstreams would rise and fall together (the end of SplitMix64).
fn mixed(hash: u64) -> u64 {
    let hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    let hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    hash ^ (hash >> 31)
}

/// A number in [0, 1).
fn even(hash: u64) -> f64 {
    (hash >> 11) as f64 / (1u64 << 53) as f64
}

#[derive(Hash)]
enum Value<'a> {
    Client(IpAddr),
    Text(&'a [u8]),
}

impl Key {
    fn of<'a>(&self, call: &Call<'a>) -> Value<'a> {
        let text = match self {
            Key::Client => None,
            Key::Path => Some(call.parts.uri.path().as_bytes()),
            Key::Header(name) => call.parts.headers.get(name).map(|value| value.as_bytes()),
            Key::Cookie(name) => cookie::find(&call.parts.headers, name),
        };
        text.map_or(Value::Client(call.client), Value::Text)
    }
}

/// Smooth weighted round robin: heavy ones are spread out over the round, in which only those of the lowest rank have turns.
fn turns(upstreams: &[Arc<Upstream>]) -> Vec<usize> {
    let lowest = upstreams.iter().map(|upstream| upstream.rank).min();
    let first: Vec<usize> = (0..upstreams.len())
        .filter(|place| Some(upstreams[*place].rank) == lowest)
        .collect();
    let total = first
        .iter()
        .map(|place| upstreams[*place].weight)
        .fold(0, u32::saturating_add);
    let scale = |weight: u32| match total > ROUND {
        true => ((u64::from(weight) * u64::from(ROUND)) / u64::from(total)).max(1) as i64,
        false => i64::from(weight),
    };
    let weights: Vec<i64> = first.iter().map(|place| scale(upstreams[*place].weight)).collect();
    let round: i64 = weights.iter().sum();
    let mut credit = vec![0; weights.len()];
    let mut turns = Vec::with_capacity(round as usize);
    for _ in 0..round {
        for (credit, weight) in credit.iter_mut().zip(&weights) {
            *credit += weight;
        }
        if let Some(richest) = (0..credit.len()).max_by_key(|place| (credit[*place], std::cmp::Reverse(*place))) {
            credit[richest] -= round;
            turns.push(first[richest]);
        }
    }
    turns
}

#[cfg(test)]
mod tests {
    use super::super::tests::{parts, starting_slowly, upstreams};
    use super::*;
    use crate::filter::tests::with_call;

    fn balance(by: BalanceBy, upstreams: &[Arc<Upstream>]) -> Balance {
        let name = Some("x-user".to_owned());
        let plan = plan::Balance {
            by,
            name,
            secret_file: None,
        };
        Balance::new(&plan, upstreams).unwrap()
    }

    /// How often each is chosen.
    async fn chosen(balance: &Balance, upstreams: &[Arc<Upstream>], tried: &[usize], times: usize) -> Vec<usize> {
        let mut counts = vec![0; upstreams.len()];
        with_call(&parts("/", &[]), async |call| {
            for _ in 0..times {
                counts[balance.choose(upstreams, tried, &call)] += 1;
            }
        })
        .await;
        counts
    }

    #[tokio::test]
    async fn turns_go_by_weight() {
        let all = upstreams(&[(3, false), (1, false), (2, false)]);
        assert_eq!(turns(&all), [0, 2, 0, 1, 2, 0]);
        let robin = balance(BalanceBy::RoundRobin, &all);
        assert_eq!(chosen(&robin, &all, &[], 60).await, [30, 10, 20]);
        let heavy = upstreams(&[(1_000_000, false), (1, false)]);
        assert!(turns(&heavy).len() <= ROUND as usize + 1);
        assert!(turns(&heavy).contains(&1));
    }

    #[tokio::test]
    async fn whoever_is_away_leaves_its_share_to_all() {
        let all = upstreams(&[(1, false), (1, false), (1, false), (1, true)]);
        let robin = balance(BalanceBy::RoundRobin, &all);
        assert_eq!(chosen(&robin, &all, &[], 30).await, [10, 10, 10, 0]);
        assert_eq!(chosen(&robin, &all, &[1], 60).await, [30, 0, 30, 0]);
        all[0].checked(false);
        assert_eq!(chosen(&robin, &all, &[], 60).await, [0, 30, 30, 0]);
        assert_eq!(chosen(&robin, &all, &[1, 2], 6).await, [0, 0, 0, 6]);
        for upstream in &all[1..3] {
            upstream.checked(false);
        }
        assert_eq!(chosen(&robin, &all, &[], 6).await, [0, 0, 0, 6]);
        // Nobody is well: better anybody than none.
        all[3].checked(false);
        assert_eq!(chosen(&robin, &all, &[], 60).await.iter().sum::<usize>(), 60);
    }

    #[tokio::test]
    async fn backups_alone() {
        let all = upstreams(&[(1, true), (1, true)]);
        for by in [
            BalanceBy::RoundRobin,
            BalanceBy::LeastConnections,
            BalanceBy::TwoChoices,
        ] {
            assert_eq!(
                chosen(&balance(by, &all), &all, &[], 10).await.iter().sum::<usize>(),
                10
            );
        }
    }

    #[tokio::test]
    async fn the_busy_ones_are_spared() {
        let all = upstreams(&[(1, false), (2, false), (1, false)]);
        let _busy = [0, 1, 2].map(|place| super::super::Busy::new(&all[place]));
        let least = balance(BalanceBy::LeastConnections, &all);
        assert_eq!(
            chosen(&least, &all, &[], 9).await,
            [0, 9, 0],
            "one request of two that it can bear"
        );
        let two = balance(BalanceBy::TwoChoices, &all);
        let counts = chosen(&two, &all, &[], 300).await;
        assert!(counts[1] > counts[0] && counts[1] > counts[2], "{counts:?}");
    }

    #[tokio::test]
    async fn a_key_stays_where_it_is_when_others_leave() {
        let all = upstreams(&[(1, false), (1, false), (1, false), (1, false)]);
        let hash = balance(BalanceBy::HeaderHash, &all);
        let of = async |user: usize| {
            let parts = parts("/", &[("x-user", &user.to_string())]);
            with_call(&parts, async |call| hash.choose(&all, &[], &call)).await
        };
        let mut before = Vec::new();
        for user in 0..400 {
            before.push(of(user).await);
        }
        for place in 0..4 {
            let share = before.iter().filter(|chosen| **chosen == place).count();
            assert!((60..140).contains(&share), "{place}: {share}");
        }
        all[2].checked(false);
        for (user, before) in before.into_iter().enumerate() {
            let after = of(user).await;
            assert!(if before == 2 { after != 2 } else { after == before }, "{user}");
        }
    }

    #[tokio::test]
    async fn whoever_has_the_cookie_stays() {
        let all = upstreams(&[(1, false), (1, false), (1, true)]);
        let balance = balance(BalanceBy::Sticky, &all);
        assert_eq!(chosen(&balance, &all, &[], 20).await, [10, 10, 0]);
        let field = balance
            .sticky()
            .unwrap()
            .tie(1, &http::HeaderMap::new())
            .unwrap()
            .clone();
        let pair = field.to_str().unwrap().split(';').next().unwrap().to_owned();
        let parts = parts("/", &[("cookie", &pair)]);
        with_call(&parts, async |call| {
            for _ in 0..10 {
                assert_eq!(balance.choose(&all, &[], &call), 1);
            }
            assert_eq!(balance.choose(&all, &[1], &call), 0, "it has failed");
            all[1].checked(false);
            assert_eq!(balance.choose(&all, &[], &call), 0);
            assert!(balance.sticky().unwrap().tie(0, &call.parts.headers).is_some());
        })
        .await;
    }

    #[tokio::test(start_paused = true)]
    async fn whoever_is_back_begins_slowly() {
        let all = starting_slowly(&[(1, false), (1, false)], 10_000);
        let balances = [
            BalanceBy::RoundRobin,
            BalanceBy::LeastConnections,
            BalanceBy::TwoChoices,
        ]
        .map(|by| balance(by, &all));
        let second = async |balance: &Balance| chosen(balance, &all, &[], 1000).await[1];
        for balance in &balances {
            assert!(
                (400..=600).contains(&second(balance).await),
                "at the start all have all"
            );
        }
        all[1].checked(false);
        all[1].checked(true);
        for (seconds, expected) in [(1, 0..=110), (4, 170..=330), (5, 400..=600)] {
            tokio::time::advance(std::time::Duration::from_secs(seconds)).await;
            for balance in &balances {
                let got = second(balance).await;
                assert!(expected.contains(&got), "{seconds} {got}");
            }
        }
        all[0].checked(false);
        all[1].checked(false);
        all[1].checked(true);
        assert_eq!(second(&balances[0]).await, 1000, "there is nobody else");
    }
}

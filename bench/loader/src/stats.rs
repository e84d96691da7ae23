//! Quantiles, and the CPU that a stretch of work cost on both sides.

use std::time::Instant;

use serde_json::{Value, json};

use crate::error::Result;
use crate::process::{ServerProcess, own_cpu_seconds};

/// Durations or rates in any one unit.
#[derive(Default)]
pub struct Samples(Vec<f64>);

impl Samples {
    pub fn push(&mut self, value: f64) {
        self.0.push(value);
    }

    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn sort(&mut self) {
        self.0.sort_unstable_by(f64::total_cmp);
    }

    /// The value below which `share` (0 to 1) of the sorted samples lie; 0 when there are none.
    pub fn quantile(&self, share: f64) -> f64 {
        let index = (self.0.len() as f64 * share) as usize;
        self.0
            .get(index.min(self.0.len().saturating_sub(1)))
            .copied()
            .unwrap_or(0.0)
    }
}

/// Runs from [`Meter::start`] to [`Meter::stop`].
pub struct Meter {
    server: ServerProcess,
    since: Instant,
    server_cpu: f64,
    client_cpu: f64,
}

/// What the stretch cost, in seconds.
pub struct Cost {
    pub elapsed: f64,
    pub server_cpu: f64,
    pub client_cpu: f64,
}

impl Meter {
    pub fn start(server: ServerProcess) -> Result<Self> {
        let (server_cpu, client_cpu) = (server.cpu_seconds()?, own_cpu_seconds()?);
        Ok(Self {
            server,
            since: Instant::now(),
            server_cpu,
            client_cpu,
        })
    }

    pub fn stop(self) -> Result<Cost> {
        Ok(Cost {
            elapsed: self.since.elapsed().as_secs_f64(),
            server_cpu: self.server.cpu_seconds()? - self.server_cpu,
            client_cpu: own_cpu_seconds()? - self.client_cpu,
        })
    }
}

impl Cost {
    pub fn server_percent(&self) -> Value {
        rounded(self.server_cpu / self.elapsed * 100.0, 1)
    }

    pub fn client_percent(&self) -> Value {
        rounded(self.client_cpu / self.elapsed * 100.0, 1)
    }
}

/// A number for people to read: `digits` after the point.
pub fn rounded(value: f64, digits: i32) -> Value {
    let scale = 10f64.powi(digits);
    json!((value * scale).round() / scale)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles() {
        let mut samples = Samples::default();
        assert_eq!(samples.quantile(0.5), 0.0);
        for value in (1..=100).rev() {
            samples.push(f64::from(value));
        }
        samples.sort();
        assert_eq!(samples.quantile(0.0), 1.0);
        assert_eq!(samples.quantile(0.5), 51.0);
        assert_eq!(samples.quantile(1.0), 100.0);
    }

    #[test]
    fn rounds() {
        assert_eq!(rounded(1.2345, 2), json!(1.23));
        assert_eq!(rounded(1234.5, 0), json!(1235.0));
    }
}

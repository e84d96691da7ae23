//! CPU time and memory of the server and of the loader itself, from proc(5).

use std::fs;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use crate::error::Result;

/// USER_HZ: the unit of CPU times in /proc, the same on every Linux architecture of today.
const TICKS_PER_SECOND: f64 = 100.0;

/// All processes of one process group, such as an nginx master and its workers.
#[derive(Clone, Copy, Debug)]
pub struct ServerProcess {
    pub group: i32,
}

/// Memory in bytes, summed over the processes of a server.
#[derive(Clone, Copy, Debug, Default)]
pub struct Memory {
    /// Anonymous resident memory: heap and stacks, without mapped files.
    pub anonymous: u64,
    /// All resident memory.
    pub resident: u64,
}

impl ServerProcess {
    /// CPU seconds used so far, threads and reaped children included.
    pub fn cpu_seconds(self) -> Result<f64> {
        Ok(self.stats()?.iter().map(|stat| stat.cpu_seconds).sum())
    }

    pub fn memory(self) -> Result<Memory> {
        let mut sum = Memory::default();
        for stat in self.stats()? {
            let status = fs::read_to_string(format!("/proc/{}/status", stat.pid))?;
            sum.anonymous += kibibytes(&status, "RssAnon:")? * 1024;
            sum.resident += kibibytes(&status, "VmRSS:")? * 1024;
        }
        Ok(sum)
    }

    fn stats(self) -> Result<Vec<Stat>> {
        let mut found = Vec::new();
        for entry in fs::read_dir("/proc")? {
            let Ok(pid) = entry?.file_name().to_string_lossy().parse::<i32>() else {
                continue;
            };
            // A process may end between listing and reading: then it is not counted.
            let Ok(text) = fs::read_to_string(format!("/proc/{pid}/stat")) else {
                continue;
            };
            let stat = Stat::parse(pid, &text).ok_or_else(|| format!("cannot read /proc/{pid}/stat"))?;
            if stat.group == self.group {
                found.push(stat);
            }
        }
        if found.is_empty() {
            return Err(format!("the server (process group {}) is gone", self.group).into());
        }
        Ok(found)
    }
}

/// CPU seconds of this process so far.
pub fn own_cpu_seconds() -> Result<f64> {
    let text = fs::read_to_string("/proc/self/stat")?;
    Ok(Stat::parse(0, &text).ok_or("cannot read /proc/self/stat")?.cpu_seconds)
}

struct Stat {
    pid: i32,
    group: i32,
    cpu_seconds: f64,
}

impl Stat {
    /// proc_pid_stat(5). The second field is the name in parentheses, and may hold anything.
    fn parse(pid: i32, text: &str) -> Option<Self> {
        let fields: Vec<&str> = text.get(text.rfind(')')? + 2..)?.split_whitespace().collect();
        let ticks = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self {
            pid,
            group: fields.get(5 - 3)?.parse().ok()?,
            // utime, stime, cutime, cstime
            cpu_seconds: (ticks(14)? + ticks(15)? + ticks(16)? + ticks(17)?) as f64 / TICKS_PER_SECOND,
        })
    }
}

fn kibibytes(status: &str, key: &str) -> Result<u64> {
    let line = status.lines().find_map(|line| line.strip_prefix(key));
    let number = line
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|text| text.parse().ok());
    number.ok_or_else(|| format!("no {key} in /proc/PID/status").into())
}

/// Raise the soft limit of open files to the hard one: `idle` opens thousands.
pub fn raise_file_limit() -> Result<()> {
    let limit = getrlimit(Resource::Nofile);
    setrlimit(
        Resource::Nofile,
        Rlimit {
            current: limit.maximum,
            maximum: limit.maximum,
        },
    )?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reads_names_with_spaces_and_parentheses() {
        let text = "7 (a b) c) S 1 42 42 0 -1 0 1 2 3 4 100 50 7 3 20 0 1 0 9";
        let stat = Stat::parse(7, text).unwrap();
        assert_eq!(stat.group, 42);
        assert_eq!(stat.cpu_seconds, 1.6);
    }

    #[test]
    fn sees_itself() {
        let group = ServerProcess {
            group: rustix::process::getpgid(None).unwrap().as_raw_nonzero().get(),
        };
        assert!(group.memory().unwrap().anonymous > 0);
        assert!(group.cpu_seconds().unwrap() >= own_cpu_seconds().unwrap());
        assert!(ServerProcess { group: i32::MAX }.cpu_seconds().is_err());
    }
}

//! What the kernel says of this process, from `/proc/self`.
//!
//! Own code rather than `metrics-process`: the status page needs the same numbers, and the CPU time must keep its
//! fractions, which the counters of the `metrics` crate (whole numbers) cannot.

use std::fs;

use serde::Serialize;

/// A reading of `/proc/self`.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
pub struct Process {
    /// CPU time used since the start, user and system, in seconds.
    pub cpu_seconds: f64,
    /// Memory in RAM, in bytes.
    pub resident_bytes: u64,
    /// Descriptors open.
    pub fds_open: u64,
    /// Descriptors allowed (the soft limit).
    pub fds_max: u64,
    /// Threads.
    pub threads: u64,
    /// When the process started, in seconds since 1970.
    pub start_time_seconds: f64,
}

impl Process {
    /// Reads the numbers; `None` where there is no `/proc`.
    pub fn read() -> Option<Self> {
        let stat = Stat::parse(&fs::read_to_string("/proc/self/stat").ok()?)?;
        let boot_seconds = boot_time(&fs::read_to_string("/proc/stat").ok()?)?;
        let ticks_per_second = rustix::param::clock_ticks_per_second() as f64;
        let fds_max = rustix::process::getrlimit(rustix::process::Resource::Nofile)
            .current
            .unwrap_or(u64::MAX);
        Some(Self {
            cpu_seconds: stat.cpu_ticks as f64 / ticks_per_second,
            resident_bytes: stat.resident_pages * rustix::param::page_size() as u64,
            // The listing itself holds one descriptor.
            fds_open: (fs::read_dir("/proc/self/fd").ok()?.count() as u64).saturating_sub(1),
            fds_max,
            threads: stat.threads,
            start_time_seconds: boot_seconds as f64 + stat.start_ticks as f64 / ticks_per_second,
        })
    }
}

/// The fields of `/proc/self/stat` in use.
///
/// Source: proc_pid_stat(5).
#[derive(Debug, PartialEq)]
struct Stat {
    cpu_ticks: u64,
    threads: u64,
    start_ticks: u64,
    resident_pages: u64,
}

impl Stat {
    fn parse(line: &str) -> Option<Self> {
        // The second field is the program's name in brackets and may hold blanks and brackets: go on behind the last.
        let (_, rest) = line.rsplit_once(')')?;
        let fields: Vec<&str> = rest.split_whitespace().collect();
        // The manual numbers fields from 1, and the first one here is its third.
        let field = |number: usize| fields.get(number - 3)?.parse::<u64>().ok();
        Some(Self {
            cpu_ticks: field(14)? + field(15)?,
            threads: field(20)?,
            start_ticks: field(22)?,
            resident_pages: field(24)?,
        })
    }
}

/// Finds when the machine booted, in seconds since 1970.
fn boot_time(stat: &str) -> Option<u64> {
    stat.lines()
        .find_map(|line| line.strip_prefix("btime "))?
        .trim()
        .parse()
        .ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_line_is_read_past_a_name_with_brackets() {
        let line = "7 (a) b) c) S 1 2 3 4 5 6 7 8 9 10 40 2 16 17 18 19 3 21 5000 23 256 25\n";
        let expected = Stat {
            cpu_ticks: 42,
            threads: 3,
            start_ticks: 5000,
            resident_pages: 256,
        };
        assert_eq!(Stat::parse(line), Some(expected));
        assert_eq!(Stat::parse("7 (short) S 1 2"), None);
        assert_eq!(Stat::parse(""), None);
    }

    #[test]
    fn boot_time_is_found_among_other_lines() {
        assert_eq!(
            boot_time("cpu 1 2\nbtime 1700000000\nx 1"),
            Some(1_700_000_000)
        );
        assert_eq!(boot_time("cpu 1 2"), None);
    }

    #[test]
    fn this_process_is_plausible() {
        let process = Process::read().expect("Linux has /proc");
        assert!(process.resident_bytes > 100_000, "{process:?}");
        assert!(
            (3..=process.fds_max).contains(&process.fds_open),
            "{process:?}"
        );
        assert!(process.threads >= 1, "{process:?}");
        assert!(process.start_time_seconds > 1_600_000_000.0, "{process:?}");
    }
}

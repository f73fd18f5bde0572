//! The architecture as a test: who may import whom, which crates are quarantined, what pure code may not do, how long a file may be.
//!
//! A new arrow goes into [`ARROWS`], and its reason into the commit.

use std::fs;
use std::path::{Path, PathBuf};

/// Each module with all that it may import besides itself and [`LEAVES`], from top to bottom: an import goes down.
const ARROWS: &[(&str, &[&str])] = &[
    ("main", &["cli"]),
    ("cli", &["app"]),
    ("app", &["admin", "control_plane", "data_plane"]),
    ("admin", &["data_plane", "sentinel"]),
    (
        "control_plane",
        &[
            "data_plane",
            "sentinel",
            "failover",
            "journal",
            "command",
            "resp",
        ],
    ),
    (
        "data_plane",
        &[
            "proxy",
            "downstream",
            "upstream",
            "sentinel",
            "failover",
            "journal",
            "command",
            "resp",
        ],
    ),
    (
        "proxy",
        &[
            "downstream",
            "upstream",
            "cache",
            "failover",
            "repair",
            "journal",
            "command",
            "resp",
        ],
    ),
    ("downstream", &["cache", "failover", "command", "resp"]),
    (
        "upstream",
        &["cache", "failover", "repair", "journal", "command", "resp"],
    ),
    ("cache", &["command", "resp"]),
    ("sentinel", &["failover", "command", "resp"]),
    ("failover", &["command", "resp"]),
    ("repair", &["journal", "command", "resp"]),
    ("journal", &["command", "resp"]),
    ("command", &["resp"]),
    ("resp", &[]),
    ("lib", &[]),
];

/// Usable from everywhere; they import only each other.
const LEAVES: &[&str] = &[
    "config", "error", "id", "metrics", "outbox", "reactor", "seam", "shutdown",
];

/// Crates that only some paths may name, and why.
const QUARANTINE: &[(&str, &[&str], &str)] = &[
    (
        "serde_yaml",
        &["config"],
        "it has no maintainer: it must be easy to replace",
    ),
    (
        "redis",
        &["control_plane", "sentinel"],
        "the data path forwards bytes",
    ),
    ("moka", &["cache"], "one place knows how entries live"),
    (
        "metrics",
        &["metrics"],
        "every metric is declared in one place",
    ),
    ("axum", &["admin"], "HTTP is for operators"),
    ("clap", &["cli"], "the command line is one layer"),
];

/// Paths of pure code: it is given the time and the bytes, and says what to do.
const PURE: &[&str] = &[
    "resp",
    "command",
    "failover",
    "journal",
    "repair",
    "sentinel/announced",
    "cache/core",
    "cache/entry",
    "cache/fence",
    "cache/front",
    "cache/push",
    "cache/shape",
    "cache/touch",
    "sentinel/topology",
];

/// What pure code must not contain.
const IMPURE: &[&str] = &[
    "Instant::now",
    "SystemTime",
    "tokio::net",
    "tokio::time",
    "std::net::Tcp",
    "std::fs",
    "std::env",
    "spawn(",
];

/// Longest file, its tests not counted.
const LINES_MAX: usize = 500;

/// One source file.
struct Source {
    /// Relative to `src`, without `.rs` and `/mod`: `config/parse`.
    name: String,
    /// The text before its tests.
    lines: Vec<String>,
}

impl Source {
    /// Top-level module: `config`.
    fn module(&self) -> &str {
        self.name
            .split('/')
            .next()
            .expect("split gives at least one")
    }

    /// Lines that are no comments, with their numbers.
    fn code(&self) -> impl Iterator<Item = (usize, &str)> {
        let lines = self.lines.iter().enumerate();
        let lines = lines.map(|(index, line)| (index + 1, line.trim()));
        lines.filter(|(_, line)| !line.starts_with("//"))
    }

    /// Whether this is one of `paths`, or lies below one.
    fn is_in(&self, paths: &[&str]) -> bool {
        paths.iter().any(|path| {
            self.name
                .strip_prefix(path)
                .is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        })
    }
}

fn sources() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("src");
    let mut paths = Vec::new();
    collect(&root, &mut paths);
    let sources: Vec<Source> = paths.iter().filter_map(|path| read(&root, path)).collect();
    assert!(sources.len() > 10, "the sources are not where they were");
    sources
}

fn collect(directory: &Path, paths: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(directory).expect("a directory") {
        let path = entry.expect("an entry").path();
        if path.is_dir() {
            collect(&path, paths);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            paths.push(path);
        }
    }
}

/// Reads a source file; `None` for one that holds only tests.
fn read(root: &Path, path: &Path) -> Option<Source> {
    let name = path
        .strip_prefix(root)
        .expect("below the root")
        .with_extension("");
    let name = name
        .to_str()
        .expect("UTF-8")
        .trim_end_matches("/mod")
        .to_owned();
    if name.ends_with("/tests") || name.contains("/tests/") {
        return None;
    }
    let text = fs::read_to_string(path).expect("a source file");
    // Tests stand last; a `mod tests;` among the others is a line of the file.
    let before_tests = match text.find("#[cfg(test)]\nmod tests {") {
        Some(start) => &text[..start],
        None => &text,
    };
    Some(Source {
        name,
        lines: before_tests.lines().map(str::to_owned).collect(),
    })
}

/// What stands behind each `prefix` that begins a path in `line`: `self::crate::x` and `my_crate::x` are others.
fn after<'a>(line: &'a str, prefix: &'a str) -> impl Iterator<Item = &'a str> {
    line.match_indices(prefix).filter_map(move |(start, _)| {
        let before = line[..start].chars().next_back();
        let is_part = |c: char| c.is_alphanumeric() || c == '_' || c == ':';
        (!before.is_some_and(is_part)).then(|| &line[start + prefix.len()..])
    })
}

fn report(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}\n", faults.join("\n"));
}

#[test]
fn imports_go_down() {
    let mut faults = Vec::new();
    for source in sources() {
        let module = source.module().to_owned();
        let arrows = ARROWS
            .iter()
            .find(|(name, _)| *name == module)
            .map(|(_, down)| *down);
        let is_leaf = LEAVES.contains(&module.as_str());
        if arrows.is_none() && !is_leaf {
            faults.push(format!("{module}: no row in ARROWS, and not in LEAVES"));
        }
        for (number, line) in source.code() {
            let paths = after(line, "crate::").chain(after(line, "gripfast::"));
            for path in paths {
                if path.starts_with('{') {
                    faults.push(format!(
                        "{}:{number}: write one `use` for each module",
                        source.name
                    ));
                    continue;
                }
                let target: String = path
                    .chars()
                    .take_while(|c| c.is_alphanumeric() || *c == '_')
                    .collect();
                let known = LEAVES.contains(&target.as_str())
                    || arrows.is_some_and(|down| down.contains(&target.as_str()));
                if target != module && !known {
                    faults.push(format!(
                        "{}:{number}: {module} may not import {target}",
                        source.name
                    ));
                }
            }
        }
    }
    report(&faults);
}

#[test]
fn arrows_make_no_circle() {
    for (index, (name, down)) in ARROWS.iter().enumerate() {
        let above: Vec<&str> = ARROWS[..index].iter().map(|(name, _)| *name).collect();
        for target in *down {
            assert!(!above.contains(target), "{name} -> {target} goes up");
        }
    }
}

#[test]
fn quarantined_crates_stay_where_they_are() {
    let mut faults = Vec::new();
    for source in sources() {
        for (krate, paths, why) in QUARANTINE {
            let prefix = format!("{krate}::");
            for (number, line) in source.code() {
                if after(line, &prefix).next().is_some() && !source.is_in(paths) {
                    faults.push(format!(
                        "{}:{number}: {krate} is for {paths:?}: {why}",
                        source.name
                    ));
                }
            }
        }
    }
    report(&faults);
}

#[test]
fn pure_code_reads_no_clock_opens_no_socket_and_spawns_nothing() {
    let mut faults = Vec::new();
    for source in sources().iter().filter(|source| source.is_in(PURE)) {
        for (number, line) in source.code() {
            for word in IMPURE.iter().filter(|word| line.contains(**word)) {
                faults.push(format!("{}:{number}: {word} in pure code", source.name));
            }
        }
    }
    report(&faults);
}

#[test]
fn files_are_short() {
    let long = sources()
        .into_iter()
        .filter(|source| source.lines.len() > LINES_MAX);
    let faults: Vec<String> = long
        .map(|source| {
            format!(
                "{}: {} lines, {LINES_MAX} are the limit",
                source.name,
                source.lines.len()
            )
        })
        .collect();
    report(&faults);
}

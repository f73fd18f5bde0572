//! Promises about the configuration file.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use gripfast::config::{Config, Error};

/// A directory that is gone with the test.
struct Directory(PathBuf);

impl Directory {
    fn new(name: &str) -> Self {
        let path = Path::new(env!("CARGO_TARGET_TMPDIR")).join(format!("config-{name}"));
        let _ = fs::remove_dir_all(&path);
        fs::create_dir_all(&path).expect("test directory");
        Self(path)
    }

    fn file(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.0.join(name);
        fs::write(&path, text).expect("test file");
        fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("test file");
        path
    }
}

impl Drop for Directory {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

fn shipped() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("config.yaml")
}

#[test]
fn shipped_file_says_the_defaults() {
    let (config, warnings) = Config::load(&shipped()).unwrap();
    assert_eq!(config, Config::default());
    assert!(warnings.is_empty(), "{warnings:?}");
}

/// As readers of YAML 1.1 have it, which write the word back as a boolean.
#[test]
fn off_means_off_in_every_spelling() {
    let directory = Directory::new("off");
    for off in ["off", "'off'", "\"off\"", "false"] {
        let text = format!("sessions: {{require_ttl: {off}}}");
        let (config, _) = Config::load(&directory.file("c.yaml", &text, 0o600)).unwrap();
        assert_eq!(config, Config::default(), "{off}");
    }
}

#[test]
fn problems_of_all_sections_come_at_once() {
    let directory = Directory::new("at-once");
    let text = "cache: {bytes: 1, ttl_s: 0}\ntouch: {coalesce: 2}\nsessions: {prefixes: [''], require_ttl: enforce, max_ttl_s: 60}\nshutdown: {grace_s: x}\n";
    let Err(Error::Problems { problems, .. }) =
        Config::load(&directory.file("c.yaml", text, 0o600))
    else {
        panic!("bad values were taken");
    };
    let keys: Vec<&str> = problems
        .iter()
        .map(|problem| problem.key.as_str())
        .collect();
    let expected = [
        "cache.bytes",
        "cache.ttl_s",
        "touch.coalesce",
        "sessions.prefixes",
        "sessions.max_ttl_s",
        "shutdown.grace_s",
    ];
    assert_eq!(keys, expected);
}

/// The list of known keys comes from the refusal of an unknown one, so it cannot be forgotten here.
#[test]
fn shipped_file_shows_and_explains_every_key() {
    let text = fs::read_to_string(shipped()).unwrap();
    let lines: Vec<&str> = text.lines().collect();
    let directory = Directory::new("keys");
    let sections = [
        "listen",
        "upstream",
        "cache",
        "touch",
        "sessions",
        "hold",
        "journal",
        "durability",
        "repair",
        "admin",
        "log",
        "shutdown",
    ];
    let probe: String = sections
        .iter()
        .map(|name| format!("{name}: {{zzz: 1}}\n"))
        .collect();
    let Err(Error::Problems { problems, .. }) =
        Config::load(&directory.file("c.yaml", &probe, 0o600))
    else {
        panic!("unknown keys were taken");
    };
    assert_eq!(problems.len(), sections.len());
    let mut keys = 0;
    for problem in &problems {
        let section = problem.key.trim_end_matches(".zzz");
        let start = lines
            .iter()
            .position(|line| *line == format!("{section}:"))
            .unwrap();
        let (_, known) = problem.rule.split_once("known here: ").unwrap();
        for key in known.split(", ") {
            let at = lines[start..]
                .iter()
                .position(|line| line.starts_with(&format!("  {key}:")));
            let at = start + at.unwrap_or_else(|| panic!("config.yaml lacks {section}.{key}"));
            assert!(
                lines[at - 1].trim().starts_with('#'),
                "no word on {section}.{key}"
            );
            keys += 1;
        }
    }
    assert_eq!(
        keys,
        lines.iter().filter(|line| is_key(line)).count(),
        "a key is unknown or shown twice"
    );
}

fn is_key(line: &str) -> bool {
    line.starts_with("  ") && !line.trim().starts_with('#') && line.contains(':')
}

#[test]
fn broken_yaml_is_refused_with_its_line() {
    let directory = Directory::new("broken");
    let path = directory.file("c.yaml", "listen:\n  tcp: [1\nupstream: {}\n", 0o600);
    let Err(Error::Yaml { source, .. }) = Config::load(&path) else {
        panic!("broken YAML was taken");
    };
    assert_eq!(source.location().map(|(line, _)| line), Some(3));
    assert!(source.to_string().contains("line 3 column"), "{source}");
}

#[test]
fn password_comes_from_a_file_beside_the_configuration() {
    let directory = Directory::new("password");
    for (text, password) in [
        ("hunter2\n", "hunter2"),
        ("hunter2\r\n", "hunter2"),
        (" a b \n\n", " a b \n"),
    ] {
        directory.file("password", text, 0o600);
        let path = directory.file("c.yaml", "upstream: {password_file: password}", 0o644);
        let (config, warnings) = Config::load(&path).unwrap();
        assert_eq!(
            config.upstream.credentials.password.unwrap().reveal(),
            password
        );
        assert!(warnings.is_empty(), "{warnings:?}");
    }
}

#[test]
fn password_that_anyone_can_read_is_warned_of() {
    let directory = Directory::new("readable");
    directory.file("password", "hunter2", 0o644);
    let in_file = directory.file("c.yaml", "upstream: {password_file: password}", 0o644);
    let inline = directory.file("d.yaml", "upstream: {password: hunter2}", 0o644);
    for path in [in_file, inline] {
        let (_, warnings) = Config::load(&path).unwrap();
        assert_eq!(warnings.len(), 1);
        assert!(!warnings[0].to_string().contains("hunter2"));
    }
}

#[test]
fn password_file_that_cannot_be_used_is_a_problem_with_its_path() {
    let directory = Directory::new("unusable");
    directory.file("empty", "\n", 0o600);
    directory.file("large", &"x".repeat(70_000), 0o600);
    fs::write(directory.0.join("binary"), [0xff, 0xfe]).unwrap();
    for name in ["absent", "empty", "large", "binary", "."] {
        let path = directory.file(
            "c.yaml",
            &format!("upstream: {{password_file: {name}}}"),
            0o600,
        );
        let Err(Error::Problems { problems, .. }) = Config::load(&path) else {
            panic!("{name} was taken");
        };
        assert_eq!(problems.len(), 1);
        assert_eq!(problems[0].key, "upstream.password_file");
        assert!(
            problems[0].value.contains(&*directory.0.to_string_lossy()),
            "{}",
            problems[0]
        );
    }
}

#[test]
fn file_that_is_not_there_is_an_error_of_its_own() {
    let missing = Config::load(Path::new("/nowhere/config.yaml"));
    assert!(matches!(missing, Err(Error::Unreadable { .. })));
}

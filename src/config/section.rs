//! One mapping of the file. What is asked for by name is taken out of it; what is left at the end is unknown.

use serde_yaml::{Mapping, Value};

use super::error::Problem;

/// What an error shows instead of a value that is, or may be, a secret.
const HIDDEN: &str = "<hidden>";
/// Longest value, in characters, that an error repeats.
const SHOWN_MAX: usize = 60;
/// An unknown key with one of these in its name is likely a misspelt `password`: its value is not repeated.
const SECRET_HINTS: [&str; 8] = [
    "pas", "pw", "psw", "secret", "auth", "token", "cred", "word",
];

/// Whether errors may repeat the value of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Shown {
    Plain,
    Hidden,
}

/// One mapping of the file, under its key path.
#[derive(Debug)]
pub(super) struct Section {
    /// Key path with a dot at its end; empty for the whole file.
    prefix: String,
    values: Mapping,
    known: Vec<&'static str>,
    /// Whether a secret lives here, so that unknown keys are not repeated.
    shown: Shown,
}

impl Section {
    /// Takes the whole file; an empty one is an empty section.
    pub(super) fn root(file: Value, problems: &mut Vec<Problem>) -> Self {
        Self::new(String::new(), file, Shown::Plain, problems)
    }

    /// Takes the section `name` out; one that is absent is empty.
    pub(super) fn section(
        &mut self,
        name: &'static str,
        shown: Shown,
        problems: &mut Vec<Problem>,
    ) -> Self {
        let value = self.remove(name).unwrap_or(Value::Null);
        Self::new(format!("{}{name}", self.prefix), value, shown, problems)
    }

    /// Takes `key` out and reads it; absent and `null` are `None`, and so is a bad value, whose problem is noted.
    pub(super) fn take<T>(
        &mut self,
        key: &'static str,
        shown: Shown,
        problems: &mut Vec<Problem>,
        read: impl FnOnce(&Value) -> Result<T, String>,
    ) -> Option<T> {
        let value = self.remove(key).filter(|value| !value.is_null())?;
        match read(&value) {
            Ok(good) => Some(good),
            Err(rule) => {
                problems.push(Problem {
                    key: self.path(key),
                    value: show(&value, shown),
                    rule,
                });
                None
            }
        }
    }

    /// Ends the reading: whatever was not asked for is a problem.
    pub(super) fn finish(mut self, problems: &mut Vec<Problem>) {
        self.known.sort_unstable();
        for (key, value) in &self.values {
            let name = key
                .as_str()
                .map_or_else(|| show(key, self.shown), str::to_owned);
            let shown = if looks_secret(&name) {
                Shown::Hidden
            } else {
                self.shown
            };
            problems.push(Problem {
                key: self.path(&name),
                value: show(value, shown),
                rule: format!("unknown key; known here: {}", self.known.join(", ")),
            });
        }
    }

    fn new(name: String, value: Value, shown: Shown, problems: &mut Vec<Problem>) -> Self {
        let values = match value {
            Value::Mapping(values) => values,
            Value::Null => Mapping::new(),
            other => {
                problems.push(Problem {
                    key: if name.is_empty() {
                        "the file".into()
                    } else {
                        name.clone()
                    },
                    value: show(&other, shown),
                    rule: "must be a section, that is, keys with values".into(),
                });
                Mapping::new()
            }
        };
        let prefix = if name.is_empty() { name } else { name + "." };
        Self {
            prefix,
            values,
            known: Vec::new(),
            shown,
        }
    }

    fn remove(&mut self, key: &'static str) -> Option<Value> {
        self.known.push(key);
        self.values.remove(key)
    }

    fn path(&self, key: &str) -> String {
        format!("{}{key}", self.prefix)
    }
}

fn looks_secret(key: &str) -> bool {
    let key = key.to_lowercase();
    SECRET_HINTS.iter().any(|hint| key.contains(hint))
}

/// Shows a value in one short line, without what a URL carries before its `@`.
fn show(value: &Value, shown: Shown) -> String {
    match (value, shown) {
        (Value::Null, _) => "null".into(),
        (Value::Mapping(_), _) => "a section".into(),
        (_, Shown::Hidden) => HIDDEN.into(),
        (Value::Bool(truth), Shown::Plain) => truth.to_string(),
        (Value::Number(number), Shown::Plain) => number.to_string(),
        (Value::String(text), Shown::Plain) => format!("{:?}", shorten(&without_user(text))),
        (Value::Sequence(items), Shown::Plain) => {
            let items: Vec<String> = items.iter().map(|item| show(item, shown)).collect();
            shorten(&format!("[{}]", items.join(", ")))
        }
        (Value::Tagged(_), Shown::Plain) => "a tagged value".into(),
    }
}

fn without_user(text: &str) -> String {
    match text.rsplit_once('@') {
        Some((_, rest)) => format!("{HIDDEN}@{rest}"),
        None => text.to_owned(),
    }
}

fn shorten(text: &str) -> String {
    match text.char_indices().nth(SHOWN_MAX) {
        Some((end, _)) => format!("{}…", &text[..end]),
        None => text.to_owned(),
    }
}

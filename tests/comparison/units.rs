//! Units of several commands: transactions, subscriptions, protocol changes, each neutral at its end.

use super::generator::{Generator, Step};
use super::templates::FAMILIES;
use super::verdict::Verdict;

impl Generator {
    pub(super) fn hello(&mut self) -> Vec<Step> {
        self.protocol = if self.random.chance(50) { 2 } else { 3 };
        let protocol = self.protocol.to_string();
        let words: &[&str] = match self.random.below(3) {
            0 => &["HELLO", &protocol],
            1 => &["hello", &protocol, "SETNAME", "some-name"],
            _ => &["HELLO", &protocol, "AUTH", "default", "anything"],
        };
        vec![self.step(words), self.step(&["CLIENT", "GETNAME"])]
    }

    pub(super) fn transaction(&mut self) -> Vec<Step> {
        let mut steps = vec![self.step(&["MULTI"])];
        let mut loosest = Verdict::Bytes;
        for _ in 0..self.random.below(6) {
            let family = *self.random.pick(&FAMILIES[..9]);
            let mut step = self.fill_template(family);
            let leaves = [&b"SELECT"[..], b"SWAPDB", b"MOVE", b"DEBUG"];
            if leaves.iter().any(|name| {
                step.words
                    .first()
                    .is_some_and(|word| word.eq_ignore_ascii_case(name))
            }) {
                continue;
            }
            loosest = if loosest == Verdict::Bytes {
                step.verdict
            } else if step.verdict == Verdict::Bytes {
                loosest
            } else {
                Verdict::Kind
            };
            step.verdict = Verdict::Bytes;
            steps.push(step);
        }
        if self.random.chance(20) {
            steps.push(self.step(&["MULTI"]));
        }
        if self.random.chance(20) {
            steps.push(self.step(&["WATCH", "x"]));
        }
        let mut end = if self.random.chance(85) {
            self.step(&["EXEC"])
        } else {
            self.step(&["DISCARD"])
        };
        end.verdict = if loosest == Verdict::Unordered {
            Verdict::Kind
        } else {
            loosest
        };
        steps.push(end);
        steps
    }

    pub(super) fn watched(&mut self) -> Vec<Step> {
        let key = self.key("s");
        let mut steps = vec![self.step(&["WATCH", &key]), self.step(&["GET", &key])];
        if self.random.chance(50) {
            steps.push(self.step(&["SET", &key, "changed"]));
        }
        if self.random.chance(20) {
            steps.push(self.step(&["UNWATCH"]));
        }
        steps.extend([
            self.step(&["MULTI"]),
            self.step(&["SET", &key, "in-multi"]),
            self.step(&["EXEC"]),
        ]);
        steps
    }

    pub(super) fn subscription(&mut self) -> Vec<Step> {
        let (one, two) = (self.channel(), format!("p{}*", self.connection));
        let mut steps = Vec::new();
        let both = one.clone() + "-b";
        let mut subscribe = self.step(&["SUBSCRIBE", &one, &both]);
        subscribe.frames = 2;
        steps.push(subscribe);
        steps.push(self.step(&["PSUBSCRIBE", &two]));
        steps.push(self.step(&["PING", "in-subscribed"]));
        steps.push(self.step(&["PING"]));
        steps.push(self.step(&["SUBSCRIBE"]));
        if self.protocol == 3 {
            let mut publish = self.step(&["PUBLISH", &one, "to myself"]);
            publish.frames = 2;
            steps.push(publish);
        }
        steps.push(self.step(&["GET", "x"]));
        if self.major >= 7 {
            steps.push(self.step(&["SSUBSCRIBE", "shard"]));
            steps.push(self.step(&["SUNSUBSCRIBE", "shard"]));
        }
        let mut unsubscribe = if self.random.chance(50) {
            self.step(&["UNSUBSCRIBE"])
        } else {
            self.step(&["UNSUBSCRIBE", &one, &both])
        };
        unsubscribe.frames = 2;
        unsubscribe.verdict = Verdict::Kind;
        steps.push(unsubscribe);
        steps.push(self.step(&["PUNSUBSCRIBE"]));
        steps.push(self.step(&["GET", "x"]));
        steps
    }

    pub(super) fn muted(&mut self) -> Vec<Step> {
        let key = self.key("s");
        let mode = if self.random.chance(50) {
            "OFF"
        } else {
            "SKIP"
        };
        let mut steps = vec![
            self.step(&["CLIENT", "REPLY", mode]),
            self.step(&["SET", &key, "quietly"]),
        ];
        for step in &mut steps {
            step.frames = 0;
        }
        steps.push(self.step(&["CLIENT", "REPLY", "ON"]));
        steps.push(self.step(&["GET", &key]));
        steps
    }

    pub(super) fn reset(&mut self) -> Vec<Step> {
        self.protocol = 2;
        let mut steps = Vec::new();
        if self.random.chance(50) {
            steps.push(self.step(&["MULTI"]));
        }
        steps.push(self.step(&["RESET"]));
        steps.extend(self.opening());
        steps.push(self.step(&["CLIENT", "GETNAME"]));
        steps
    }

    pub(super) fn popped_set(&mut self) -> Vec<Step> {
        let key = format!("c{}:pop", self.connection);
        vec![
            self.step(&["SADD", &key, "a", "b", "c"]),
            self.step(&["SPOP", &key]),
            self.step(&["SPOP", &key, "1"]),
            self.step(&["SPOP", &key, "100"]),
            self.step(&["DEL", &key]),
        ]
    }

    pub(super) fn tracking(&mut self) -> Vec<Step> {
        let key = format!("c{}:tracked", self.connection);
        let on = self.step(&["CLIENT", "TRACKING", "ON"]);
        let write = self.step(&["SET", &key, "1"]);
        let read = self.step(&["GET", &key]);
        let mut announced = self.step(&["SET", &key, "2"]);
        announced.frames = if self.protocol == 3 { 2 } else { 1 };
        let off = self.step(&["CLIENT", "TRACKING", "OFF"]);
        let info = self.step(&["CLIENT", "TRACKINGINFO"]);
        vec![
            write,
            on,
            info.clone(),
            read.clone(),
            read,
            announced,
            off,
            info,
        ]
    }
}

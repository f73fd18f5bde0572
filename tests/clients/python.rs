//! redis-py, both protocols, blocking and asyncio: the same script prints the same at both sides.

use std::path::Path;
use std::process::Command;

use crate::harness::{Server, Sidecar, python, version};

const VERSIONS: [&str; 4] = ["redis-6.2", "redis-7.0", "redis-8.2", "valkey-9.1"];

fn run(python: &Path, script: &str, port: u16, protocol: &str) -> String {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/clients");
    let output = Command::new(python)
        .arg("-B")
        .arg(folder.join(script))
        .args([&port.to_string(), protocol, "secret"])
        .output()
        .expect("python can be started");
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    assert!(
        output.status.success(),
        "{script} RESP{protocol}:\n{text}\n{}",
        String::from_utf8_lossy(&output.stderr)
    );
    text
}

fn same_output(script: &str) {
    let Some(python) = python() else {
        return;
    };
    for version in VERSIONS.iter().filter_map(|name| version(name)) {
        for protocol in ["2", "3"] {
            let arguments = ["--requirepass", "secret"];
            let (behind, direct) = (
                Server::start_with(&version, &arguments),
                Server::start_with(&version, &arguments),
            );
            let sidecar = Sidecar::before(&behind)
                .upstream("password: secret")
                .listen("require_auth: true")
                .start();
            let port = sidecar
                .address
                .rsplit(':')
                .next()
                .and_then(|port| port.parse().ok())
                .expect("an address has a port");
            let through = run(&python, script, port, protocol);
            let expected = run(&python, script, direct.port, protocol);
            let lines = through
                .lines()
                .zip(expected.lines())
                .find(|(left, right)| left != right);
            if let Some((left, right)) = lines {
                panic!(
                    "{script} RESP{protocol} {}\nsidecar: {left}\nRedis:   {right}",
                    version.name
                );
            }
            assert_eq!(through.lines().count(), expected.lines().count());
            assert!(expected.lines().count() > 100, "the script did its work");
        }
    }
}

#[test]
fn redis_py_sees_no_difference() {
    same_output("sync.py");
}

#[test]
fn redis_py_asyncio_sees_no_difference() {
    same_output("asynchronous.py");
}

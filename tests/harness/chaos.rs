//! The faults: the scripts of `chaos/`, as a person runs them.

use std::path::Path;
use std::process::Command;

/// Runs a script of `chaos/` to its end, against the sidecar with this admin port.
pub fn chaos(admin_port: u16, script: &str, arguments: &[&str]) {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("chaos");
    let status = Command::new(path.join(script))
        .args(arguments)
        .env("GRIPFAST_ADMIN", format!("127.0.0.1:{admin_port}"))
        .status()
        .expect("the script can be started");
    assert!(status.success(), "chaos/{script} failed");
}

/// Sends a process a signal, such as `-STOP`.
pub fn signal(pid: u32, name: &str) {
    let status = Command::new("kill").args([name, &pid.to_string()]).status();
    assert!(status.expect("kill can be run").success(), "kill {name}");
}

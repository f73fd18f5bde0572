//! Promise: `gripfast run -c config.yaml` works as it stands with Sentinels on the usual ports.

use std::process::Command;

#[test]
fn config_yaml_as_it_stands_serves_behind_sentinels_on_the_usual_ports() {
    let alone = |program: &str| {
        let mut command = Command::new("unshare");
        command.args(["--net", program]);
        command
    };
    let permitted = alone("true").status().is_ok_and(|status| status.success());
    if !permitted {
        assert!(
            std::env::var_os("CI").is_none(),
            "CI may make a network namespace"
        );
        eprintln!("SKIPPED: no right to make a network namespace");
        return;
    }
    let directory =
        std::env::temp_dir().join(format!("gripfast-deployment-{}", std::process::id()));
    std::fs::create_dir_all(&directory).expect("a directory for the servers");
    let output = alone("sh")
        .arg("tests/deployment.sh")
        .arg(env!("CARGO_BIN_EXE_gripfast"))
        .arg(&directory)
        .output()
        .expect("sh starts");
    let said = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
    assert!(
        output.status.success(),
        "{}\n{}",
        said(&output.stdout),
        said(&output.stderr)
    );
    assert!(said(&output.stdout).contains("deployed, served, drained"));
    let _ = std::fs::remove_dir_all(&directory);
}

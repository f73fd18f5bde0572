//! Promise: the control plane learns the command table of a real server, again after each reconnect, and lives with a
//! server that refuses to show it.

use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;

use gripfast::command::table::{ServerCommand, ServerCommands};
use gripfast::config::{Config, Credentials, Secret};
use gripfast::control_plane;
use gripfast::data_plane::{Handle, Inbox, Message};
use gripfast::metrics::Recorder;
use gripfast::seam::{HostPort, TcpDial};
use tokio::task::JoinHandle;
use tokio::time::{sleep, timeout};

/// A redis-server that dies with the test.
struct Server {
    child: Child,
    port: u16,
}

impl Server {
    fn start(port: u16, arguments: &[&str]) -> Self {
        let child = Command::new("redis-server")
            .args(["--port", &port.to_string(), "--bind", "127.0.0.1"])
            .args(["--save", "", "--appendonly", "no", "--loglevel", "warning"])
            .args(arguments)
            .stdout(Stdio::null())
            .spawn()
            .expect("redis-server is installed");
        Self { child, port }
    }

    fn stop(&mut self) {
        self.child.kill().expect("our own child");
        self.child.wait().expect("our own child");
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("loopback");
    listener.local_addr().expect("bound").port()
}

/// A control plane that runs until dropped.
struct Control {
    inbox: Inbox,
    metrics: Arc<Recorder>,
    task: JoinHandle<()>,
}

impl Control {
    fn start(port: u16, credentials: Credentials) -> Self {
        let mut config = Config::standalone(HostPort {
            host: "localhost".into(),
            port,
        });
        config.upstream.credentials = credentials;
        let (data, inbox) = Handle::channel();
        let metrics = Arc::new(Recorder::new());
        let run = control_plane::run(
            Arc::new(config),
            data,
            Arc::new(TcpDial),
            Arc::clone(&metrics),
            gripfast::admin::topology().0,
        );
        let task = tokio::spawn(run);
        Self {
            inbox,
            metrics,
            task,
        }
    }

    async fn table(&mut self) -> Arc<ServerCommands> {
        loop {
            let message = timeout(Duration::from_secs(20), self.inbox.recv()).await;
            match message.expect("a table in time") {
                Some(Message::ServerCommands(commands)) => return commands,
                // Whether the server answers is told, too.
                Some(Message::Failover(_)) => {}
                other => panic!("unexpected {other:?}"),
            }
        }
    }

    async fn until_shown(&self, line: &str) {
        let shown = async {
            while !self.metrics.render().lines().any(|shown| shown == line) {
                sleep(Duration::from_millis(20)).await;
            }
        };
        let in_time = timeout(Duration::from_secs(20), shown).await;
        assert!(in_time.is_ok(), "no {line} in {}", self.metrics.render());
    }
}

impl Drop for Control {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn credentials(username: Option<&str>, password: &str) -> Credentials {
    Credentials {
        username: username.map(str::to_owned),
        password: Some(Secret::new(password.into())),
    }
}

fn assert_known(commands: &ServerCommands) {
    let command = |name: &str| -> &ServerCommand { &commands.by_name[name.as_bytes()] };
    assert!(commands.by_name.len() > 200, "{}", commands.by_name.len());
    let get = command("get");
    assert_eq!(
        (get.arity, get.first_key, get.last_key, get.key_step),
        (2, 1, 1, 1)
    );
    assert!(get.flags.iter().any(|flag| flag == "readonly"), "{get:?}");
    let mset = command("mset");
    assert_eq!(
        (mset.arity, mset.first_key, mset.last_key, mset.key_step),
        (-3, 1, -1, 2)
    );
    assert!(mset.flags.iter().any(|flag| flag == "write"), "{mset:?}");
    let blpop = command("blpop");
    assert!(
        blpop.flags.iter().any(|flag| flag == "blocking"),
        "{blpop:?}"
    );
}

#[tokio::test]
async fn table_is_learned_and_learned_again_after_a_restart() {
    let mut server = Server::start(free_port(), &[]);
    let mut control = Control::start(server.port, Credentials::default());
    assert_known(&*control.table().await);
    control.until_shown("gripfast_control_link_up 1").await;
    server.stop();
    control.until_shown("gripfast_control_link_up 0").await;
    let _server = Server::start(server.port, &[]);
    assert_known(&*control.table().await);
}

#[tokio::test]
async fn password_and_acl_user_are_sent() {
    let arguments = [
        "--requirepass",
        "one",
        "--user",
        "sidecar",
        "on",
        ">two",
        "+@all",
        "~*",
    ];
    let server = Server::start(free_port(), &arguments);
    let mut by_default_user = Control::start(server.port, credentials(None, "one"));
    assert_known(&*by_default_user.table().await);
    let mut by_acl_user = Control::start(server.port, credentials(Some("sidecar"), "two"));
    assert_known(&*by_acl_user.table().await);
}

#[tokio::test]
async fn missing_and_wrong_password_count_as_auth() {
    let server = Server::start(free_port(), &["--requirepass", "one"]);
    for credentials in [Credentials::default(), credentials(None, "wrong")] {
        let control = Control::start(server.port, credentials);
        control
            .until_shown("gripfast_control_dials_total{outcome=\"auth\"} 2")
            .await;
        control.until_shown("gripfast_control_link_up 0").await;
    }
}

#[tokio::test]
async fn acl_without_command_is_tolerated() {
    let arguments = ["--user", "sidecar", "on", ">two", "+@all", "-command", "~*"];
    let server = Server::start(free_port(), &arguments);
    let mut control = Control::start(server.port, credentials(Some("sidecar"), "two"));
    control.until_shown("gripfast_control_link_up 1").await;
    sleep(Duration::from_millis(300)).await;
    control.until_shown("gripfast_control_link_up 1").await;
    control.until_shown("gripfast_server_commands 0").await;
    while let Some(message) = control.inbox.try_recv() {
        assert!(matches!(message, Message::Failover(_)), "{message:?}");
    }
}

#[tokio::test]
async fn resp3_reply_reads_like_resp2() {
    let server = Server::start(free_port(), &[]);
    let mut control = Control::start(server.port, Credentials::default());
    let resp2 = control.table().await;
    let client = redis::Client::open(format!("redis://127.0.0.1:{}/?protocol=resp3", server.port));
    let client = client.expect("a good address");
    let connection = client.get_multiplexed_async_connection().await;
    let mut connection = connection.expect("the server is up");
    let reply: redis::Value = redis::cmd("COMMAND")
        .query_async(&mut connection)
        .await
        .expect("allowed");
    let learned = control_plane::commands::parse(&reply).expect("a list");
    assert_eq!(learned.skipped, 0);
    let sorted = |commands: &ServerCommands| {
        let mut by_name = commands.by_name.clone();
        by_name
            .values_mut()
            .for_each(|command| command.flags.sort());
        by_name
    };
    assert_eq!(sorted(&learned.commands), sorted(&resp2));
}

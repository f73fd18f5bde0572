use std::io;

use axum::body::{Body, to_bytes};
use tokio::io::{AsyncReadExt, AsyncWriteExt, DuplexStream, duplex};
use tokio::sync::mpsc;
use tower::ServiceExt;

use super::*;
use crate::config::{Credentials, Secret};
use crate::data_plane::{Inbox, Message};
use crate::failover::episode::{Begin, Book, Requests};
use crate::seam::HostPort;

const PASSWORD: &str = "hunter2-is-secret";

fn config() -> Arc<Config> {
    let mut config = Config::standalone(HostPort {
        host: "redis.example".into(),
        port: 6379,
    });
    config.listen.clients_max = 1000;
    config.upstream.pinned_max = 32;
    config.upstream.credentials = Credentials {
        username: Some("svc-user".into()),
        password: Some(Secret::new(PASSWORD.into())),
    };
    Arc::new(config)
}

fn state() -> (State, Inbox) {
    let (data, inbox) = Handle::channel();
    let metrics = Arc::new(Recorder::new());
    (State::new(config(), data, metrics), inbox)
}

/// A state whose data thread answers every question with `report`.
fn answering(report: Report) -> State {
    let (state, mut inbox) = state();
    tokio::spawn(async move {
        while let Some(message) = inbox.recv().await {
            if let Message::Report(answer) = message {
                let _ = answer.send(report.clone());
            }
        }
    });
    state
}

fn up() -> Report {
    Report {
        upstream_ready: true,
        server_version: "7.0.15".into(),
        clients: 3,
        links_tracked: 1,
        links_general: 2,
        links_pinned: 5,
        links_pinned_idle: 4,
        pinned_waiting: 6,
        requests_inflight: 7,
        ..Report::default()
    }
}

async fn ask(state: State, method: Method, path: &str) -> (StatusCode, String, String) {
    let request = Request::builder().method(method).uri(path);
    let request = request.body(Body::empty()).unwrap();
    let response = router(state).oneshot(request).await.unwrap();
    let code = response.status();
    assert!(
        response
            .headers()
            .keys()
            .all(|name| !name.as_str().starts_with("access-control"))
    );
    let kind = response.headers().get(header::CONTENT_TYPE).unwrap();
    let kind = kind.to_str().unwrap().to_owned();
    let body = to_bytes(response.into_body(), 1 << 20).await.unwrap();
    (code, kind, String::from_utf8(body.to_vec()).unwrap())
}

async fn get_text(state: State, path: &str) -> (u16, String) {
    let (code, _, body) = ask(state, Method::GET, path).await;
    (code.as_u16(), body)
}

#[tokio::test]
async fn healthy_while_the_data_thread_answers_whatever_the_upstream_does() {
    let state = answering(Report::default());
    assert_eq!(get_text(state, "/healthz").await, (200, "ok\n".into()));
}

#[tokio::test(start_paused = true)]
async fn unhealthy_when_the_data_thread_is_stuck_for_a_second() {
    let (state, _inbox) = state();
    let asked = Instant::now();
    let expected = "the data thread does not answer\n";
    assert_eq!(
        get_text(state.clone(), "/healthz").await,
        (503, expected.into())
    );
    assert_eq!(asked.elapsed(), REPORT_WAIT_MAX);
    assert_eq!(get_text(state, "/readyz").await, (503, expected.into()));
}

#[tokio::test(start_paused = true)]
async fn unhealthy_when_the_message_channel_is_full() {
    let (state, _inbox) = state();
    for _ in 0..64 {
        let data = state.data.clone();
        tokio::spawn(async move { data.report().await });
    }
    sleep(Duration::from_millis(1)).await;
    assert_eq!(get_text(state, "/healthz").await.0, 503);
}

#[tokio::test]
async fn unhealthy_when_the_data_thread_has_ended() {
    let (state, inbox) = state();
    drop(inbox);
    let expected = "the data thread has ended\n";
    assert_eq!(
        get_text(state.clone(), "/healthz").await,
        (503, expected.into())
    );
    assert_eq!(get_text(state, "/readyz").await, (503, expected.into()));
}

#[tokio::test]
async fn ready_only_with_an_upstream_and_without_a_drain() {
    assert_eq!(
        get_text(answering(up()), "/readyz").await,
        (200, "ready\n".into())
    );
    let draining = Report {
        draining: true,
        ..up()
    };
    assert_eq!(
        get_text(answering(draining), "/readyz").await,
        (503, "draining\n".into())
    );
    let down = Report {
        upstream_trouble: "connection refused".into(),
        ..Report::default()
    };
    let expected = "no link to the primary: connection refused\n";
    assert_eq!(
        get_text(answering(down), "/readyz").await,
        (503, expected.into())
    );
}

#[tokio::test]
async fn metrics_have_prometheus_content_type_and_need_no_data_thread() {
    let (state, _inbox) = state();
    let _data = state.metrics.data();
    let (code, kind, body) = ask(state, Method::GET, "/metrics").await;
    assert_eq!(code, StatusCode::OK);
    assert_eq!(kind, "text/plain; version=0.0.4; charset=utf-8");
    assert!(
        body.contains("gripfast_requests_total{lane=\"tracked\"} 0\n"),
        "{body}"
    );
}

#[tokio::test]
async fn status_shows_the_report_and_the_limits() {
    let (code, kind, body) = ask(answering(up()), Method::GET, "/status").await;
    assert_eq!((code, kind.as_str()), (StatusCode::OK, JSON));
    let status: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(status["pid"], std::process::id());
    assert_eq!(status["state"]["ready"], true);
    assert_eq!(status["upstream"]["mode"], "standalone");
    assert_eq!(status["upstream"]["address"], "redis.example:6379");
    assert_eq!(status["upstream"]["server_version"], "7.0.15");
    assert_eq!(status["clients"]["open"], 3);
    assert_eq!(status["clients"]["pinned_waiting"], 6);
    assert_eq!(status["links"]["tracked"]["open"], 1);
    assert_eq!(status["links"]["general"]["open"], 2);
    assert_eq!(status["links"]["pinned"]["open"], 5);
    assert_eq!(status["links"]["pinned"]["idle"], 4);
    assert_eq!(status["inflight"], 7);
    assert_eq!(status["limits"]["clients_max"], 1000);
    assert_eq!(status["limits"]["pinned_max"], 32);
    assert!(status["process"]["resident_bytes"].as_u64().unwrap() > 0);
}

#[tokio::test]
async fn status_without_a_data_thread_says_so() {
    let (state, inbox) = state();
    drop(inbox);
    let (code, body) = get_text(state, "/status").await;
    assert_eq!(code, 200);
    let status: serde_json::Value = serde_json::from_str(&body).unwrap();
    assert_eq!(status["state"]["reason"], "the data thread has ended");
    assert_eq!(status["upstream"]["ready"], false);
    assert!(
        status["clients"].is_null() && status["links"].is_null() && status["inflight"].is_null()
    );
}

#[tokio::test]
async fn no_page_shows_a_credential() {
    for path in [
        "/", "/healthz", "/readyz", "/metrics", "/status", "/nowhere",
    ] {
        let (_, body) = get_text(answering(up()), path).await;
        assert!(
            !body.contains(PASSWORD) && !body.contains("svc-user"),
            "{path}: {body}"
        );
    }
}

#[tokio::test]
async fn index_and_unknown_path_list_the_paths() {
    for (path, expected) in [("/", 200), ("/nowhere", 404), ("/status/x", 404)] {
        let (code, body) = get_text(answering(up()), path).await;
        assert_eq!(code, expected, "{path}");
        for listed in ["/healthz", "/readyz", "/metrics", "/status"] {
            assert!(body.contains(listed), "{path}: {body}");
        }
    }
}

#[tokio::test]
async fn only_reads_are_let_in() {
    for method in [
        Method::POST,
        Method::PUT,
        Method::DELETE,
        Method::OPTIONS,
        Method::PATCH,
    ] {
        for path in ["/", "/metrics", "/status", "/nowhere"] {
            let (code, _, _) = ask(answering(up()), method.clone(), path).await;
            assert_eq!(code, StatusCode::METHOD_NOT_ALLOWED, "{method} {path}");
        }
    }
    let (code, _, body) = ask(answering(up()), Method::HEAD, "/healthz").await;
    assert_eq!((code, body.as_str()), (StatusCode::OK, ""));
}

/// A listener whose connections are pipes in memory.
struct Pipes(mpsc::Receiver<DuplexStream>);

impl Listener for Pipes {
    type Io = DuplexStream;
    type Addr = ();

    async fn accept(&mut self) -> (DuplexStream, ()) {
        match self.0.recv().await {
            Some(stream) => (stream, ()),
            None => std::future::pending().await,
        }
    }

    fn local_addr(&self) -> io::Result<()> {
        Ok(())
    }
}

/// Starts the server on pipes; returns the way to connect, to shut down, and to wait for its end.
fn start(
    state: State,
) -> (
    mpsc::Sender<DuplexStream>,
    oneshot::Sender<()>,
    tokio::task::JoinHandle<()>,
) {
    let (connect, accept) = mpsc::channel(100);
    let (stop, stopped) = oneshot::channel();
    let server = tokio::spawn(serve_on(Pipes(accept), state, async {
        let _ = stopped.await;
    }));
    (connect, stop, server)
}

async fn dial(connect: &mpsc::Sender<DuplexStream>) -> DuplexStream {
    let (near, far) = duplex(64 * 1024);
    connect.send(far).await.unwrap();
    near
}

#[tokio::test(start_paused = true)]
async fn answer_under_way_is_finished_at_shutdown() {
    let (state, mut inbox) = state();
    let (connect, stop, server) = start(state);
    let mut client = dial(&connect).await;
    client
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n")
        .await
        .unwrap();
    let Some(Message::Report(answer)) = inbox.recv().await else {
        panic!("asked for something else");
    };
    stop.send(()).unwrap();
    sleep(Duration::from_millis(100)).await;
    answer.send(up()).unwrap();
    let mut reply = String::new();
    client.read_to_string(&mut reply).await.unwrap();
    assert!(
        reply.starts_with("HTTP/1.1 200 OK\r\n") && reply.ends_with("ok\n"),
        "{reply}"
    );
    server.await.unwrap();
}

#[tokio::test(start_paused = true)]
async fn shutdown_does_not_wait_for_a_request_that_never_ends() {
    let (connect, stop, server) = start(answering(up()));
    let mut client = dial(&connect).await;
    client
        .write_all(b"GET /healthz HTTP/1.1\r\nHo")
        .await
        .unwrap();
    sleep(Duration::from_millis(100)).await;
    stop.send(()).unwrap();
    let begun = Instant::now();
    server.await.unwrap();
    assert!(
        begun.elapsed() <= SHUTDOWN_WAIT_MAX,
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test(start_paused = true)]
async fn silent_connections_lose_their_places() {
    let (connect, _stop, _server) = start(answering(up()));
    let mut silent = Vec::new();
    for _ in 0..64 {
        silent.push(dial(&connect).await);
    }
    let mut client = dial(&connect).await;
    client
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let begun = Instant::now();
    let mut reply = String::new();
    client.read_to_string(&mut reply).await.unwrap();
    assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    // Served only once the silent ones were thrown out.
    assert!(
        begun.elapsed() >= Duration::from_secs(74),
        "{:?}",
        begun.elapsed()
    );
}

#[tokio::test]
async fn events_shows_what_holds_came_to_newest_last() {
    let (state, inbox) = state();
    let (code, kind, body) = ask(state.clone(), Method::GET, "/events").await;
    assert_eq!((code, &kind[..], &body[..]), (StatusCode::OK, JSON, "[]\n"));
    let mut book = Book::default();
    for number in 1..=2 {
        book.begin(Begin {
            at: Duration::from_secs(number),
            unix_ms: 1_000,
            by: "silent",
            from: "a:1".into(),
            counted: Requests::default(),
        });
        book.end(Requests::default(), false, Duration::from_secs(number));
    }
    inbox.tell(
        book.take()
            .into_iter()
            .map(|(episode, _)| episode)
            .collect(),
    );
    let (_, _, body) = ask(state, Method::GET, "/events").await;
    let events: serde_json::Value = serde_json::from_str(&body).unwrap();
    let numbers: Vec<_> = (0..2)
        .map(|place| events[place]["number"].clone())
        .collect();
    assert_eq!(numbers, [1, 2]);
    assert_eq!(events[0]["began_by"], "silent");
    assert_eq!(events[0]["outcome"], "called_off");
}

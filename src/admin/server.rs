//! The routes of the admin port, and serving them until the shutdown.

use std::future::{Future, IntoFuture};
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::Request;
use axum::http::{HeaderName, Method, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use axum::serve::Listener;
use serde::Serialize;
use tokio::net::TcpListener;
use tokio::sync::{oneshot, watch};
use tokio::time::{Instant, sleep, timeout};

use super::bounded::Bounded;
use super::status::{Ready, Status};
use crate::config::Config;
use crate::data_plane::{Handle, Report};
use crate::metrics::{CONTENT_TYPE, Process, Recorder};
use crate::sentinel::snapshot::Snapshot;

/// How long the data thread may take to answer before we call it stuck: less than the usual time-out of a probe.
const REPORT_WAIT_MAX: Duration = Duration::from_secs(1);

/// How long answers under way may take after the shutdown began.
const SHUTDOWN_WAIT_MAX: Duration = Duration::from_secs(2);

const TEXT: &str = "text/plain; charset=utf-8";
const JSON: &str = "application/json";

/// What is served where; the index and the 404 page show it.
const INDEX: &str = "\
/healthz  200 while the process and its data thread answer
/readyz   200 while clients are served, else 503 and the reason
/metrics  metrics for Prometheus
/status   what is going on, as JSON
/events   the last failovers, and holds that were called off, as JSON
";

/// What the pages are made from.
#[derive(Clone, Debug)]
pub struct State {
    config: Arc<Config>,
    data: Handle,
    metrics: Arc<Recorder>,
    started: Instant,
    /// What the watcher of the topology knows.
    topology: watch::Receiver<Snapshot>,
}

/// Makes both ends of what the watcher of the topology knows.
pub fn topology() -> (watch::Sender<Snapshot>, watch::Receiver<Snapshot>) {
    watch::channel(Snapshot::default())
}

impl State {
    /// Gathers the sources; the uptime counts from here.
    pub fn new(config: Arc<Config>, data: Handle, metrics: Arc<Recorder>) -> Self {
        let started = Instant::now();
        Self {
            config,
            data,
            metrics,
            started,
            topology: topology().1,
        }
    }

    /// Shows the topology too (mode sentinel).
    #[must_use]
    pub fn with_topology(mut self, topology: watch::Receiver<Snapshot>) -> Self {
        self.topology = topology;
        self
    }

    /// Asks the data thread, for a limited time.
    async fn report(&self) -> Result<Report, &'static str> {
        match timeout(REPORT_WAIT_MAX, self.data.report()).await {
            Ok(Some(report)) => Ok(report),
            Ok(None) => Err("the data thread has ended"),
            Err(_) => Err("the data thread does not answer"),
        }
    }
}

/// Serves the admin port until `shutdown` completes, then finishes answers under way, for at most two seconds.
///
/// # Cancellation
/// Dropping the future stops accepting; answers under way go on in their tasks.
pub async fn serve(
    listener: TcpListener,
    state: State,
    shutdown: impl Future<Output = ()> + Send + 'static,
) {
    serve_on(listener, state, shutdown).await;
}

async fn serve_on<L>(listener: L, state: State, shutdown: impl Future<Output = ()> + Send + 'static)
where
    L: Listener,
    L::Addr: std::fmt::Debug,
{
    let (begin, begun) = oneshot::channel();
    let server =
        axum::serve(Bounded::new(listener), router(state)).with_graceful_shutdown(async move {
            shutdown.await;
            let _ = begin.send(());
        });
    let overdue = async {
        let _ = begun.await;
        sleep(SHUTDOWN_WAIT_MAX).await;
    };
    // Not biased: whichever comes first ends it. `axum` documents that its future never gives an error.
    tokio::select! {
        _ = server.into_future() => {}
        () = overdue => tracing::warn!("admin port closed with answers under way"),
    }
}

/// Makes the routes.
pub fn router(state: State) -> Router {
    Router::new()
        .route("/", get(index))
        .route("/healthz", get(health))
        .route("/readyz", get(ready))
        .route("/metrics", get(metrics))
        .route("/status", get(status))
        .route("/events", get(events))
        .fallback(unknown)
        .layer(middleware::from_fn(guard))
        .with_state(state)
}

/// Lets only reads in, and lets nobody keep or reinterpret an answer.
async fn guard(request: Request, next: Next) -> Response {
    if !matches!(*request.method(), Method::GET | Method::HEAD) {
        let allow = [(header::ALLOW, "GET, HEAD"), (header::CONTENT_TYPE, TEXT)];
        return (StatusCode::METHOD_NOT_ALLOWED, allow, "only GET\n").into_response();
    }
    let headers: [(HeaderName, &str); 2] = [
        (header::CACHE_CONTROL, "no-store"),
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    ];
    (headers, next.run(request).await).into_response()
}

async fn index() -> Response {
    let head = concat!("gripfast ", env!("CARGO_PKG_VERSION"), "\n\n");
    text(StatusCode::OK, format!("{head}{INDEX}"))
}

async fn unknown() -> Response {
    text(
        StatusCode::NOT_FOUND,
        format!("not found; there are\n\n{INDEX}"),
    )
}

async fn health(state: axum::extract::State<State>) -> Response {
    match state.report().await {
        Ok(_) => text(StatusCode::OK, "ok\n".into()),
        Err(trouble) => text(StatusCode::SERVICE_UNAVAILABLE, format!("{trouble}\n")),
    }
}

async fn ready(state: axum::extract::State<State>) -> Response {
    let report = state.report().await;
    let Ready { ready, reason } = Ready::judge(report.as_ref().map_err(|trouble| *trouble));
    if ready {
        text(StatusCode::OK, "ready\n".into())
    } else {
        text(StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n"))
    }
}

async fn metrics(state: axum::extract::State<State>) -> Response {
    (
        [(header::CONTENT_TYPE, CONTENT_TYPE)],
        state.metrics.render(),
    )
        .into_response()
}

async fn status(state: axum::extract::State<State>) -> Response {
    let report = state.report().await;
    let status = Status::new(
        &state.config,
        report.as_ref().map_err(|trouble| *trouble),
        Process::read(),
        state.started.elapsed().as_secs(),
        state.topology.borrow().clone().aged(Instant::now()),
    );
    json(&status)
}

async fn events(state: axum::extract::State<State>) -> Response {
    let episodes = state.data.episodes();
    let episodes = episodes.borrow().clone();
    json(&episodes.iter().collect::<Vec<_>>())
}

/// Indented: people read it with curl.
fn json(page: &impl Serialize) -> Response {
    let mut body = serde_json::to_string_pretty(page).expect("plain fields with text keys");
    body.push('\n');
    ([(header::CONTENT_TYPE, JSON)], body).into_response()
}

fn text(code: StatusCode, body: String) -> Response {
    (code, [(header::CONTENT_TYPE, TEXT)], body).into_response()
}

#[cfg(test)]
mod tests;

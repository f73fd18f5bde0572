//! Promise: the admin port answers over TCP until the shutdown, and ends then.

use std::sync::Arc;
use std::time::Duration;

use gripfast::admin::{State, serve};
use gripfast::config::Config;
use gripfast::data_plane::{Handle, Message, Report};
use gripfast::metrics::Recorder;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::oneshot;
use tokio::time::timeout;

#[tokio::test]
async fn port_answers_until_the_shutdown() {
    let (data, mut inbox) = Handle::channel();
    tokio::spawn(async move {
        while let Some(Message::Report(answer)) = inbox.recv().await {
            let _ = answer.send(Report::default());
        }
    });
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("loopback");
    let address = listener.local_addr().expect("bound");
    let state = State::new(Arc::new(Config::default()), data, Arc::new(Recorder::new()));
    let (stop, stopped) = oneshot::channel::<()>();
    let server = tokio::spawn(serve(listener, state, async {
        let _ = stopped.await;
    }));

    // Two requests on one connection, as scrapers do.
    let mut client = TcpStream::connect(address).await.expect("it listens");
    for _ in 0..2 {
        let request = b"GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n";
        client.write_all(request).await.expect("open");
        let mut reply = [0; 1024];
        let length = client.read(&mut reply).await.expect("open");
        let reply = String::from_utf8_lossy(&reply[..length]);
        assert!(reply.starts_with("HTTP/1.1 200 OK\r\n"), "{reply}");
    }

    stop.send(()).expect("the server waits for it");
    // The idle connection does not hold it up.
    let ended = timeout(Duration::from_millis(1500), server).await;
    ended.expect("in time").expect("no panic");
    assert!(TcpStream::connect(address).await.is_err());
}

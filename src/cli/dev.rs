//! `gripfast dev`: a throw-away primary with replicas and Sentinels, and a sidecar in front, on loopback, to try things.

use std::io::{self, Write as _};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use super::stack::{PRIMARY_NAME, Stack};
use super::{Failure, stack};
use crate::app::{self, BindError, Lost, Running, StartError};
use crate::config::{Admin, Config, Listen, Sentinels, Source, Upstream};
use crate::seam::HostPort;

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    /// Port of the sidecar on 127.0.0.1; 0 = a free one
    #[arg(short, long, default_value_t = 6380)]
    port: u16,
    /// Port of metrics and status on 127.0.0.1; 0 = a free one
    #[arg(long, default_value_t = 9380, value_name = "PORT")]
    admin_port: u16,
    /// Unix socket for the sidecar, besides the port
    #[arg(long, value_name = "PATH")]
    unix: Option<PathBuf>,
    /// The redis-server or valkey-server to start [default: the one in PATH]
    #[arg(long, value_name = "PATH")]
    redis: Option<PathBuf>,
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    app::runtime()?.block_on(async {
        let stack = Stack::start(options.redis.as_deref()).await?;
        let config = config(options, &stack);
        app::log::start(&config.log);
        let running = match Running::start(config).await {
            Ok(running) => running,
            Err(error) => {
                stack.stop().await;
                hint(&error)?;
                return Err(error.into());
            }
        };
        welcome(&running, &stack)?;
        serve(running, stack).await
    })
}

async fn serve(running: Running, mut stack: Stack) -> Result<(), Failure> {
    // Not biased: whichever comes first ends the other.
    let done: Result<Result<(), Lost>, stack::Error> = tokio::select! {
        stopped = running.until_stopped() => Ok(stopped),
        ended = stack.ended() => Err(ended),
    };
    stack.stop().await;
    done??;
    Ok(())
}

fn config(options: &Options, stack: &Stack) -> Config {
    let loopback = |port| SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let addresses = stack.sentinels().into_iter().map(|sentinel| HostPort {
        host: sentinel.ip().to_string(),
        port: sentinel.port(),
    });
    Config {
        listen: Listen {
            tcp: vec![loopback(options.port)],
            unix: options.unix.clone(),
            ..Listen::default()
        },
        upstream: Upstream {
            source: Source::Sentinel(Sentinels {
                primary_name: PRIMARY_NAME.into(),
                addresses: addresses.collect(),
                ..Sentinels::default()
            }),
            ..Upstream::default()
        },
        admin: Admin {
            listen: loopback(options.admin_port),
        },
        ..Config::default()
    }
}

/// Says what is there and what to try next.
fn welcome(running: &Running, stack: &Stack) -> io::Result<()> {
    let listens_on = running.listens_on();
    let port = listens_on
        .first()
        .and_then(|address| address.rsplit_once(':'))
        .map_or("6380", |(_, port)| port);
    let admin = running.admin_address();
    let list = |addresses: Vec<SocketAddr>| {
        let texts: Vec<String> = addresses.iter().map(ToString::to_string).collect();
        texts.join(" and ")
    };
    let (primary, sentinels) = (stack.primary(), stack.sentinels());
    let mut out = io::stdout().lock();
    writeln!(out)?;
    writeln!(out, "  sidecar    {}", listens_on.join(" and "))?;
    writeln!(
        out,
        "  primary    {primary}, throw-away, in {}",
        stack.directory().display()
    )?;
    writeln!(out, "  replicas   {}", list(stack.replicas()))?;
    writeln!(out, "  sentinels  {}", list(sentinels.clone()))?;
    writeln!(out, "  admin      http://{admin}/")?;
    writeln!(out)?;
    writeln!(out, "Try next, in another terminal:")?;
    writeln!(out, "  redis-cli -p {port} set session:1 hello ex 600")?;
    writeln!(out, "  redis-cli -p {port} get session:1")?;
    writeln!(out, "watch:")?;
    writeln!(
        out,
        "  watch -n 0.2 'curl -s http://{admin}/status | head -40'   # the topology"
    )?;
    writeln!(
        out,
        "  redis-cli -p {} psubscribe '*'   # what a Sentinel says",
        sentinels[0].port()
    )?;
    writeln!(out, "ask the Sentinels for another primary:")?;
    writeln!(
        out,
        "  redis-cli -p {} sentinel failover {PRIMARY_NAME}",
        sentinels[0].port()
    )?;
    writeln!(
        out,
        "kill the primary, whichever it is (it comes back, as under a supervisor, after some seconds):"
    )?;
    writeln!(
        out,
        "  kill -9 $(redis-cli -p {port} info server | tr -d '\\r' | sed -n 's/^process_id://p')"
    )?;
    writeln!(
        out,
        "or point the Redis client of your application at 127.0.0.1:{port}."
    )?;
    writeln!(out)?;
    writeln!(out, "Ctrl-C ends all of it; nothing is kept.")?;
    out.flush()
}

/// Another `dev` may well be running: say how to have two.
fn hint(error: &StartError) -> io::Result<()> {
    if let StartError::Bind(BindError::Tcp { source, .. }) = error
        && source.kind() == io::ErrorKind::AddrInUse
    {
        let way = "to start all the same: gripfast dev --port 0 --admin-port 0";
        writeln!(io::stderr(), "gripfast: {way}")?;
    }
    Ok(())
}

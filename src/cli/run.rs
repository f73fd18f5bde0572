//! `gripfast run`: serve until a signal comes.

use super::{ConfigFile, Failure};
use crate::app::{self, Running};

#[derive(Debug, clap::Args)]
pub(super) struct Options {
    #[command(flatten)]
    config: ConfigFile,
}

pub(super) fn run(options: &Options) -> Result<(), Failure> {
    let (config, warnings) = options.config.load()?;
    app::log::start(&config.log);
    for warning in warnings {
        tracing::warn!(key = warning.key, "{}", warning.text);
    }
    app::runtime()?.block_on(async {
        let running = Running::start(config).await?;
        running.until_stopped().await?;
        Ok(())
    })
}

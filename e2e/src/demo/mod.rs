//! `cargo xtask demo`: the whole system as real processes, one chain shown step by step, then time to try things.

mod books;
mod check;
mod describe;
mod enforcer;
mod env_file;
mod events;
mod fact;
mod guide;
mod home;
mod html;
mod parts;
mod picks;
mod progress;
mod scenarios;
mod settings;
mod stage;
mod story;

use anyhow::bail;
use common::shutdown::Shutdown;
use xtask::demo::Options;
use xtask::say;

use self::enforcer::Enforcer;
use self::env_file::EnvFile;
use self::events::Watcher;
use self::home::Home;
use self::parts::Parts;
use self::progress::Progress;
use self::settings::Settings;
use self::stage::Stage;

/// Runs the demo to its end.
///
/// # Errors
/// When something could not be started, ended by itself, or the chain did not end as told with all books in agreement.
pub async fn run(options: &Options) -> anyhow::Result<()> {
    let shutdown = Shutdown::on_signals()?;
    let progress = Progress::start();
    options.check_ports()?;
    let enforcer = Enforcer::of(options);
    if let Some(team) = enforcer.team().filter(|team| team.foreign) {
        common::clients::install_tls();
        team.check(&reqwest::Client::builder().build()?).await?;
    }
    let home = Home::open(&options.ports)?;
    let settings = Settings::of(options.scenario);
    let parts = tokio::select! {
        parts = Parts::start(options, &home, &settings, enforcer.clone(), &progress) => parts?,
        () = shutdown.wait() => bail!("stopped before everything was up"),
    };
    let mut parts = parts;
    let shown = show(options, &home, settings, enforcer, &mut parts, &progress, &shutdown).await;
    let stopped = parts.stop(&progress).await;
    shown.and(stopped)
}

/// From the moment when all is ready until it is to stop.
async fn show(
    options: &Options,
    home: &Home,
    settings: Settings,
    enforcer: Enforcer,
    parts: &mut Parts,
    progress: &Progress,
    shutdown: &Shutdown,
) -> anyhow::Result<()> {
    let env = EnvFile::write(home.env_file(), &parts.describe())?;
    progress.say(format_args!("all is ready; {} tells where", env.path().display()));
    let watcher = Watcher::start(&parts.broker).await?;
    let client = parts.client.clone();
    if let Some(team) = enforcer.team().filter(|team| team.foreign) {
        team.say_where_alerts_go(&client);
    }
    let stage = Stage {
        client: client.clone(),
        pool: parts.pool.clone(),
        broker: parts.broker.clone(),
        watcher,
        alone: options.once,
        settings,
        enforcer: enforcer.clone(),
        passed: Vec::new(),
    };
    say("");
    let story = async {
        match options.scenario {
            Some(scenario) => scenarios::play(scenario, stage).await,
            None => story::tell(stage).await,
        }
    };
    let told = tokio::select! {
        told = story => told,
        died = parts.until_one_dies() => return Err(died),
        () = shutdown.wait() => bail!("stopped before the chain had ended"),
    };
    if options.once {
        return told;
    }
    if let Err(error) = &told {
        say(format_args!("\nNOT as it should be: {error:#}\nEverything stays up, so that you can look into it."));
    }
    say(guide::text(&client, home, &enforcer));
    tokio::select! {
        died = parts.until_one_dies() => Err(died),
        () = shutdown.wait() => told,
    }
}

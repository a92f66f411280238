//! `smart-cache`: see and steer a cache from the command line.
//!
//! It reads the same `SMART_REDIS_*` variables as the programs that cache, looks at the same
//! namespace, and never clears anything by starting. Nothing it does is visible to them but the
//! clears it is asked for: it announces no build and leaves no numbers.
//!
//! | exit code | meaning |
//! |---|---|
//! | 0 | done, and nothing was found wrong; `stats --watch` was ended, by a key or by a signal; whoever read the output has gone |
//! | 1 | `show`: there is no such key · `doctor`, `outbox`: something needs attention · `clear --all`: the answer was no |
//! | 2 | the command line cannot be understood |
//! | 3 | a setting cannot be used |
//! | 4 | the backend or the database does not answer, or refuses; a clear was not acknowledged |
//! | 5 | the output cannot be written |

mod arguments;
mod clear;
mod completions;
mod connect;
mod doctor;
mod failure;
mod ls;
mod outbox;
mod output;
mod show;
mod stats;
mod stop;
mod sweep;
mod watch;

use std::process::ExitCode;

use clap::Parser as _;

use crate::arguments::{Arguments, Command, OutboxCommand};
use crate::failure::Failure;
use crate::output::Output;

/// How a command ended that did not fail.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Ended {
    Well,
    /// What was looked for is not there, or something needs attention.
    Badly,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build();
    let ended = match runtime {
        Ok(runtime) => runtime.block_on(run(&arguments)),
        Err(why) => Err(Failure::Output(why)),
    };
    match ended {
        Ok(Ended::Well) => ExitCode::SUCCESS,
        Ok(Ended::Badly) => ExitCode::from(1),
        // Whoever read our output has gone: `smart-cache ls | head`.
        Err(Failure::Output(why)) if why.kind() == std::io::ErrorKind::BrokenPipe => {
            ExitCode::SUCCESS
        }
        Err(failure) => {
            eprintln!("smart-cache: {failure}");
            ExitCode::from(failure.code())
        }
    }
}

async fn run(arguments: &Arguments) -> Result<Ended, Failure> {
    let mut out = Output::new(arguments.json);
    let place = &arguments.place;
    match &arguments.command {
        Command::Ls(ls) => ls::run(place, ls, &mut out).await,
        Command::Show(show) => show::run(place, show, &mut out).await,
        Command::Clear(clear) => clear::run(place, clear, &mut out).await,
        Command::Stats(stats) => stats::run(place, stats, &mut out).await,
        Command::Doctor(doctor) => doctor::run(place, doctor, &mut out).await,
        Command::Outbox {
            command: OutboxCommand::Status(status),
        } => outbox::run(status, &mut out).await,
        Command::Sweep => sweep::run(place, &mut out).await,
        Command::Completions { shell } => completions::run(*shell, &mut out),
    }
}

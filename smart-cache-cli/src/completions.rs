//! `completions SHELL`: what a shell needs to complete the command line.

use clap::CommandFactory as _;
use clap_complete::Shell;

use crate::Ended;
use crate::arguments::Arguments;
use crate::failure::Failure;
use crate::output::Output;

const NAME: &str = "smart-cache";

pub(crate) fn run(shell: Shell, out: &mut Output) -> Result<Ended, Failure> {
    // By way of memory: the generator panics where it cannot write.
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Arguments::command(), NAME, &mut script);
    if shell == Shell::Bash {
        script = mended(&String::from_utf8_lossy(&script)).into_bytes();
    }
    out.raw(&script)?;
    Ok(Ended::Well)
}

/// The generator spells the state of a program with a hyphen in its name in two ways, so nothing was
/// completed behind a command (clap-rs/clap#6421). A script of one that spells it in one way stays as
/// it is.
fn mended(script: &str) -> String {
    script.replace("smart__subcmd__cache", "smart__cache")
}

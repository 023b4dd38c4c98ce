//! Running other programs from the root of the workspace.

use std::io::{BufRead, BufReader};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

/// How long one program may run where nobody watches (`CI` is set). The whole of `test` takes less than this.
const STEP_LIMIT: Duration = Duration::from_secs(25 * 60);

/// The root of the workspace.
pub(crate) fn root() -> PathBuf {
    let here = Path::new(env!("CARGO_MANIFEST_DIR"));
    here.ancestors().nth(2).unwrap_or(here).to_path_buf()
}

/// Where cargo puts what it builds: above the folder in which it put this program.
pub(crate) fn target() -> PathBuf {
    let program = std::env::current_exe().unwrap_or_default();
    program.ancestors().nth(2).map_or_else(|| root().join("target"), Path::to_path_buf)
}

/// Cargo, the same one that started this program.
pub(crate) fn cargo(args: &[&str]) -> Command {
    let program = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(program);
    command.args(args).current_dir(root()).stdin(Stdio::null());
    command
}

/// Runs `command` with its output going straight through. The error says what went wrong.
pub(crate) fn passes(mut command: Command) -> Vec<String> {
    let shown = show(&command);
    let child = match start(&mut command) {
        Ok(child) => child,
        Err(problem) => return vec![problem],
    };
    finish(child, &shown)
}

/// Runs `command`, shows each line of its stdout to `line` as it comes, and passes it on.
pub(crate) fn watched(mut command: Command, mut line: impl FnMut(&str)) -> Vec<String> {
    let shown = show(&command);
    let mut child = match start(command.stdout(Stdio::piped())) {
        Ok(child) => child,
        Err(problem) => return vec![problem],
    };
    let stdout = child.stdout.take();
    thread::scope(|scope| {
        let waiter = scope.spawn(|| finish(child, &shown));
        for text in stdout.into_iter().flat_map(|out| BufReader::new(out).split(b'\n')).map_while(Result::ok) {
            let text = String::from_utf8_lossy(&text);
            println!("{text}");
            line(&text);
        }
        waiter.join().unwrap_or_else(|_| vec![format!("{shown}: the waiting thread panicked")])
    })
}

/// What `command` prints, or `None` where it cannot be run or fails.
pub(crate) fn output(mut command: Command) -> Option<String> {
    let output = command.stderr(Stdio::null()).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).into_owned())
}

/// How it is shown to people.
pub(crate) fn show(command: &Command) -> String {
    let args: Vec<_> = command.get_args().map(|arg| arg.to_string_lossy()).collect();
    let program = Path::new(command.get_program()).file_name().unwrap_or_default().to_string_lossy();
    format!("{program} {}", args.join(" "))
}

fn start(command: &mut Command) -> Result<Child, String> {
    let shown = show(command);
    println!("    $ {shown}");
    spawn(command, &shown)
}

/// Starts it.
pub(crate) fn spawn(command: &mut Command, shown: &str) -> Result<Child, String> {
    if in_ci() {
        // A group of its own, so that the whole tree can be ended when the limit is reached. Not where somebody
        // may press Ctrl-C: that reaches only the group in the foreground.
        command.process_group(0);
    }
    command.spawn().map_err(|error| format!("cannot run {shown}: {error}"))
}

fn in_ci() -> bool {
    std::env::var_os("CI").is_some()
}

/// Waits for it, though not for ever where nobody watches. The error says what went wrong.
pub(crate) fn finish(mut child: Child, shown: &str) -> Vec<String> {
    let group = child.id();
    let (ended, end) = mpsc::channel::<()>();
    let watchdog = thread::spawn(move || {
        let late = matches!(end.recv_timeout(STEP_LIMIT), Err(mpsc::RecvTimeoutError::Timeout)) && in_ci();
        if late {
            let _killed = Command::new("kill").args(["-KILL", "--", &format!("-{group}")]).status();
        }
        late
    });
    let status = child.wait();
    drop(ended);
    let late = watchdog.join().unwrap_or(false);
    match status {
        Ok(status) if status.success() => Vec::new(),
        Ok(_) if late => vec![format!("{shown}: ended, it ran longer than {} s", STEP_LIMIT.as_secs())],
        Ok(status) => vec![format!("{shown}: {status}")],
        Err(error) => vec![format!("{shown}: {error}")],
    }
}

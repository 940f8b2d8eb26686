// SPDX-License-Identifier: GPL-2.0

//! What another program says, if it says it in time.

use std::io::{self, Read};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver};
use std::thread;
use std::time::{Duration, Instant};

/// How long is slept between two looks at whether it has ended.
const NAP: Duration = Duration::from_millis(5);

/// What a program wrote.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Said {
    /// To standard output.
    pub out: String,
    /// To standard error.
    pub err: String,
}

/// Runs a program and returns what it wrote, whatever its exit status is. One that has not ended by
/// the deadline is killed, and not waited for: it may be in the kernel, for ever.
///
/// # Errors
///
/// If it could not be run, or, which is [`io::ErrorKind::TimedOut`], did not end in time.
pub fn ask(command: &mut Command, deadline: Instant) -> io::Result<Said> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()?;
    let out = read(child.stdout.take());
    let err = read(child.stderr.take());
    let said = in_time(&out, deadline)
        .zip(in_time(&err, deadline))
        .map(|(out, err)| Said { out, err })
        .filter(|_| has_ended(&mut child, deadline));
    said.ok_or_else(|| {
        let _ = child.kill();
        io::Error::new(io::ErrorKind::TimedOut, "it does not answer")
    })
}

/// Reads a pipe to its end, in a thread.
fn read(pipe: Option<impl Read + Send + 'static>) -> Receiver<String> {
    let (sender, text) = mpsc::channel();
    // Without a thread there is no answer.
    let _ = thread::Builder::new().spawn(move || {
        let mut bytes = Vec::new();
        if pipe.is_some_and(|mut pipe| pipe.read_to_end(&mut bytes).is_ok()) {
            let _ = sender.send(String::from_utf8_lossy(&bytes).into_owned());
        }
    });
    text
}

fn in_time(text: &Receiver<String>, deadline: Instant) -> Option<String> {
    let patience = deadline.saturating_duration_since(Instant::now());
    text.recv_timeout(patience).ok()
}

fn has_ended(child: &mut Child, deadline: Instant) -> bool {
    while matches!(child.try_wait(), Ok(None)) {
        if Instant::now() >= deadline {
            return false;
        }
        thread::sleep(NAP);
    }
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sh(script: &str, patience: Duration) -> io::Result<Said> {
        ask(
            Command::new("sh").args(["-c", script]),
            Instant::now() + patience,
        )
    }

    #[test]
    fn both_outputs_whatever_the_status() {
        let said = sh("echo out; echo err >&2; exit 2", Duration::from_secs(60)).unwrap();
        assert_eq!((said.out.as_str(), said.err.as_str()), ("out\n", "err\n"));
    }

    #[test]
    fn no_such_program() {
        let error = ask(&mut Command::new("/nowhere/blkid"), Instant::now()).unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::NotFound);
    }

    /// In each of the ways to hang.
    #[test]
    fn one_that_hangs() {
        for script in [
            "sleep 1000",
            "echo out; exec sleep 1000",
            "exec >/dev/null 2>&1; exec sleep 1000",
        ] {
            let start = Instant::now();
            let error = sh(script, Duration::from_millis(300)).unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::TimedOut);
            assert!(start.elapsed() < Duration::from_secs(20));
        }
    }
}

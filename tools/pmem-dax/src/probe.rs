// SPDX-License-Identifier: GPL-2.0

//! Attributes of namespaces that may block.
//!
//! A driver that takes a namespace, or lets go of it, holds the lock of its device, which `mode`
//! and `holder` of the namespace, and `size` of a pfn, wait for. An unbind holds it until the last
//! page is not pinned any more. Nothing ends the process that reads one of these then, nor another
//! process as long as one of its threads does. So a child reads them, and is left behind if it
//! does not get on.

use std::fs;
use std::io::{self, BufRead, BufReader, Write};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use crate::bus::DEVICES;
use crate::root::Root;

/// The name by which the child knows what it is.
pub const NAME: &str = "pmem-dax: attributes";

/// How long one namespace may take.
const PATIENCE: Duration = Duration::from_secs(2);

/// What a namespace says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Attributes {
    /// Its size in bytes; 0 if it is one that a region has ready for the next that is made.
    pub size: u64,
    /// Its mode, as the kernel calls it.
    pub mode: String,
    /// Another device of the bus that has it: pfnX.Y in fsdax mode, if it is not used raw.
    pub holder: Option<String>,
}

/// What became of the question.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Answer {
    /// All was answered.
    Known(Attributes),
    /// The lock of its device, or of the device that has it, is held.
    Busy(Attributes),
}

impl Answer {
    /// Returns what is known in any case.
    pub fn attributes(&self) -> &Attributes {
        match self {
            Answer::Known(attributes) | Answer::Busy(attributes) => attributes,
        }
    }
}

/// Asks namespaces for their attributes.
#[derive(Clone, Debug)]
pub struct Prober {
    root: Root,
    program: PathBuf,
}

impl Prober {
    /// Makes one whose child is this program.
    pub fn new(root: Root) -> Self {
        Prober {
            root,
            program: PathBuf::from("/proc/self/exe"),
        }
    }

    /// Returns the answers of the namespaces, in their order, after at most twice [`PATIENCE`] if
    /// one or more of them do not answer.
    ///
    /// # Errors
    ///
    /// If no child can be started, or it ends early.
    pub fn ask(&self, namespaces: &[String]) -> io::Result<Vec<Answer>> {
        let mut answers = Vec::with_capacity(namespaces.len());
        if namespaces.is_empty() {
            return Ok(answers);
        }
        let mut first = Running::start(self, namespaces)?;
        for _ in namespaces {
            let answer = first.next(Instant::now() + PATIENCE)?;
            let busy = matches!(answer, Answer::Busy(_));
            answers.push(answer);
            if busy {
                break;
            }
        }
        // More than one may be stuck. The others have a child each, all at once.
        let rest = &namespaces[answers.len()..];
        let deadline = Instant::now() + PATIENCE;
        let children: Vec<_> = rest
            .iter()
            .map(|namespace| Running::start(self, std::slice::from_ref(namespace)))
            .collect();
        for child in children {
            answers.push(child?.next(deadline)?);
        }
        Ok(answers)
    }
}

/// A child, and what it says.
struct Running {
    child: Child,
    lines: Receiver<String>,
}

impl Running {
    fn start(prober: &Prober, namespaces: &[String]) -> io::Result<Self> {
        let mut child = Command::new(&prober.program)
            .arg0(NAME)
            .arg(prober.root.dir())
            .args(namespaces)
            // What it had of the caller's, it would keep.
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(Stdio::null())
            .current_dir("/")
            .spawn()?;
        let out = child.stdout.take();
        let (sender, lines) = mpsc::channel();
        thread::Builder::new().spawn(move || {
            for line in out.into_iter().flat_map(|out| BufReader::new(out).lines()) {
                let Ok(line) = line else { break };
                if sender.send(line).is_err() {
                    break;
                }
            }
        })?;
        Ok(Running { child, lines })
    }

    /// Returns the answer of the next namespace.
    fn next(&mut self, deadline: Instant) -> io::Result<Answer> {
        let mut attributes = Attributes::default();
        loop {
            let patience = deadline.saturating_duration_since(Instant::now());
            match self.lines.recv_timeout(patience) {
                Ok(line) => match line.split_once(' ') {
                    Some(("size", size)) => attributes.size = size.parse().unwrap_or(0),
                    Some(("mode", mode)) => attributes.mode = mode.to_owned(),
                    Some(("holder", holder)) => attributes.holder = Some(holder.to_owned()),
                    _ => return Ok(Answer::Known(attributes)),
                },
                Err(RecvTimeoutError::Timeout) => return Ok(Answer::Busy(attributes)),
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(io::Error::other("the process that does so was killed"))
                }
            }
        }
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // It is not waited for: it may be the one that is left behind.
        let _ = self.child.try_wait();
    }
}

/// Writes the attributes of namespaces to standard output, which is what the child does.
///
/// # Errors
///
/// If the pipe has no reader any more.
pub fn tell(root: &Path, namespaces: impl Iterator<Item = String>) -> io::Result<()> {
    let mut out = io::stdout();
    let read = |device: &str, name: &str| {
        let file = Root::new(root).path(format!("{DEVICES}/{device}/{name}"));
        fs::read_to_string(file)
            .map(|text| text.trim().to_owned())
            .unwrap_or_default()
    };

    for namespace in namespaces {
        // That one waits for no lock of the device, and what follows says more of a namespace.
        let size = read(&namespace, "size");
        let mut text = format!("size {size}\n");
        if size != "0" {
            text += &format!("mode {}\n", read(&namespace, "mode"));
            let holder = read(&namespace, "holder");
            if !holder.is_empty() {
                text += &format!("holder {holder}\n");
                // This may be the last that is heard of it.
                out.write_all(text.as_bytes())?;
                text.clear();
                read(&holder, "size");
            }
        }
        text += "end\n";
        out.write_all(text.as_bytes())?;
    }
    Ok(())
}

// SPDX-License-Identifier: GPL-2.0

//! How a command ends that did not do what it was asked for.

use std::process::ExitCode;

/// The reason why a command failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It failed, and the messages say what to do.
    Failed(Vec<String>),
    /// It was refused, as the disk is in use or its namespace is busy.
    Refused(Vec<String>),
}

impl Failure {
    /// Makes a failure with one message.
    pub fn new(message: impl Into<String>) -> Self {
        Failure::Failed(vec![message.into()])
    }

    /// Returns a failure with one message.
    pub fn failed<T>(message: impl Into<String>) -> Result<T, Self> {
        Err(Failure::new(message))
    }

    /// Returns a refusal with one message.
    pub fn refused<T>(message: impl Into<String>) -> Result<T, Self> {
        Err(Failure::Refused(vec![message.into()]))
    }

    /// Returns the messages, one for each line.
    pub fn lines(&self) -> &[String] {
        match self {
            Failure::Failed(lines) | Failure::Refused(lines) => lines,
        }
    }

    /// Returns the exit status that the manual page has for it.
    pub fn code(&self) -> u8 {
        match self {
            Failure::Failed(_) => 1,
            Failure::Refused(_) => 3,
        }
    }
}

impl From<Failure> for ExitCode {
    fn from(failure: Failure) -> Self {
        ExitCode::from(failure.code())
    }
}

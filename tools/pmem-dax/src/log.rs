// SPDX-License-Identifier: GPL-2.0

//! The log of the kernel.

use std::fs::OpenOptions;
use std::io::{Read, Write};
use std::os::unix::fs::OpenOptionsExt;

use rustix::fs::OFlags;
use rustix::io::Errno;

/// Where it is.
const FILE: &str = "/dev/kmsg";

/// More than a record has.
const RECORD: usize = 8192;

/// Writes a line, which is a warning.
pub fn warn(line: &str) {
    if let Ok(mut log) = OpenOptions::new().write(true).open(FILE) {
        // Standard error has it as well.
        let _ = log.write_all(format!("<4>{line}\n").as_bytes());
    }
}

/// Returns why pmem_dax did not take a device of the bus, if that is the last that it said of it.
pub fn refusal(devices: &[&str]) -> Option<String> {
    let mut last = None;
    each(|text| {
        let said = devices.iter().find_map(|device| said_of(device, text));
        if let Some(said) = said {
            last = Some(said.to_owned());
        }
    });
    last.filter(|said| said.starts_with("not taken: "))
}

/// Returns what pmem_dax said of a device, if that is what the text is.
fn said_of<'a>(device: &str, text: &'a str) -> Option<&'a str> {
    let text = text.strip_prefix("pmem_dax ")?.strip_prefix(device)?;
    text.strip_prefix(": ")
}

/// Calls `f` with the text of each record that is there.
fn each(mut f: impl FnMut(&str)) {
    let flags = OFlags::NONBLOCK.bits() as i32;
    let log = OpenOptions::new().read(true).custom_flags(flags).open(FILE);
    let Ok(mut log) = log else { return };
    let mut record = vec![0; RECORD];
    loop {
        match log.read(&mut record) {
            Ok(length) if length > 0 => {
                let record = String::from_utf8_lossy(&record[..length]);
                let (_, text) = record.split_once(';').unwrap_or_default();
                f(text.lines().next().unwrap_or_default());
            }
            // Records went while it was read.
            Err(error) if Errno::from_io_error(&error) == Some(Errno::PIPE) => {}
            _ => return,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_said_of_a_device() {
        let text = "pmem_dax namespace1.0: not taken: its info block is lost";
        assert_eq!(
            said_of("namespace1.0", text),
            Some("not taken: its info block is lost")
        );
        assert_eq!(said_of("namespace1", text), None);
        assert_eq!(said_of("namespace1.0", "nd_pmem namespace1.0: x"), None);
        assert_eq!(said_of("namespace1.0", ""), None);
    }
}

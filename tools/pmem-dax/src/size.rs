// SPDX-License-Identifier: GPL-2.0

//! How sizes are shown.

/// Returns the number of bytes as `numfmt --to=iec` does: in powers of 1024, rounded up, with
/// one digit behind the point below 10.
pub fn iec(bytes: u64) -> String {
    const UNITS: [&str; 7] = ["", "K", "M", "G", "T", "P", "E"];

    let mut unit = 0;
    let mut scale: u128 = 1;
    let bytes = u128::from(bytes);
    // What is rounded up to 1024 is one of the next unit.
    while unit + 1 < UNITS.len() && bytes.div_ceil(scale) >= 1024 {
        unit += 1;
        scale *= 1024;
    }
    let tenths = (bytes * 10).div_ceil(scale);
    if unit > 0 && tenths < 100 {
        format!("{}.{}{}", tenths / 10, tenths % 10, UNITS[unit])
    } else {
        format!("{}{}", bytes.div_ceil(scale), UNITS[unit])
    }
}

#[cfg(test)]
mod tests {
    use super::iec;

    #[test]
    fn is_what_numfmt_says() {
        for (bytes, text) in [
            (0, "0"),
            (1023, "1023"),
            (1024, "1.0K"),
            (1025, "1.1K"),
            (10 << 10, "10K"),
            (10239, "10K"),
            ((1 << 20) - 1, "1.0M"),
            (512 << 20, "512M"),
            (524160 << 10, "512M"),
            (3 << 30, "3.0G"),
            ((3 << 30) + 1, "3.1G"),
            (1 << 40, "1.0T"),
            (u64::MAX, "16E"),
        ] {
            assert_eq!(iec(bytes), text, "{bytes}");
        }
    }
}

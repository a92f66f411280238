//! How much memory this process has.

/// Bytes of this process that are in the machine's memory now.
///
/// # Panics
///
/// Where there is no /proc.
#[must_use]
pub fn resident_bytes() -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has /proc");
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let kilobytes =
        line.and_then(|line| line.trim().strip_suffix("kB")?.trim().parse::<u64>().ok());
    kilobytes.expect("VmRSS is a number of kB") * 1024
}

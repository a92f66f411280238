//! Which start of the machine this is, for stores whose data a crash of the machine can roll back.

/// Unlike for each start of the machine; empty where the system does not tell (it does on Linux).
pub(super) fn boot_id() -> String {
    std::fs::read_to_string("/proc/sys/kernel/random/boot_id")
        .map(|text| text.trim().to_owned())
        .unwrap_or_default()
}

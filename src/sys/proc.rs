//! Facts about this machine and its processes, read from `/proc`.
//!
//! Runs in every process, read-only.

/// Random bytes from the system, for keys and names.
pub fn random_bytes<const N: usize>() -> [u8; N] {
    let mut bytes = [0_u8; N];
    // SAFETY: the pointer is valid for N bytes; a short read leaves zeros, which are legal keys.
    let _count = unsafe { libc::getrandom(bytes.as_mut_ptr().cast(), N, 0) };
    bytes
}

/// A random version 4 UUID in text form.
pub fn random_uuid() -> String {
    let mut bytes: [u8; 16] = random_bytes();
    bytes[6] = bytes[6] & 0x0f | 0x40;
    bytes[8] = bytes[8] & 0x3f | 0x80;
    let hex = format!("{:032x}", u128::from_be_bytes(bytes));
    let part = |from: usize, to: usize| hex.get(from..to).unwrap_or("").to_owned();
    format!(
        "{}-{}-{}-{}-{}",
        part(0, 8),
        part(8, 12),
        part(12, 16),
        part(16, 20),
        part(20, 32)
    )
}

/// The process that started this one; another one once that has ended.
pub fn parent_pid() -> i32 {
    nix::unistd::getppid().as_raw()
}

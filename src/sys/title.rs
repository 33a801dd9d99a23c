//! The process title, and the scrubbing of secrets from the memory that `ps` can see.
//!
//! [`take_over`] runs first of all in the main program: it moves the environment elsewhere, leaves
//! secrets out of it, and wipes the memory behind `/proc/PID/cmdline` and `/proc/PID/environ`, which
//! from then on holds the title. Children set their own title in the same memory. Nothing may call
//! `std::env::args` afterwards.

use std::ffi::{CString, OsStr, OsString, c_char};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::atomic::{AtomicUsize, Ordering};

static AREA_START: AtomicUsize = AtomicUsize::new(0);
static AREA_LENGTH: AtomicUsize = AtomicUsize::new(0);

unsafe extern "C" {
    static mut environ: *mut *mut c_char;
}

/// Addresses of a process's arguments and environment, from `/proc/self/stat` fields 48 to 51.
fn areas() -> Option<(usize, usize, usize, usize)> {
    let stat = std::fs::read_to_string("/proc/self/stat").ok()?;
    let after_name = stat.rsplit_once(')')?.1;
    let fields: Vec<usize> = after_name
        .split_ascii_whitespace()
        .map(|field| field.parse().unwrap_or(0))
        .collect();
    // Field 3 (state) is the first one after the name.
    let field = |number: usize| fields.get(number - 3).copied().filter(|value| *value != 0);
    Some((field(48)?, field(49)?, field(50)?, field(51)?))
}

/// Moves the environment to fresh memory without the variables of `hidden`, and wipes the old place
/// together with the arguments. Returns what `hidden` held. Only while there is one thread.
pub fn take_over(hidden: &[&str]) -> Vec<(OsString, OsString)> {
    let mut secrets = Vec::new();
    let mut kept: Vec<*mut c_char> = Vec::new();
    for (name, value) in std::env::vars_os() {
        if hidden.iter().any(|hidden| OsStr::new(hidden) == name) {
            secrets.push((name, value));
            continue;
        }
        let mut entry = name.into_vec();
        entry.push(b'=');
        entry.extend_from_slice(value.as_bytes());
        if let Ok(entry) = CString::new(entry) {
            kept.push(entry.into_raw());
        }
    }
    kept.push(std::ptr::null_mut());
    let Some((arg_start, arg_end, env_start, env_end)) = areas() else {
        return secrets;
    };
    let moved = Box::leak(kept.into_boxed_slice()).as_mut_ptr();
    // SAFETY: one thread, so nobody reads `environ` meanwhile; the new array is NUL-terminated and
    // lives for ever.
    unsafe { environ = moved };
    let end = if env_start == arg_end {
        env_end
    } else {
        arg_end
    };
    if env_start != arg_end && env_end > env_start {
        // SAFETY: the kernel says that this range is the environment; nothing refers to it any more.
        unsafe { std::ptr::write_bytes(env_start as *mut u8, 0, env_end - env_start) };
    }
    AREA_START.store(arg_start, Ordering::Relaxed);
    AREA_LENGTH.store(end.saturating_sub(arg_start), Ordering::Relaxed);
    set("");
    secrets
}

/// Sets the title to `pgcopydb: label` (or just `pgcopydb`), cut to the room there is.
pub fn set(label: &str) {
    let length = AREA_LENGTH.load(Ordering::Relaxed);
    if length < 2 {
        return;
    }
    let title = if label.is_empty() {
        "pgcopydb".to_owned()
    } else {
        format!("pgcopydb: {label}")
    };
    let start = AREA_START.load(Ordering::Relaxed) as *mut u8;
    let shown = title.len().min(length - 1);
    // SAFETY: the range is the arguments and environment area that `take_over` made ours.
    unsafe { std::ptr::write_bytes(start, 0, length) };
    // SAFETY: `shown` is less than the length of that range, and the two do not overlap.
    unsafe { std::ptr::copy_nonoverlapping(title.as_ptr(), start, shown) };
}

//! The way from Python into Rust: the interpreter is free while Rust works or waits, and a panic comes back as an exception.

use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Mutex, PoisonError};

use pyo3::prelude::*;

use crate::errors::NativePanicError;

/// Work without the interpreter.
///
/// A panic is a mistake of this module. `PyO3`'s own exception for it is a `BaseException`, which passes by every handler and ends
/// a server's task without an answer; this one is an `Exception`.
///
/// # Errors
/// `NativePanicError` where the work panics.
pub fn detach<T: Send>(python: Python<'_>, work: impl FnOnce() -> T + Send) -> PyResult<T> {
    // What a panic leaves behind is a value of ours: each says where it is locked why it is whole.
    python.detach(|| catch_unwind(AssertUnwindSafe(work))).map_err(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let said = text.or_else(|| panic.downcast_ref::<&str>().copied()).unwrap_or("without a word");
        NativePanicError::new_err(format!("a mistake in the native module: {said}"))
    })
}

/// Work on what a lock holds. It is waited for without the interpreter, so that a long computation stops nobody else.
///
/// # Errors
/// As [`detach`].
pub fn locked<S: Send, T: Send>(
    python: Python<'_>,
    lock: &Mutex<S>,
    work: impl FnOnce(&mut S) -> T + Send,
) -> PyResult<T> {
    detach(python, || work(&mut lock.lock().unwrap_or_else(PoisonError::into_inner)))
}

/// Panic, so that a test can see what becomes of it.
#[pyfunction]
#[allow(clippy::panic, reason = "a panic is what is asked for")]
pub fn panic_with(python: Python<'_>, text: &str) -> PyResult<()> {
    detach(python, || std::panic::panic_any(text.to_owned()))
}

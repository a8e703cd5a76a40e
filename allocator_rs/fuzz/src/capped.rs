//! An allocator that counts, and ends the program where a parser asks for more than it may.

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

/// What a parser may have at one time, all its allocations together, in bytes.
pub const CAP_BYTES: usize = 64 * 1024 * 1024;

/// The system's allocator with a count for each thread.
pub struct Capped;

#[derive(Clone, Copy)]
struct Count {
    counting: bool,
    live: usize,
    peak: usize,
    largest: usize,
}

const NONE: Count = Count { counting: false, live: 0, peak: 0, largest: 0 };

thread_local! {
    static COUNT: Cell<Count> = const { Cell::new(NONE) };
}

/// What was allocated while something ran, in bytes.
#[derive(Debug, Clone, Copy)]
pub struct Use {
    /// Most at one time.
    pub peak: usize,
    /// The largest single allocation.
    pub largest: usize,
}

/// Run something and return what it allocated, which it is not kept from: [`Use`] is for tests to judge.
pub fn measure<T>(run: impl FnOnce() -> T) -> (T, Use) {
    COUNT.set(Count { counting: true, ..NONE });
    let answer = run();
    let count = COUNT.replace(NONE);
    (answer, Use { peak: count.peak, largest: count.largest })
}

/// Run something that may not have more than [`CAP_BYTES`] at one time.
///
/// # Panics
/// Where it has.
pub fn within_cap<T>(run: impl FnOnce() -> T) -> T {
    let (answer, used) = measure(run);
    assert!(used.peak <= CAP_BYTES, "{} bytes were allocated at one time, {} of them at once", used.peak, used.largest);
    answer
}

fn add(bytes: usize) {
    let count = COUNT.get();
    if count.counting {
        let live = count.live.saturating_add(bytes);
        COUNT.set(Count { live, peak: count.peak.max(live), largest: count.largest.max(bytes), ..count });
    }
}

fn remove(bytes: usize) {
    let count = COUNT.get();
    if count.counting {
        COUNT.set(Count { live: count.live.saturating_sub(bytes), ..count });
    }
}

// SAFETY: every call is handed to the system's allocator as it came; counting allocates nothing.
unsafe impl GlobalAlloc for Capped {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        add(layout.size());
        // SAFETY: the caller's promise about the layout is passed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        remove(layout.size());
        // SAFETY: as above; the pointer came from `alloc` or `realloc`.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, new_size: usize) -> *mut u8 {
        add(new_size);
        remove(layout.size());
        // SAFETY: as above.
        unsafe { System.realloc(pointer, layout, new_size) }
    }
}

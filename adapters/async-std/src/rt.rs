//! All that is asked of a runtime: to run tasks. Sockets and timers are `async-io`'s and blocking work is `blocking`'s, on
//! which both async-std and smol are built.

use std::future::Future;

#[cfg(not(any(feature = "async-std", feature = "smol")))]
compile_error!("choose a runtime: feature `async-std` (the default) or `smol`");

/// Runs a task in the background until it ends.
pub(crate) fn spawn(task: impl Future<Output = ()> + Send + 'static) {
    #[cfg(feature = "async-std")]
    drop(async_std::task::spawn(task));
    #[cfg(all(feature = "smol", not(feature = "async-std")))]
    smol::spawn(task).detach();
}

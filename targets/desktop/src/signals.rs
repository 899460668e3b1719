//! Ctrl-C and the like.

/// Calls `act` each time that the user or the system wants the program to stop, on a thread of its own. Where signals are
/// not known, the system's default remains: the program ends at once.
pub fn on_stop(act: impl FnMut() + Send + 'static) {
    #[cfg(unix)]
    {
        use signal_hook::consts::{SIGINT, SIGTERM};
        use signal_hook::iterator::Signals;

        let mut act = act;
        // Not the hang-up of a terminal: under `nohup` it is to be ignored, and to listen to it would undo that.
        match Signals::new([SIGINT, SIGTERM]) {
            Ok(mut signals) => {
                std::thread::spawn(move || signals.forever().for_each(|_| act()));
            }
            Err(error) => log::warn!("cannot listen to signals: {error}"),
        }
    }
    #[cfg(not(unix))]
    drop(act);
}

//! Diagnostics: to `log`, to `defmt`, or nowhere. They never change behaviour.

macro_rules! debug {
    ($($arg:tt)*) => {{
        #[cfg(feature = "log")]
        ::log::debug!($($arg)*);
        #[cfg(feature = "defmt")]
        ::defmt::debug!($($arg)*);
        #[cfg(not(any(feature = "log", feature = "defmt")))]
        let _ = if false { $crate::log::ignore(&::core::format_args!($($arg)*)) };
    }};
}

macro_rules! trace {
    ($($arg:tt)*) => {{
        #[cfg(feature = "log")]
        ::log::trace!($($arg)*);
        #[cfg(feature = "defmt")]
        ::defmt::trace!($($arg)*);
        #[cfg(not(any(feature = "log", feature = "defmt")))]
        let _ = if false { $crate::log::ignore(&::core::format_args!($($arg)*)) };
    }};
}

pub(crate) use {debug, trace};

/// Keeps the arguments used, whatever the features.
#[cfg(not(any(feature = "log", feature = "defmt")))]
pub(crate) fn ignore(_: &core::fmt::Arguments<'_>) {}

//! Diagnostics: to `log`, to `defmt`, or nowhere.

macro_rules! info {
    ($($arg:tt)*) => {{
        #[cfg(feature = "log")]
        ::log::info!($($arg)*);
        #[cfg(feature = "defmt")]
        ::defmt::info!($($arg)*);
        #[cfg(not(any(feature = "log", feature = "defmt")))]
        let _ = if false { $crate::log::ignore(&::core::format_args!($($arg)*)) };
    }};
}

macro_rules! warning {
    ($($arg:tt)*) => {{
        #[cfg(feature = "log")]
        ::log::warn!($($arg)*);
        #[cfg(feature = "defmt")]
        ::defmt::warn!($($arg)*);
        #[cfg(not(any(feature = "log", feature = "defmt")))]
        let _ = if false { $crate::log::ignore(&::core::format_args!($($arg)*)) };
    }};
}

pub(crate) use {info, warning};

/// Keeps the arguments used, whatever the features.
#[cfg(not(any(feature = "log", feature = "defmt")))]
pub(crate) fn ignore(_: &core::fmt::Arguments<'_>) {}

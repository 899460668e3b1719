//! The one place that knows whether memory is lent or owned.

/// Room for up to a fixed number of `T`: a lent slice, or (feature `alloc`) a vector that grows up to its limit.
#[derive(Debug)]
pub enum Store<'m, T> {
    /// Memory that the caller lent, all of it usable from the start.
    Lent(&'m mut [T]),
    /// Memory that is taken from the heap as it is needed.
    #[cfg(feature = "alloc")]
    Owned {
        /// What was taken so far.
        items: alloc::vec::Vec<T>,
        /// The most items it may grow to.
        limit: usize,
    },
}

impl<T> Default for Store<'_, T> {
    fn default() -> Self {
        Store::Lent(&mut [])
    }
}

impl<T> Store<'_, T> {
    /// A store on the heap that grows up to `limit` items.
    #[cfg(feature = "alloc")]
    pub fn heap(limit: usize) -> Self {
        Store::Owned { items: alloc::vec::Vec::new(), limit }
    }

    /// The most items it can hold.
    pub fn limit(&self) -> usize {
        match self {
            Store::Lent(items) => items.len(),
            #[cfg(feature = "alloc")]
            Store::Owned { limit, .. } => *limit,
        }
    }

    /// What is there now.
    pub fn items(&self) -> &[T] {
        match self {
            Store::Lent(items) => items,
            #[cfg(feature = "alloc")]
            Store::Owned { items, .. } => items,
        }
    }

    /// What is there now, to be changed.
    pub fn items_mut(&mut self) -> &mut [T] {
        match self {
            Store::Lent(items) => items,
            #[cfg(feature = "alloc")]
            Store::Owned { items, .. } => items,
        }
    }

    /// Grows by at least one item made by `make`, unless at the limit. A lent store is always at its limit. An owned one
    /// grows by a quarter of what it has, so that little of it is never used. Where the system has no memory left, the
    /// program ends, as Rust programs do: limits are to be chosen such that this cannot be.
    pub fn grow(&mut self, make: impl FnMut() -> T) -> bool {
        match self {
            Store::Lent(_) => {
                let _ = make;
                false
            }
            #[cfg(feature = "alloc")]
            Store::Owned { items, limit } => {
                let more = (items.len() / 4).max(4).min(*limit - items.len());
                items.reserve_exact(more);
                items.extend(core::iter::repeat_with(make).take(more));
                more > 0
            }
        }
    }
}

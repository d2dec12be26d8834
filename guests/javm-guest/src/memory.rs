//! Statics that last from call to call.
//!
//! A program's read-write data belongs to its instance: what a call leaves in a static, the next call finds;
//! a fault undoes it. A guest has one thread, so a cell in a static is sound there. On the host each thread
//! has its own copy, which makes each test an instance of its own.

use core::cell::Cell;
use core::ops::Deref;

/// A persistent value that is read and written whole: what [`persistent!`](crate::persistent) declares.
/// It is a [`Cell`]; an array's elements are cells of their own through [`Persistent::cells`].
pub struct Persistent<T: 'static>(imp::Persistent<T>);

impl<T> Deref for Persistent<T> {
    type Target = Cell<T>;

    #[inline]
    fn deref(&self) -> &Cell<T> {
        self.0.cell()
    }
}

impl<T, const N: usize> Persistent<[T; N]> {
    /// The elements of an array.
    #[inline]
    pub fn cells(&self) -> &[Cell<T>] {
        let whole: &Cell<[T]> = &**self;
        whole.as_slice_of_cells()
    }
}

/// A persistent value that is borrowed mutably: what [`exclusive!`](crate::exclusive) declares.
pub struct Exclusive<T: 'static>(imp::Exclusive<T>);

impl<T> Exclusive<T> {
    /// Lends the value to a closure.
    ///
    /// # Panics
    /// In a guest, when a closure that any [`Exclusive`] was lent to is still running: put what is needed
    /// together into one struct.
    pub fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
        self.0.with(f)
    }
}

/// Ends all loans: for the operations that end a run without unwinding.
pub(crate) fn leave_all() {
    imp::leave_all();
}

#[cfg(target_os = "none")]
mod imp {
    use core::cell::{Cell, UnsafeCell};

    /// Whether a closure runs that borrows an [`Exclusive`]. One flag for all of them, so that a run which
    /// ends inside can put it back: it lies in persistent memory like everything else.
    static LENT: Persistent<bool> = Persistent(Cell::new(false));

    pub(super) struct Persistent<T>(pub(super) Cell<T>);

    // SAFETY: a guest has one thread.
    unsafe impl<T> Sync for Persistent<T> {}

    impl<T> Persistent<T> {
        #[inline]
        pub(super) fn cell(&self) -> &Cell<T> {
            &self.0
        }
    }

    pub(super) struct Exclusive<T>(pub(super) UnsafeCell<T>);

    // SAFETY: a guest has one thread.
    unsafe impl<T> Sync for Exclusive<T> {}

    impl<T> Exclusive<T> {
        #[inline]
        pub(super) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
            assert!(!LENT.0.replace(true), "an exclusive static is lent already");
            // SAFETY: `LENT` admits one loan at a time, and this is the only place that lends. A run that
            // ends inside the closure never comes back to the borrow; a panic is a trap.
            let result = f(unsafe { &mut *self.0.get() });
            LENT.0.set(false);
            result
        }
    }

    pub(super) fn leave_all() {
        // Writing makes the page dirty, which costs at the end of the call: only where it is needed.
        if LENT.0.get() {
            LENT.0.set(false);
        }
    }

    impl<T> super::Persistent<T> {
        #[doc(hidden)]
        pub const fn new(value: T) -> Self {
            Self(Persistent(Cell::new(value)))
        }
    }

    impl<T> super::Exclusive<T> {
        #[doc(hidden)]
        pub const fn new(value: T) -> Self {
            Self(Exclusive(UnsafeCell::new(value)))
        }
    }
}

#[cfg(not(target_os = "none"))]
mod imp {
    use core::cell::{Cell, RefCell};

    /// Finds this thread's copy.
    pub(super) struct Persistent<T: 'static>(fn() -> &'static Cell<T>);

    impl<T> Persistent<T> {
        pub(super) fn cell(&self) -> &Cell<T> {
            (self.0)()
        }
    }

    pub(super) struct Exclusive<T: 'static>(fn() -> &'static RefCell<T>);

    impl<T> Exclusive<T> {
        pub(super) fn with<R>(&self, f: impl FnOnce(&mut T) -> R) -> R {
            f(&mut (self.0)().try_borrow_mut().expect("an exclusive static is lent already"))
        }
    }

    pub(super) fn leave_all() {}

    impl<T> super::Persistent<T> {
        #[doc(hidden)]
        pub const fn new(copy: fn() -> &'static Cell<T>) -> Self {
            Self(Persistent(copy))
        }
    }

    impl<T> super::Exclusive<T> {
        #[doc(hidden)]
        pub const fn new(copy: fn() -> &'static RefCell<T>) -> Self {
            Self(Exclusive(copy))
        }
    }
}

/// Declares statics that last from call to call, each a [`Persistent`] (a `Cell`):
/// `persistent! { static COUNT: u64 = 0; }` gives `COUNT.get()` and `COUNT.set(…)`.
#[cfg(target_os = "none")]
#[macro_export]
macro_rules! persistent {
    ($($(#[$attribute:meta])* $vis:vis static $name:ident: $ty:ty = $value:expr;)*) => { $(
        $(#[$attribute])*
        $vis static $name: $crate::Persistent<$ty> = $crate::Persistent::<$ty>::new($value);
    )* };
}

/// Declares statics that last from call to call, each a [`Persistent`] (a `Cell`):
/// `persistent! { static COUNT: u64 = 0; }` gives `COUNT.get()` and `COUNT.set(…)`.
#[cfg(not(target_os = "none"))]
#[macro_export]
macro_rules! persistent {
    ($($(#[$attribute:meta])* $vis:vis static $name:ident: $ty:ty = $value:expr;)*) => { $(
        $(#[$attribute])*
        $vis static $name: $crate::Persistent<$ty> = $crate::Persistent::<$ty>::new(|| {
            $crate::__per_thread!(core::cell::Cell<$ty>, core::cell::Cell::<$ty>::new($value))
        });
    )* };
}

/// Declares statics that last from call to call, each an [`Exclusive`]:
/// `exclusive! { static TABLE: [u8; 4096] = [0; 4096]; }` gives `TABLE.with(|table| …)`.
#[cfg(target_os = "none")]
#[macro_export]
macro_rules! exclusive {
    ($($(#[$attribute:meta])* $vis:vis static $name:ident: $ty:ty = $value:expr;)*) => { $(
        $(#[$attribute])*
        $vis static $name: $crate::Exclusive<$ty> = $crate::Exclusive::<$ty>::new($value);
    )* };
}

/// Declares statics that last from call to call, each an [`Exclusive`]:
/// `exclusive! { static TABLE: [u8; 4096] = [0; 4096]; }` gives `TABLE.with(|table| …)`.
#[cfg(not(target_os = "none"))]
#[macro_export]
macro_rules! exclusive {
    ($($(#[$attribute:meta])* $vis:vis static $name:ident: $ty:ty = $value:expr;)*) => { $(
        $(#[$attribute])*
        $vis static $name: $crate::Exclusive<$ty> = $crate::Exclusive::<$ty>::new(|| {
            $crate::__per_thread!(core::cell::RefCell<$ty>, core::cell::RefCell::<$ty>::new($value))
        });
    )* };
}

/// A reference to this thread's copy of a value, made on first use. The copy outlives the thread, which is
/// what lets a static hand out plain references; tests are short.
#[cfg(not(target_os = "none"))]
#[macro_export]
#[doc(hidden)]
macro_rules! __per_thread {
    ($ty:ty, $value:expr) => {{
        $crate::std::thread_local! {
            static COPY: &'static $ty = $crate::std::boxed::Box::leak($crate::std::boxed::Box::new($value));
        }
        COPY.with(|copy| *copy)
    }};
}

#[cfg(test)]
mod tests {
    crate::persistent! {
        static COUNT: u64 = 5;
        static TABLE: [u8; 4] = [1, 2, 3, 4];
    }
    crate::exclusive! {
        static BUFFER: [u8; 8] = [0; 8];
    }

    #[test]
    fn a_static_keeps_its_value_and_a_thread_is_an_instance() {
        COUNT.set(COUNT.get() + 1);
        TABLE.cells()[2].set(9);
        BUFFER.with(|buffer| buffer[0] = 7);
        assert_eq!((COUNT.get(), TABLE.get(), BUFFER.with(|b| b[0])), (6, [1, 2, 9, 4], 7));
        std::thread::spawn(|| assert_eq!((COUNT.get(), BUFFER.with(|b| b[0])), (5, 0)))
            .join()
            .expect("the other thread has its own copies");
    }
}

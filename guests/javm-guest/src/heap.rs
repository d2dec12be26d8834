//! A heap for programs that ask for one. It lies in persistent memory: what is on it lasts from call to call.

#[cfg(target_os = "none")]
pub use picoalloc::{Allocator, Array, ArrayPointer, Mutex};

/// Gives the program a global allocator with a heap of so many bytes; once per program. Running out of it is
/// a fault. On the host the ordinary allocator serves.
#[cfg(target_os = "none")]
#[macro_export]
macro_rules! heap {
    ($bytes:expr) => {
        #[global_allocator]
        static mut HEAP: $crate::heap::Mutex<
            $crate::heap::Allocator<$crate::heap::ArrayPointer<{ $bytes }>>,
        > = {
            static mut MEMORY: $crate::heap::Array<{ $bytes }> = $crate::heap::Array([0; $bytes]);
            // SAFETY: the allocator alone has the address of this memory.
            let memory = unsafe { $crate::heap::ArrayPointer::new(&raw mut MEMORY) };
            $crate::heap::Mutex::new($crate::heap::Allocator::new(memory))
        };
    };
}

/// Gives the program a global allocator with a heap of so many bytes; once per program. Running out of it is
/// a fault. On the host the ordinary allocator serves.
#[cfg(not(target_os = "none"))]
#[macro_export]
macro_rules! heap {
    ($bytes:expr) => {
        const _: usize = $bytes;
    };
}

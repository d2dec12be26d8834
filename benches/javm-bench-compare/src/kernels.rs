//! The kernels: programs from `guests/blobs`, which exports are run, with what arguments, and the same
//! functions natively.
//!
//! Arguments are for native runs of 1 to 20 ms; `scale` stretches them. A cold run is a sixteenth of that,
//! so that compiling shows beside it.

use javm_program::Program;

/// How much shorter a cold run is.
const COLD: f64 = 1.0 / 16.0;

/// A program file.
#[derive(Debug)]
pub(crate) struct Subject {
    /// Its name.
    pub(crate) name: &'static str,
    /// The container.
    pub(crate) blob: Box<[u8]>,
    /// The same for WebAssembly engines.
    pub(crate) wasm: Box<[u8]>,
    /// Length of its code in bytes.
    pub(crate) code_len: usize,
}

/// An export of a program that is run.
pub(crate) struct Kernel {
    /// Its name, as options and tables have it.
    pub(crate) name: &'static str,
    /// Index into the subjects.
    pub(crate) subject: usize,
    /// The export.
    pub(crate) export: &'static str,
    /// The same natively.
    pub(crate) native: fn(&[u64]) -> u64,
    args: fn(u64) -> Vec<u64>,
    count: f64,
}

impl Kernel {
    /// The arguments of a warm run.
    pub(crate) fn warm_args(&self, scale: f64) -> Vec<u64> {
        (self.args)(((self.count * scale) as u64).max(1))
    }

    /// The arguments of a cold run.
    pub(crate) fn cold_args(&self, scale: f64) -> Vec<u64> {
        self.warm_args(scale * COLD)
    }
}

/// Declares the kernels of a program: name, export, native function over the arguments, arguments from a
/// count, and the count.
macro_rules! program {
    ($subjects:ident $kernels:ident $program:ident:
        $($name:literal = $export:literal |$args:ident| $native:expr, |$n:ident| [$($arg:expr),*], $count:literal;)*
    ) => {
        $($kernels.push(Kernel {
            name: $name,
            subject: $subjects.len(),
            export: $export,
            native: |$args| $native,
            args: |$n| vec![$($arg),*],
            count: $count as f64,
        });)*
        $subjects.push(Subject::new(
            stringify!($program),
            include_bytes!(concat!("../../../guests/blobs/", stringify!($program), ".polkavm")),
            include_bytes!(concat!("../../../guests/wasm/", stringify!($program), ".wasm")),
        ));
    };
}

impl Subject {
    fn new(name: &'static str, blob: &[u8], wasm: &[u8]) -> Self {
        // A blob that does not load is reported when an engine is asked to run it.
        let code_len = Program::load(blob).map_or(0, |program| program.code().len() as usize);
        Self { name, blob: blob.into(), wasm: wasm.into(), code_len }
    }
}

/// Every program and kernel.
pub(crate) fn all() -> (Vec<Subject>, Vec<Kernel>) {
    let (mut subjects, mut kernels) = (Vec::new(), Vec::new());
    program! { subjects kernels fib:
        "fib-iter" = "fib_iter@0" |a| fib::fib_iter(a[0]), |n| [n], 12_000_000;
        "fib-rec" = "fib_rec@1" |a| fib::fib_rec(a[0]), |n| [n.ilog2().into()], 536_870_912;
        "mix" = "mix@2" |a| fib::mix(a[0], a[1]), |n| [12_345, n], 1_500_000;
    }
    program! { subjects kernels sieve:
        "sieve" = "sieve@0" |a| sieve::sieve(a[0]), |n| [n.min(1 << 20)], 1_048_576;
    }
    program! { subjects kernels sort:
        "sort" = "sort@0" |a| sort::sort(a[0], a[1]), |n| [n.min(1 << 16), 7], 65_536;
        "heapsort" = "heapsort@1" |a| sort::heapsort(a[0], a[1]), |n| [n.min(1 << 16), 7], 65_536;
    }
    program! { subjects kernels matmul:
        "matmul" = "matmul@0" |a| matmul::matmul(a[0], a[1]), |n| [(n as f64).cbrt().min(128.0) as u64, 7], 2_097_152;
    }
    program! { subjects kernels hashes:
        "blake2b" = "blake2b@0" |a| hashes::blake2b(a[0], a[1]), |n| [4096, n], 800;
        "keccak256" = "keccak256@1" |a| hashes::keccak256(a[0], a[1]), |n| [4096, n], 400;
        "sha256" = "sha256@2" |a| hashes::sha256(a[0], a[1]), |n| [4096, n], 300;
    }
    program! { subjects kernels ed25519:
        "ed25519" = "verify@0" |a| ed25519::verify(a[0], a[1]), |n| [n, 0b10], 64;
    }
    program! { subjects kernels ecrecover:
        "ecrecover" = "recover@0" |a| ecrecover::recover(a[0], a[1]), |n| [n, 7], 12;
    }
    program! { subjects kernels minivm:
        "minivm-collatz" = "collatz@0" |a| minivm::collatz(a[0], a[1]), |n| [1, n], 3_000;
        "minivm-random" = "random_programs@1" |a| minivm::random_programs(a[0], a[1]), |n| [n, 7], 8_000;
    }
    program! { subjects kernels json:
        "json" = "json@0" |a| json::json(a[0], a[1]), |n| [n, 7], 160;
    }
    program! { subjects kernels hostcall:
        "hostcall-gas" = "gas@0" |a| hostcall::gas(a[0]), |n| [n], 100_000;
        "hostcall-kind" = "kind@1" |a| hostcall::kind(a[0]), |n| [n], 100_000;
    }
    program! { subjects kernels memops:
        "memcpy-64" = "copy@0" |a| memops::copy(a[0], a[1], a[2]), |n| [64, n, 7], 400_000;
        "memcpy-4k" = "copy@0" |a| memops::copy(a[0], a[1], a[2]), |n| [4096, n, 7], 12_000;
        "memcpy-256k" = "copy@0" |a| memops::copy(a[0], a[1], a[2]), |n| [262_144, n, 7], 250;
        "memset-64" = "fill@1" |a| memops::fill(a[0], a[1], a[2]), |n| [64, n, 7], 400_000;
        "memset-4k" = "fill@1" |a| memops::fill(a[0], a[1], a[2]), |n| [4096, n, 7], 12_000;
        "memset-256k" = "fill@1" |a| memops::fill(a[0], a[1], a[2]), |n| [262_144, n, 7], 250;
        "memcmp-4k" = "compare@2" |a| memops::compare(a[0], a[1], a[2]), |n| [4096, n, 7], 3_000;
    }
    (subjects, kernels)
}

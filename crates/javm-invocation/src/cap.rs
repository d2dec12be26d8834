//! [`Cap`]: the kinds of capabilities, and what each knows. What calling them does is in `dispatch.rs`.

use javm_exec::{Access, memory::Extent};

/// Names a VM: its place in the pool, and a serial number by which a later VM in that place is told from it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct VmId {
    /// Place in the pool; 0 is the first VM.
    pub index: u16,
    /// How many VMs had been made before it.
    pub serial: u64,
}

/// Pages. Each page of an invocation belongs to at most one of these.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct DataCap {
    /// Its pages, of those of the invocation.
    pub backing: Extent,
    /// Where its page 0 is, or would be, mapped: fixed by the first MAP.
    pub base_page: Option<u32>,
    /// How it is mapped: fixed by the first MAP.
    pub access: Option<Access>,
}

impl DataCap {
    /// Pages that were never mapped.
    #[must_use]
    pub const fn fresh(backing: Extent) -> Self {
        Self { backing, base_page: None, access: None }
    }
}

/// The right to run a VM, and to reach into its table while it does not run. A VM has one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct HandleCap {
    /// The VM.
    pub vm: VmId,
    /// The most gas that a call hands over.
    pub max_gas: Option<u64>,
}

/// The right to call a VM.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct CallableCap {
    /// The VM.
    pub vm: VmId,
    /// The most gas that a call hands over.
    pub max_gas: Option<u64>,
}

/// A capability.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Cap {
    /// Pages that nobody has yet. All copies draw on the same ones.
    Untyped,
    /// Pages of one owner.
    Data(DataCap),
    /// Code that VMs can be made of: its number in the invocation, from 0.
    Code(u8),
    /// A VM of one owner.
    Handle(HandleCap),
    /// A VM to call.
    Callable(CallableCap),
    /// Something that the embedder does: its id.
    Protocol(u8),
}

impl Cap {
    /// Whether COPY and CREATE may copy it.
    #[must_use]
    pub const fn is_copyable(&self) -> bool {
        !matches!(self, Self::Data(_) | Self::Handle(_))
    }

    /// The kind, as the specification spells it.
    #[must_use]
    pub const fn kind(&self) -> &'static str {
        match self {
            Self::Untyped => "UNTYPED",
            Self::Data(_) => "DATA",
            Self::Code(_) => "CODE",
            Self::Handle(_) => "HANDLE",
            Self::Callable(_) => "CALLABLE",
            Self::Protocol(_) => "PROTOCOL",
        }
    }
}

impl core::fmt::Display for Cap {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        f.write_str(self.kind())?;
        let ceiling = |f: &mut core::fmt::Formatter<'_>, vm: VmId, max: Option<u64>| {
            write!(f, " VM {}", vm.index)?;
            max.map_or(Ok(()), |max| write!(f, ", at most {max} gas"))
        };
        match self {
            Self::Untyped => Ok(()),
            Self::Code(n) => write!(f, " {n}"),
            Self::Protocol(id) => write!(f, " {id}"),
            Self::Handle(HandleCap { vm, max_gas }) | Self::Callable(CallableCap { vm, max_gas }) => {
                ceiling(f, *vm, *max_gas)
            }
            Self::Data(data) => {
                let count = data.backing.count;
                write!(f, " {count} page{}", if count == 1 { "" } else { "s" })?;
                if let Some(base) = data.base_page {
                    write!(f, " at page {base:#x}")?;
                }
                f.write_str(match data.access {
                    Some(Access::ReadOnly) => ", read-only",
                    Some(Access::ReadWrite) => ", read-write",
                    None => "",
                })
            }
        }
    }
}

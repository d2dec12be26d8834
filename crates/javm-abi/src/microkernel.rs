//! Numbers of the capability microkernel: references, operations, prices, results (`capability-kernel.md`).
//!
//! Two tables say what there is. [`for_each_kernel_op`](crate::for_each_kernel_op) has a row for each operation of
//! `ecall`; [`for_each_kernel_call`](crate::for_each_kernel_call) one for each thing that calling a capability
//! means. The dispatcher, the reference page and the tests that walk all operations are made from them. What the
//! operations do is `javm-invocation`'s.

/// Paid by every `ecall` and `ecalli`, whatever comes of it, and by a jump to the halt address.
pub const DISPATCH_GAS: u64 = 10;
/// Paid in addition by calling or resuming a VM.
pub const CALL_GAS: u64 = 10;
/// Paid in addition by RETYPE.
pub const RETYPE_GAS: u64 = 10;
/// Paid for each page that RETYPE makes, and for each page of data that a manifest asks for.
pub const PAGE_GAS: u64 = 1500;

/// φ7 of whoever asked for an operation that failed: `2^64 - 2`.
pub const WHAT: u64 = u64::MAX - 1;
/// φ7 of the caller of a VM that ran out of gas: `2^64 - 8`.
pub const LOW: u64 = u64::MAX - 7;
/// φ7 of the caller of a VM that panicked: `2^64 - 9`.
pub const HUH: u64 = u64::MAX - 8;

/// Slots of a capability table.
pub const SLOTS: usize = 256;
/// The slot that a passed capability arrives in. Calling it with `ecalli` is REPLY.
pub const IPC_SLOT: u8 = 0;
/// The slots that the first VM starts with a protocol capability in, each with the slot's number as its id.
pub const PROTOCOL_SLOTS: core::ops::RangeInclusive<u8> = 1..=28;
/// The slot that the first VM starts with the untyped memory in.
pub const UNTYPED_SLOT: u8 = 254;
/// How many VMs there can be at a time.
pub const MAX_VMS: usize = 65_535;
/// How many entries of code a manifest may have.
pub const MAX_CODES: usize = 5;

/// How a called or resumed VM ended: φ8 of its caller.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum CallStatus {
    /// It replied; φ7 is its φ7.
    Reply = 0,
    /// The `trap` instruction; φ7 is its φ7.
    Trap = 1,
    /// Another panic; φ7 is [`HUH`].
    Panic = 2,
    /// Its gas does not pay for a block or an operation; φ7 is [`LOW`].
    OutOfGas = 3,
    /// An access to a page that it may not access so; φ7 is the page's address.
    PageFault = 4,
}

impl CallStatus {
    /// The number that φ8 shows.
    #[must_use]
    pub const fn number(self) -> u64 {
        self as u64
    }
}

/// Names a slot, of the VM that asks or of one whose handle it holds: byte 0 is the slot; bytes 3, 2 and 1, in
/// this order, are slots of handles to go through, where 0 is none.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct CapRef(pub u32);

impl CapRef {
    /// A slot of the VM that asks.
    #[must_use]
    pub const fn local(slot: u8) -> Self {
        Self(slot as u32)
    }

    /// The same slot, in the VM whose handle is in slot `handle` of the VM that asks: what the reference meant
    /// there. `None` when it goes through three handles already. Through slot 0 is not through anything.
    #[must_use]
    pub const fn through(self, handle: u8) -> Option<Self> {
        match self.0.to_le_bytes() {
            [slot, 0, 0, 0] => Some(Self(u32::from_le_bytes([slot, handle, 0, 0]))),
            [slot, a, 0, 0] => Some(Self(u32::from_le_bytes([slot, a, handle, 0]))),
            [slot, a, b, 0] => Some(Self(u32::from_le_bytes([slot, a, b, handle]))),
            _ => None,
        }
    }

    /// The slot.
    #[must_use]
    pub const fn slot(self) -> u8 {
        self.0 as u8
    }

    /// The slots of handles, in the order in which they are gone through; 0 is skipped.
    #[must_use]
    pub const fn hops(self) -> [u8; 3] {
        let [_, a, b, c] = self.0.to_le_bytes();
        [c, b, a]
    }
}

/// What `ecalli` asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EcalliOp {
    /// Calls a capability; reference 0 is REPLY, whatever the slot holds.
    Call(CapRef),
}

/// What the `ecalli` with this immediate (its low 32 bits) asks for.
#[must_use]
pub const fn decode_ecalli(imm: u32) -> EcalliOp {
    EcalliOp::Call(CapRef(imm))
}

/// φ12 of an `ecall` on two references.
#[must_use]
pub const fn operands(subject: CapRef, object: CapRef) -> u64 {
    (subject.0 as u64) << 32 | object.0 as u64
}

/// A register that an operation reads, and what it holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct KernelOperand {
    /// Index of the register, 7..=12.
    pub register: u8,
    /// What it holds, in a word or two.
    pub name: &'static str,
}

/// Calls the macro `$m` with every operation of `ecall`:
/// `number Variant NAME subject object [register name, …] fixed per_page "effect";`.
/// The number is φ11. Subject and object are references in the high and the low half of φ12, `-` is none.
#[macro_export]
macro_rules! for_each_kernel_op {
    ($m:ident) => { $m! {
        0x00 Call CALL "any" "-" [] (DISPATCH_GAS) 0
            "calls the subject: what that means depends on its kind";
        0x02 Map MAP "DATA" "-" [7 "base page", 8 "first page", 9 "count", 10 "access: 0 read-only, 1 read-write"]
            (DISPATCH_GAS) 0
            "maps pages of the subject where its page 0 would be at the base page, in the VM that has it";
        0x03 Unmap UNMAP "DATA" "-" [7 "first page", 8 "count"] (DISPATCH_GAS) 0
            "unmaps pages of the subject, as far as there are any; contents, base and access stay";
        0x04 Split SPLIT "DATA" "empty slot" [7 "pages"] (DISPATCH_GAS) 0
            "leaves that many pages in the subject and puts the rest into the object; base and access are forgotten";
        0x05 Drop DROP "any" "-" [] (DISPATCH_GAS) 0
            "empties the slot; a VM goes with its handle, and with it the VMs whose handles it has";
        0x06 Move MOVE "any" "empty slot" [] (DISPATCH_GAS) 0
            "moves the subject to the object; DATA that goes to another VM is unmapped and its base forgotten";
        0x07 Copy COPY "any but DATA and HANDLE" "empty slot" [] (DISPATCH_GAS) 0
            "copies the subject to the object";
        0x0A Downgrade DOWNGRADE "HANDLE" "empty slot" [] (DISPATCH_GAS) 0
            "puts a CALLABLE of the subject's VM, with the ceiling of now, into the object";
        0x0B SetMaxGas SET_MAX_GAS "HANDLE" "-" [7 "ceiling"] (DISPATCH_GAS) 0
            "sets the most gas that a call through the subject hands over";
        0x0C Dirty DIRTY "DATA" "-" [7 "address", 8 "bytes"] (DISPATCH_GAS) 0
            "writes one bit per page, set for those written since the last DIRTY, least significant first; φ7 = how many";
        0x0D Resume RESUME "HANDLE in the own table" "-" [] (DISPATCH_GAS + CALL_GAS) 0
            "goes on with a faulted VM where it stands; ends as a call does";
    } };
}

/// Calls the macro `$m` with what calling a capability means, by its kind:
/// `Variant KIND NAME [register name, …] fixed per_page "effect";`.
#[macro_export]
macro_rules! for_each_kernel_call {
    ($m:ident) => { $m! {
        Reply "REPLY" REPLY [7 "value"] (DISPATCH_GAS) 0
            "ends the call that the VM is in; the caller gets φ7, φ8 = 0, what gas is left, and the capability it passed";
        Untyped "UNTYPED" RETYPE [7 "pages", 12 "destination"] (DISPATCH_GAS + RETYPE_GAS) PAGE_GAS
            "makes DATA of fresh zero pages in an empty slot; φ7 = the slot; pages are used up also when the slot will not do";
        Data "DATA" MEMCPY [7 "source offset", 8 "bytes", 9 "destination offset", 12 "destination DATA"] (DISPATCH_GAS) 0
            "copies bytes to another DATA, or inside one; φ7 = bytes";
        Code "CODE" CREATE [7 "mask of slots 0 to 63", 12 "destination"] (DISPATCH_GAS) 0
            "makes a VM that has copies of the selected capabilities of the table the CODE is in, as far as they can be \
             copied; its HANDLE goes into an empty slot; φ7 = the slot";
        Handle "HANDLE" CALL_VM [7 "first argument", 8 "second", 9 "third", 10 "fourth", 12 "slot to pass, 0 for none"]
            (DISPATCH_GAS + CALL_GAS) 0
            "runs an idle VM until it replies or faults; φ7 = value or detail, φ8 = status";
        Callable "CALLABLE" CALL_VM [7 "first argument", 8 "second", 9 "third", 10 "fourth", 12 "slot to pass, 0 for none"]
            (DISPATCH_GAS + CALL_GAS) 0
            "as through a HANDLE";
        Protocol "PROTOCOL" PROTOCOL_CALL [] (DISPATCH_GAS) 0
            "asks the embedder, who answers with φ7 and φ8";
    } };
}

macro_rules! define_ops {
    ($($number:literal $variant:ident $name:ident $subject:literal $object:literal
        [$($register:literal $operand:literal),*] ($fixed:expr) $per:tt $effect:literal;)*) => {
        /// What `ecall` asks for.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum EcallOp {
            $(#[doc = $effect] $variant,)*
            /// A number that is no operation: fails.
            Unknown,
        }

        /// What the `ecall` with this φ11 asks for. The high half is not looked at.
        #[must_use]
        pub const fn decode_ecall(op: u64) -> EcallOp {
            match op as u32 { $($number => EcallOp::$variant,)* _ => EcallOp::Unknown }
        }

        impl EcallOp {
            /// Every operation, in order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The number that selects the operation; `None` for [`EcallOp::Unknown`].
            #[must_use]
            pub const fn number(self) -> Option<u32> {
                match self { $(Self::$variant => Some($number),)* Self::Unknown => None }
            }

            /// The name in the specification, for example `SET_MAX_GAS`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($name),)* Self::Unknown => "?" }
            }

            /// What the reference in the high half of φ12 has to name; `-` where it is not looked at.
            #[must_use]
            pub const fn subject(self) -> &'static str {
                match self { $(Self::$variant => $subject,)* Self::Unknown => "-" }
            }

            /// What the reference in the low half of φ12 has to name; `-` where it is not looked at.
            #[must_use]
            pub const fn object(self) -> &'static str {
                match self { $(Self::$variant => $object,)* Self::Unknown => "-" }
            }

            /// Registers besides φ11 and φ12.
            #[must_use]
            pub const fn operands(self) -> &'static [KernelOperand] {
                match self {
                    $(Self::$variant => &[$(KernelOperand { register: $register, name: $operand }),*],)*
                    Self::Unknown => &[],
                }
            }

            /// Gas, and gas for each page; a CALL pays what the [`KernelCall`] says instead.
            #[must_use]
            pub const fn price(self) -> (u64, u64) {
                match self { $(Self::$variant => ($fixed, $per),)* Self::Unknown => (DISPATCH_GAS, 0) }
            }

            /// What the operation does, in one line.
            #[must_use]
            pub const fn effect(self) -> &'static str {
                match self { $(Self::$variant => $effect,)* Self::Unknown => "fails" }
            }
        }
    };
}
for_each_kernel_op!(define_ops);

macro_rules! define_calls {
    ($($variant:ident $kind:literal $name:ident [$($register:literal $operand:literal),*]
        ($fixed:expr) $per:tt $effect:literal;)*) => {
        /// What calling a capability means.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
        pub enum KernelCall {
            $(#[doc = $effect] $variant,)*
        }

        impl KernelCall {
            /// All of them.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The kind of capability that is called; `REPLY` is reference 0 of `ecalli`.
            #[must_use]
            pub const fn kind(self) -> &'static str {
                match self { $(Self::$variant => $kind,)* }
            }

            /// The name in the specification, for example `RETYPE`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($name),)* }
            }

            /// Registers that it reads.
            #[must_use]
            pub const fn operands(self) -> &'static [KernelOperand] {
                match self { $(Self::$variant => &[$(KernelOperand { register: $register, name: $operand }),*],)* }
            }

            /// Gas, and gas for each page.
            #[must_use]
            pub const fn price(self) -> (u64, u64) {
                match self { $(Self::$variant => ($fixed, $per),)* }
            }

            /// What it does, in one line.
            #[must_use]
            pub const fn effect(self) -> &'static str {
                match self { $(Self::$variant => $effect,)* }
            }
        }
    };
}
for_each_kernel_call!(define_calls);

impl EcallOp {
    /// The ways in which the operation can fail, besides a reference that leads nowhere; of a CALL they are the
    /// [`KernelCall`]'s.
    #[must_use]
    pub const fn failures(self) -> &'static [&'static str] {
        match self {
            Self::Call | Self::Unknown => &[],
            Self::Map => &[
                "the subject is no DATA",
                "the access is neither 0 nor 1",
                "the DATA has not these pages",
                "pages past the address space",
                "another base than before",
                "another access than before",
                "another capability has a page there",
            ],
            Self::Unmap => &["the subject is no DATA"],
            Self::Split => &[
                "the subject is no DATA",
                "a page is mapped",
                "no page, or all of them",
                "the object is not empty",
            ],
            Self::Drop => &["the VM, or one that it owns, is on the call stack"],
            Self::Move => &["the subject is empty", "the object is not empty"],
            Self::Copy => {
                &["the subject is empty", "the subject cannot be copied", "the object is not empty"]
            }
            Self::Downgrade => &["the subject is no HANDLE", "the object is not empty"],
            Self::SetMaxGas => &["the subject is no HANDLE"],
            Self::Dirty => {
                &["the subject is no DATA", "the bitmap has more bytes", "the bitmap cannot be written there"]
            }
            Self::Resume => &[
                "the subject is no HANDLE",
                "the HANDLE is in the table of another VM",
                "the VM has not faulted",
            ],
        }
    }
}

impl KernelCall {
    /// The ways in which the call can fail, besides a reference that leads nowhere.
    #[must_use]
    pub const fn failures(self) -> &'static [&'static str] {
        match self {
            Self::Reply | Self::Protocol => &[],
            Self::Untyped => &[
                "there are not so many pages",
                "the destination leads nowhere",
                "the destination is not empty",
            ],
            Self::Data => &[
                "no bytes",
                "the destination is no DATA",
                "the source has not these bytes",
                "the destination has not these bytes",
            ],
            Self::Code => {
                &["there are 65,535 VMs", "the destination leads nowhere", "the destination is not empty"]
            }
            Self::Handle | Self::Callable => &[
                "there is no such VM",
                "the VM is not idle",
                "what the passed capability takes the place of cannot be dropped",
            ],
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_those_of_the_specification() {
        let numbers: [u32; 11] = [0, 2, 3, 4, 5, 6, 7, 0xA, 0xB, 0xC, 0xD];
        assert!(EcallOp::ALL.iter().map(|op| op.number()).eq(numbers.map(Some)));
        for n in 0..=0xFFu64 {
            let op = decode_ecall(n);
            assert_eq!(op.number().unwrap_or(n as u32), n as u32);
            assert_eq!(op == EcallOp::Unknown, !numbers.contains(&(n as u32)));
            assert_eq!(decode_ecall(n | 1 << 40), op);
        }
    }

    #[test]
    fn prices_are_those_of_the_specification() {
        assert!(
            EcallOp::ALL.iter().all(|op| op.price() == (if *op == EcallOp::Resume { 20 } else { 10 }, 0))
        );
        let price = |call: KernelCall| call.price();
        assert_eq!(price(KernelCall::Untyped), (20, 1500));
        assert_eq!(price(KernelCall::Handle), (20, 0));
        assert_eq!(price(KernelCall::Callable), (20, 0));
        for call in [KernelCall::Reply, KernelCall::Data, KernelCall::Code, KernelCall::Protocol] {
            assert_eq!(price(call), (10, 0));
        }
    }

    #[test]
    fn references_are_walked_from_the_outside() {
        let inner = CapRef::local(5).through(66).unwrap();
        assert_eq!(inner, CapRef(66 << 8 | 5));
        let deepest = inner.through(67).unwrap().through(68).unwrap();
        assert_eq!((deepest.slot(), deepest.hops()), (5, [68, 67, 66]));
        assert_eq!(deepest.through(69), None);
        assert_eq!(CapRef(0x0042_0005).hops(), [0, 0x42, 0]);
        assert_eq!(decode_ecalli(0x0042_0005), EcalliOp::Call(CapRef(0x0042_0005)));
        assert_eq!(operands(CapRef(66), CapRef(67)), 67 + (66 << 32));
    }
}

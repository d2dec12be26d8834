//! The table of guest operations: capability machine, section 7.
//!
//! `ecalli imm` selects an operation by its immediate, `ecall` by φ11. One row here gives number, name,
//! operands and price; [`GuestOp`], the dispatcher, the SDK's wrappers and the reference page come from
//! it. Numbers from [`FIRST_USER_OP`] on belong to the chain that embeds the machine.
//!
//! **Hashing is paid where a value is made or changed**, not where it is named: a page when it is committed,
//! bytes when they are minted, a cnode when a slot of it is written. What an operation costs therefore
//! depends on its operands alone, and not on whether a value happens to have its name already, which a pause
//! that goes through a store would change.

/// The first operation number that the embedder defines.
pub const FIRST_USER_OP: u32 = 64;

/// What a chain-defined operation (64 and up) costs before the embedder adds its own price.
pub const USER_OP_PRICE: Price = Price { fixed: 100, per_unit: 0, unit: Unit::None };

/// What the price of an operation counts beyond its fixed part.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum Unit {
    /// Nothing: the price is fixed.
    None,
    /// Each started 64 bytes that are copied between memory and a value.
    Chunk,
    /// Each byte of an image's encoding: decoded, validated, priced and compiled once.
    CodeByte,
    /// Each page that the instance wrote and that the operation commits; where a halt leaves a call paused,
    /// also each instance of that call, each page that it has written, and each four of its events.
    DirtyPage,
    /// Each instance of a paused value that is put back, each page that it has kept, and each four of its events;
    /// nothing where the call is still on the stack.
    Kept,
    /// Each step below the root of a slot path that is written: a cnode on the way is named anew.
    Step,
    /// Each memory mapping that is laid out.
    Mapping,
    /// Each entry of a list that the operation reads from memory.
    Item,
}

impl Unit {
    /// What one unit is, in a few words, for reference tables.
    #[must_use]
    pub const fn describe(self) -> &'static str {
        match self {
            Self::None => "",
            Self::Chunk => "started 64 bytes copied",
            Self::CodeByte => "byte of the encoding",
            Self::DirtyPage => "dirty page committed",
            Self::Kept => "instance or page of a paused value",
            Self::Step => "step of a path written",
            Self::Mapping => "mapping laid out",
            Self::Item => "entry read",
        }
    }
}

/// The price of an operation in gas: `fixed + per_unit * units`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Price {
    /// Charged whenever the operation is asked for, also when it is then refused.
    pub fixed: u64,
    /// Charged for each [`Unit`] that the operation moves or hashes.
    pub per_unit: u64,
    /// What is counted.
    pub unit: Unit,
}

impl Price {
    /// The price of `units` units, saturating.
    #[must_use]
    pub const fn of(self, units: u64) -> u64 {
        self.fixed.saturating_add(self.per_unit.saturating_mul(units))
    }
}

/// What an operand register holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum OperandKind {
    /// A slot path that is read.
    Src,
    /// A slot path that is overwritten.
    Dst,
    /// A slot path that is read and may change (moved from, exchanged, called).
    Place,
    /// A slot path, or `2^64 - 1` for "none" or "the default".
    OptionalSrc,
    /// An address in the caller's memory.
    Address,
    /// A number of bytes.
    Length,
    /// A plain number.
    Number,
}

/// One operand: the register that carries it and what it means.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Operand {
    /// Index of the register, 7..=12.
    pub register: u8,
    /// Name, as the reference and `last_fault` print it.
    pub name: &'static str,
    /// What the register holds.
    pub kind: OperandKind,
}

/// Calls the macro `$m` with every row of the table:
/// `number Variant NAME [register name Kind, …] fixed per_unit Unit "effect";`.
#[macro_export]
macro_rules! for_each_guest_op {
    ($m:ident) => { $m! {
        0 Reply REPLY [7 value Number] 100 6000 DirtyPage
            "halts with the value; dirty pages of persistent mappings are committed";
        1 MgmtCopy MGMT_COPY [7 src Src, 8 dst Dst] 300 2000 Step
            "dst names the same value as src";
        2 MgmtMove MGMT_MOVE [7 src Place, 8 dst Dst] 300 2000 Step
            "dst gets the value of src; src becomes empty";
        3 MgmtDrop MGMT_DROP [7 src Place] 200 2000 Step
            "empties the slot";
        4 MgmtCnodeSwap MGMT_CNODE_SWAP [7 a Place, 8 b Place] 300 2000 Step
            "exchanges two slots, of which either may be empty";
        5 MgmtCnodeMint MGMT_CNODE_MINT [7 dst Dst, 8 k Number] 500 2000 Step
            "dst = a fresh empty cnode of 2^k slots";
        6 MgmtKind MGMT_KIND [7 src Src] 40 0 None
            "φ7 = 0 empty, 1 Instance, 2 Image, 3 Data, 4 CNode, 5 Type";
        16 HostYield HOST_YIELD [7 marker Src] 2000 0 None
            "pauses at the nearest instance that catches the marker; φ8 = 0 on resume";
        17 SetImage SET_IMAGE [7 image Src, 8 mode Number, 9 arg0 Number, 10 arg1 Number, 11 arg2 Number, 12 arg3 Number]
            2000 6000 DirtyPage
            "goes on in another image; the lineage is extended by it";
        18 DeriveSpawn DERIVE_SPAWN [7 image Src, 8 cnode Place, 9 dst Dst] 2000 0 None
            "dst = a new instance of the image over the cnode's slots; its lineage extends the caller's";
        19 MakeImage MAKE_IMAGE [7 data Src, 8 dst Dst, 9 caps OptionalSrc] 2000 30 CodeByte
            "validates an encoded image whose slots come from a cnode; dst = the image";
        20 HostSameType HOST_SAME_TYPE [7 a Src, 8 b Src] 80 0 None
            "φ7 = 1 if the lineages of two instances or types are equal";
        21 HostTypeOf HOST_TYPE_OF [7 instance Src, 8 dst Dst] 100 0 None
            "dst = the instance's type";
        22 HostReadDataCap HOST_READ_DATA_CAP [7 src Src, 8 address Address, 9 length Length, 10 offset Number] 100 8 Chunk
            "copies bytes of a Data into memory, zero-fills the rest; φ7 = bytes that came from the Data";
        23 HostMintDataCap HOST_MINT_DATA_CAP [7 address Address, 8 length Length, 9 quota OptionalSrc, 10 dst Dst] 200 160 Chunk
            "dst = a Data of these bytes, trailing zeros stripped";
        24 HostOpen HOST_OPEN [7 file Number, 8 dst Dst, 9 handle Src] 500 0 None
            "dst = the Data of a file";
        25 HostSave HOST_SAVE [7 data Src, 8 quota OptionalSrc, 9 handle Src] 2000 0 None
            "saves a Data as a file, debiting its stripped size; φ7 = file id";
        26 HostCall HOST_CALL [7 instance Place, 8 endpoint Number, 9 arg0 Number, 10 arg1 Number, 11 arg2 Number, 12 arg3 Number]
            1500 60 Mapping
            "calls an instance; φ7 = value, φ8 = status";
        27 CallResume CALL_RESUME [7 target Place] 2000 3000 Kept
            "goes on with a paused call; returns as HOST_CALL does";
        28 DropPaused DROP_PAUSED [7 target Place] 500 0 None
            "discards a paused call; the slot gets its value from before the call";
        29 HostSubtype HOST_SUBTYPE [7 ty Src, 8 address Address, 9 count Number, 10 dst Dst] 200 400 Item
            "dst = the type whose lineage is extended by each of the listed images";
        30 HostTypeEq HOST_TYPE_EQ [7 a Src, 8 b Src] 80 0 None
            "φ7 = 1 if two types are equal";
        31 HostSameTypeAs HOST_SAME_TYPE_AS [7 comparer Src, 8 comparee Src, 9 address Address, 10 count Number] 200 400 Item
            "φ7 = 1 if the lineages are equal after folding the listed images over the comparer's";
        32 HostDataSize HOST_DATA_SIZE [7 data Src] 60 0 None
            "φ7 = stripped size of a Data in bytes";
        33 Emit EMIT [7 payload Src, 8 on_failure OptionalSrc] 200 0 None
            "appends an event to the outcome; committed on HALT, gone on a fault";
        34 GasLeft GAS_LEFT [] 40 0 None
            "φ7 = gas left in the meter that pays";
    } };
}

macro_rules! define_ops {
    ($($number:literal $variant:ident $name:ident [$($register:literal $operand:ident $kind:ident),*]
        $fixed:literal $per:literal $unit:ident $effect:literal;)*) => {
        /// A guest operation of the capability machine.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u32)]
        #[non_exhaustive]
        pub enum GuestOp {
            $(#[doc = $effect] $variant = $number,)*
        }

        impl GuestOp {
            /// Every operation, in order of its number.
            pub const ALL: &'static [Self] = &[$(Self::$variant),*];

            /// The operation with this number; `None` for a number that is in no row.
            #[must_use]
            pub const fn from_number(n: u64) -> Option<Self> {
                match n { $($number => Some(Self::$variant),)* _ => None }
            }

            /// The name in the specification, for example `HOST_CALL`.
            #[must_use]
            pub const fn name(self) -> &'static str {
                match self { $(Self::$variant => stringify!($name),)* }
            }

            /// The operands, in order of their registers.
            #[must_use]
            pub const fn operands(self) -> &'static [Operand] {
                match self { $(Self::$variant => &[$(Operand {
                    register: $register, name: stringify!($operand), kind: OperandKind::$kind,
                }),*],)* }
            }

            /// What the operation costs.
            #[must_use]
            pub const fn price(self) -> Price {
                match self { $(Self::$variant => Price { fixed: $fixed, per_unit: $per, unit: Unit::$unit },)* }
            }

            /// What the operation does, in one line.
            #[must_use]
            pub const fn effect(self) -> &'static str {
                match self { $(Self::$variant => $effect,)* }
            }
        }

        /// The numbers by their names in the specification: `number::HOST_CALL == 26`.
        pub mod number {
            $(#[doc = $effect] pub const $name: u32 = $number;)*
        }
    };
}
for_each_guest_op!(define_ops);

impl GuestOp {
    /// The number that selects the operation.
    #[must_use]
    pub const fn number(self) -> u32 {
        self as u32
    }

    /// The operation with this name, as an import of a program spells it (`HOST_CALL`, or `host_call`).
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        Self::ALL.iter().copied().find(|op| op.name().eq_ignore_ascii_case(name))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ascend_and_names_resolve() {
        assert!(GuestOp::ALL.windows(2).all(|w| w[0] < w[1]));
        for op in GuestOp::ALL {
            assert_eq!(GuestOp::from_number(u64::from(op.number())), Some(*op));
            assert_eq!(GuestOp::from_name(op.name()), Some(*op));
            assert!(op.operands().iter().enumerate().all(|(i, o)| usize::from(o.register) == 7 + i));
            assert!(op.number() < FIRST_USER_OP && op.price().fixed > 0);
        }
        assert_eq!(number::HOST_CALL, 26);
        assert_eq!(GuestOp::from_number(7), None);
    }
}

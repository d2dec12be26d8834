//! [`Builder`]: programs put together instruction by instruction, with labels.

use javm_isa::{Code, CodeError, Instruction, Op, Reg};

use crate::spell::{self, Spelling};

/// A place in a program that is being built.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Label(usize);

/// A program that is being built.
#[derive(Clone, Debug, Default)]
pub struct Builder {
    bytes: Vec<u8>,
    starts: Vec<u32>,
    /// Where each label is; `None` until it is placed.
    labels: Vec<Option<u32>>,
    /// Offsets that are still to be written.
    uses: Vec<Use>,
    jump_table: Vec<Entry>,
    ends_block: bool,
}

/// Bytes that hold the distance from `pc` to a label.
#[derive(Clone, Debug)]
struct Use {
    pc: u32,
    at: usize,
    width: usize,
    label: Label,
}

#[derive(Clone, Debug)]
enum Entry {
    Label(Label),
    Offset(u32),
}

impl Builder {
    /// An empty program.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Code offset of the next instruction.
    #[must_use]
    pub fn pc(&self) -> u32 {
        self.bytes.len() as u32
    }

    /// Whether the last instruction ended a basic block; true of an empty program, whose first instruction
    /// starts one.
    #[must_use]
    pub fn at_block_start(&self) -> bool {
        self.starts.is_empty() || self.ends_block
    }

    /// The offset of some instruction that starts no basic block, if there is one.
    #[must_use]
    pub fn instruction_starts(&self) -> &[u32] {
        &self.starts
    }

    /// A label that is not placed yet.
    pub fn label(&mut self) -> Label {
        self.labels.push(None);
        Label(self.labels.len() - 1)
    }

    /// Places a label at the next instruction.
    pub fn place(&mut self, label: Label) {
        self.labels[label.0] = Some(self.pc());
    }

    /// Places a label at the next instruction, which starts a basic block: with a `fallthrough` before it
    /// where that is needed.
    pub fn place_block(&mut self, label: Label) {
        if !self.at_block_start() {
            self.push(&Instruction::new(Op::Fallthrough));
        }
        self.place(label);
    }

    /// A label at the next instruction.
    pub fn here(&mut self) -> Label {
        let label = self.label();
        self.place(label);
        label
    }

    /// Adds an instruction in its shortest form; a target is the absolute offset that it says.
    pub fn push(&mut self, instruction: &Instruction) {
        let pc = self.pc();
        self.raw(instruction.encode(pc).as_slice());
    }

    /// Adds an instruction whose bytes are given; the first must be an opcode.
    pub fn raw(&mut self, bytes: &[u8]) {
        self.starts.push(self.pc());
        self.ends_block = bytes.first().and_then(|b| Op::from_opcode(*b)).is_some_and(Op::is_terminator);
        self.bytes.extend_from_slice(bytes);
    }

    /// Adds a jump or branch to a label, the offset in 4 bytes.
    pub fn jump(&mut self, instruction: &Instruction, label: Label) {
        self.spelled(&spell::plain(instruction), Some(label));
    }

    /// Adds a spelled instruction. Where it has an offset that goes to a label, the offset is written when
    /// the program is finished.
    pub fn spelled(&mut self, spelling: &Spelling, label: Option<Label>) {
        let pc = self.pc();
        if let (Some((at, width)), Some(label)) = (spelling.offset, label) {
            self.uses.push(Use { pc, at: pc as usize + at, width, label });
        }
        self.raw(&spelling.bytes);
    }

    /// Adds an entry to the jump table; gives the address that a dynamic jump reaches it by.
    pub fn table_entry(&mut self, label: Label) -> u32 {
        self.jump_table.push(Entry::Label(label));
        self.jump_table.len() as u32 * 2
    }

    /// Adds an entry with a code offset that may be any.
    pub fn table_offset(&mut self, offset: u32) -> u32 {
        self.jump_table.push(Entry::Offset(offset));
        self.jump_table.len() as u32 * 2
    }

    /// The program. A label that was never placed is offset 0.
    ///
    /// # Errors
    /// [`CodeError`] where the bytes given are no program.
    ///
    /// # Panics
    /// Where a label is too far away for the bytes that its offset has.
    pub fn code(mut self) -> Result<Code, CodeError> {
        let place = |labels: &[Option<u32>], label: Label| labels[label.0].unwrap_or(0);
        for Use { pc, at, width, label } in &self.uses {
            let distance = i64::from(place(&self.labels, *label)) - i64::from(*pc);
            let bits = 8 * *width as u32 - 1;
            assert!((-1 << bits..1 << bits).contains(&distance), "{distance} does not fit {width} bytes");
            self.bytes[*at..at + width].copy_from_slice(&distance.to_le_bytes()[..*width]);
        }
        let mut mask = vec![0; self.bytes.len().div_ceil(8)];
        for start in &self.starts {
            mask[*start as usize / 8] |= 1 << (start % 8);
        }
        let table: Vec<u32> = self
            .jump_table
            .iter()
            .map(|entry| match entry {
                Entry::Label(label) => place(&self.labels, *label),
                Entry::Offset(offset) => *offset,
            })
            .collect();
        Code::new(&self.bytes, &mask, &table)
    }
}

/// An instruction with its operands in the order of its text form, registers by number: for example
/// `instr(Op::AddImm64, &[7, 8, -1])` is `add_imm_64 a0, a1, -1`. A target is an absolute code offset.
///
/// # Panics
/// Where the number of operands is wrong or a register has no such number.
#[must_use]
pub fn instr(op: Op, operands: &[i64]) -> Instruction {
    use javm_isa::shape::OperandRole::{A, B, D, Target, X, Y};
    let roles = op.shape().operands();
    assert_eq!(roles.len(), operands.len(), "{op} has {} operands", roles.len());
    let mut i = Instruction::new(op);
    let reg = |n: i64| {
        usize::try_from(n).ok().and_then(Reg::from_index).unwrap_or_else(|| panic!("{op}: no register {n}"))
    };
    for (role, operand) in roles.iter().zip(operands) {
        match role {
            A => i.a = reg(*operand),
            B => i.b = reg(*operand),
            D => i.d = reg(*operand),
            X => i.x = *operand as u64,
            Y | Target => i.y = *operand as u64,
        }
    }
    i
}

/// A program of these instructions in their shortest forms.
///
/// # Panics
/// Where there are none.
#[must_use]
pub fn code(instructions: &[Instruction]) -> Code {
    let mut builder = Builder::new();
    for instruction in instructions {
        builder.push(instruction);
    }
    match builder.code() {
        Ok(code) => code,
        Err(error) => panic!("{error}"),
    }
}

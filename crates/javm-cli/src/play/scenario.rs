//! The format of scenarios: TOML, described in `docs/cli.md`.

use std::collections::BTreeMap;

use serde::Deserialize;

use crate::{error::CliError, options::required_number};

/// A story.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Scenario {
    pub(super) title: String,
    #[serde(default)]
    pub(super) about: String,
    /// The gas of a call that does not say.
    #[serde(default = "default_gas")]
    pub(super) gas: Number,
    /// Program files by the names that steps use; paths are relative to the scenario.
    pub(super) programs: BTreeMap<String, String>,
    #[serde(rename = "step")]
    pub(super) steps: Vec<Step>,
}

const fn default_gas() -> Number {
    Number::Integer(10_000_000)
}

/// One thing that is done.
#[derive(Debug, Deserialize)]
#[serde(tag = "do", rename_all = "kebab-case", deny_unknown_fields)]
pub(super) enum Step {
    /// Prints text.
    Say { text: String },
    /// Makes the first instance of a program.
    Instance {
        name: String,
        program: String,
        #[serde(default)]
        slots: BTreeMap<String, Value>,
    },
    /// Fills or empties a slot of an instance, as its owner can.
    Put { instance: String, slot: String, value: Value },
    /// Calls an instance; at a halt its name stands for the new value.
    Call(Box<Call>),
    /// Gives the value of an instance, or of an instance in its slot (`NAME/SLOT`), another name.
    Snapshot { of: String, name: String },
    /// Makes a name stand for the value of another again.
    Revert { instance: String, to: String },
    /// Two names must stand for one value.
    Same { a: String, b: String },
    /// Two names must stand for different values.
    Different { a: String, b: String },
    /// Prints what an instance holds.
    Show { instance: String },
}

/// A call.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Call {
    pub(super) instance: String,
    pub(super) endpoint: Endpoint,
    #[serde(default)]
    pub(super) args: Vec<Number>,
    /// What the call finds in slot 0.
    pub(super) input: Option<Value>,
    pub(super) gas: Option<Number>,
    #[serde(default)]
    pub(super) expect: Expect,
    /// A remark that is printed with the result.
    pub(super) note: Option<String>,
}

/// An endpoint: a name or an index.
#[derive(Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Endpoint {
    Index(u8),
    Name(String),
}

impl core::fmt::Display for Endpoint {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        match self {
            Self::Index(index) => write!(f, "{index}"),
            Self::Name(name) => f.write_str(name),
        }
    }
}

/// A number: an integer of TOML, or a string for what does not fit one.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
pub(super) enum Number {
    Integer(i64),
    Text(String),
}

impl Number {
    pub(super) fn value(&self) -> Result<u64, CliError> {
        match self {
            Self::Integer(n) => Ok(*n as u64),
            Self::Text(text) => required_number(text),
        }
    }
}

/// What goes into a slot.
#[derive(Clone, Debug, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(super) enum Value {
    /// The value of a name.
    Instance(String),
    /// A Data of this text.
    Text(String),
    /// A Data of these bytes, in hexadecimal digits.
    Hex(String),
    /// A Data of the file's contents.
    File(String),
    /// An empty cnode of 2^k slots.
    Cnode(u8),
    /// Nothing; the flag must be true.
    Empty(bool),
}

/// What a call must show. Without anything it must halt.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Expect {
    /// The value it halts with.
    pub(super) value: Option<Number>,
    /// The code of the fault that ends it; without, it must halt.
    pub(super) fault: Option<String>,
    /// The code of a fault below it, which a caller handled. Without, there must be none.
    pub(super) handled: Option<String>,
    /// The Data that it leaves in slot 0.
    pub(super) output: Option<Value>,
    /// Whether the instance is another value afterwards.
    pub(super) changed: Option<bool>,
    /// The instance is then the value that this name stands for.
    pub(super) same_as: Option<String>,
}

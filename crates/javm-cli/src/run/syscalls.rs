//! `--syscalls`: a host that is a script, or whoever sits at standard input.
//!
//! Each syscall is printed with its arguments; a script, or the lines that are read, say what lies in memory, what
//! to write there, and what the syscall returns. A syscall without an answer ends the run.

use std::{
    collections::BTreeMap,
    io::{self, BufRead, IsTerminal, Write},
    path::Path,
};

use javm_abi::reg;
use javm_exec::{EcallHandler, EcallKind, EcallResult, GasCounter, Mem, Regs};
use javm_program::Import;
use serde::{Deserialize, Serialize};

use crate::{
    error::CliError,
    load,
    options::number,
    show::{clean, hex_bytes},
};

/// How many syscalls a report lists; all are printed.
const LISTED: usize = 1000;

/// The most bytes of memory that are shown at once.
const SHOWN: u64 = 4096;

/// A syscall, as the report has it.
#[derive(Debug, Serialize)]
pub(super) struct Seen {
    symbol: String,
    arguments: [u64; 6],
    /// Nothing where the run ended.
    returned: Option<u64>,
}

/// A number of a script: as it is, or as the command line has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Number {
    Plain(i64),
    Text(String),
}

#[derive(Clone, Debug, Deserialize)]
#[serde(untagged)]
enum Returns {
    Always(Number),
    InTurn(Vec<Number>),
}

/// What a script says of a symbol.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Entry {
    /// φ7 afterwards, 0 by default; of a list one each time, the last one again and again.
    returns: Option<Returns>,
    /// The register that holds the address of what is shown or written; a0 by default.
    at: Option<String>,
    /// How many bytes to show: a number, or the register that has it.
    show: Option<Number>,
    /// Bytes to write, in hexadecimal.
    write: Option<String>,
    /// Bytes to write, as text.
    text: Option<String>,
    /// The call ends here.
    #[serde(default)]
    stop: bool,
}

/// One thing to do about a syscall.
#[derive(Clone, Debug, PartialEq, Eq)]
enum Step {
    Show(usize, Length),
    Write(usize, Vec<u8>),
    Return(u64),
    Stop,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Length {
    Bytes(u64),
    Register(usize),
}

/// What is done each time, and what is returned in turn.
#[derive(Clone, Debug)]
struct Answer {
    steps: Vec<Step>,
    returns: Vec<u64>,
    position: usize,
}

enum Answers {
    Script(BTreeMap<String, Answer>),
    /// Lines of standard input; whether somebody types them.
    Lines(bool),
}

/// The host.
pub(super) struct Syscalls {
    imports: Vec<Import>,
    answers: Answers,
    /// Standard output is one JSON object, so that syscalls are printed elsewhere.
    json: bool,
    pub(super) seen: Vec<Seen>,
    pub(super) count: u64,
    pub(super) error: Option<CliError>,
}

/// The index of a register `a0` to `a5`.
fn register(name: &str) -> Result<usize, &'static str> {
    let names = ["a0", "a1", "a2", "a3", "a4", "a5"];
    let found = names.iter().position(|n| *n == name);
    found.map(|n| reg::A0 + n).ok_or("registers are a0 to a5")
}

fn bytes_of(hex: &str) -> Result<Vec<u8>, &'static str> {
    const USAGE: &str = "bytes are pairs of hexadecimal digits";
    let digits: Vec<u8> = hex.bytes().filter(|b| !b.is_ascii_whitespace() && *b != b'_').collect();
    if !digits.len().is_multiple_of(2) {
        return Err(USAGE);
    }
    let value = |digit: u8| (digit as char).to_digit(16).ok_or(USAGE);
    digits.chunks(2).map(|pair| Ok((value(pair[0])? << 4 | value(pair[1])?) as u8)).collect()
}

fn value_of(text: &Number) -> Result<u64, &'static str> {
    match text {
        Number::Plain(n) => Ok(*n as u64),
        Number::Text(text) => number(text).ok_or("a number is decimal, 0x…, or negative"),
    }
}

impl Entry {
    fn answer(&self) -> Result<Answer, &'static str> {
        let at = register(self.at.as_deref().unwrap_or("a0"))?;
        let mut steps = Vec::new();
        match &self.show {
            Some(Number::Text(name)) if name.starts_with('a') => {
                steps.push(Step::Show(at, Length::Register(register(name)?)));
            }
            Some(len) => steps.push(Step::Show(at, Length::Bytes(value_of(len)?))),
            None => {}
        }
        match (&self.write, &self.text) {
            (Some(_), Some(_)) => return Err("`write` and `text` are the same thing: say one of them"),
            (Some(hex), None) => steps.push(Step::Write(at, bytes_of(hex)?)),
            (None, Some(text)) => steps.push(Step::Write(at, text.as_bytes().to_vec())),
            (None, None) => {}
        }
        if self.stop {
            steps.push(Step::Stop);
        }
        let returns = match &self.returns {
            None => vec![0],
            Some(Returns::Always(value)) => vec![value_of(value)?],
            Some(Returns::InTurn(values)) => values.iter().map(value_of).collect::<Result<_, _>>()?,
        };
        if returns.is_empty() {
            return Err("`returns` is an empty list");
        }
        Ok(Answer { steps, returns, position: 0 })
    }
}

impl Answer {
    fn next(&mut self) -> Vec<Step> {
        let value = self.returns.get(self.position).or(self.returns.last()).copied().unwrap_or(0);
        self.position += 1;
        self.steps.iter().cloned().chain([Step::Return(value)]).collect()
    }
}

/// A line: a number to return, `show a0 16`, `write a0 0102ff`, `text a0 hello`, `stop`.
fn step_of(line: &str) -> Result<Step, &'static str> {
    const USAGE: &str = "say a number to return, `show a0 16`, `write a0 0102ff`, `text a0 hello` or `stop`";
    let (word, rest) = line.split_once(' ').unwrap_or((line, ""));
    let place = || {
        let (at, what) = rest.trim_start().split_once(' ').ok_or(USAGE)?;
        Ok::<_, &'static str>((register(at)?, what.trim_start()))
    };
    match word {
        "show" => {
            let (at, len) = place()?;
            let len =
                register(len).map(Length::Register).or_else(|_| number(len).map(Length::Bytes).ok_or(USAGE));
            Ok(Step::Show(at, len?))
        }
        "write" => place().and_then(|(at, hex)| Ok(Step::Write(at, bytes_of(hex)?))),
        "text" => place().map(|(at, text)| Step::Write(at, text.as_bytes().to_vec())),
        "stop" => Ok(Step::Stop),
        _ => number(line).map(Step::Return).ok_or(USAGE),
    }
}

impl Syscalls {
    /// A host from a script in TOML, or `-` for standard input.
    pub(super) fn new(script: &Path, imports: &[Import], json: bool) -> Result<Self, CliError> {
        let answers = if script == Path::new("-") {
            Answers::Lines(io::stdin().is_terminal())
        } else {
            let text = String::from_utf8(load::bytes(script)?)
                .map_err(|_| CliError::NotText { path: script.to_owned() })?;
            let name = load::path_name(script);
            let entries: BTreeMap<String, Entry> = toml::from_str(&text)
                .map_err(|source| CliError::Scenario { name: name.clone(), source: Box::new(source) })?;
            let answer = |(symbol, entry): (String, Entry)| match entry.answer() {
                Ok(answer) => Ok((symbol, answer)),
                Err(reason) => Err(CliError::Answer { symbol: clean(&symbol), reason }),
            };
            Answers::Script(entries.into_iter().map(answer).collect::<Result<_, _>>()?)
        };
        Ok(Self { imports: imports.to_vec(), answers, json, seen: Vec::new(), count: 0, error: None })
    }

    /// Prints a line for whoever explores.
    fn print(&self, line: &str) {
        // A reader that has gone away does not end the run.
        let _ = if self.json { writeln!(io::stderr(), "{line}") } else { writeln!(io::stdout(), "{line}") };
    }

    fn symbol(&self, kind: EcallKind) -> String {
        let EcallKind::Ecalli(number) = kind else { return "ecall".to_owned() };
        let import = self.imports.iter().find(|import| import.number == number);
        import.map_or_else(|| format!("#{number}"), |import| clean(&import.symbol_lossy()))
    }

    /// Does what there is to do, up to what it returns; `None` ends the run.
    fn answer(&mut self, symbol: &str, regs: &Regs, mem: &mut dyn Mem) -> Option<u64> {
        if let Answers::Lines(prompt) = self.answers {
            return self.ask(prompt, regs, mem);
        }
        let Answers::Script(script) = &mut self.answers else { return None };
        let Some(answer) = script.get_mut(symbol) else {
            self.print("    the script has no answer");
            return None;
        };
        for step in answer.next() {
            match step {
                Step::Return(value) => return Some(value),
                Step::Stop => return None,
                step => {
                    if let Err(reason) = self.perform(&step, regs, mem) {
                        self.error = Some(CliError::Answer { symbol: symbol.to_owned(), reason });
                        return None;
                    }
                }
            }
        }
        None
    }

    /// As [`Self::answer`], from lines; the end of the input ends the run.
    fn ask(&mut self, prompt: bool, regs: &Regs, mem: &mut dyn Mem) -> Option<u64> {
        loop {
            if prompt {
                let _ = write!(io::stderr(), "> ");
            }
            let mut line = String::new();
            if !matches!(io::stdin().lock().read_line(&mut line), Ok(n) if n > 0) {
                return None;
            }
            match line.trim() {
                "" => {}
                line => match step_of(line) {
                    Ok(Step::Return(value)) => return Some(value),
                    Ok(Step::Stop) => return None,
                    step => {
                        if let Err(reason) = step.and_then(|step| self.perform(&step, regs, mem)) {
                            self.print(&format!("    {reason}"));
                        }
                    }
                },
            }
        }
    }

    /// Shows or writes memory.
    fn perform(&self, step: &Step, regs: &Regs, mem: &mut dyn Mem) -> Result<(), &'static str> {
        let address = |at: usize, len: u64| {
            let end = regs.gpr[at].checked_add(len).filter(|end| *end <= 1 << 32);
            end.and_then(|_| u32::try_from(regs.gpr[at]).ok()).ok_or("this is no memory of the program")
        };
        match step {
            Step::Show(at, len) => {
                let len = match len {
                    Length::Bytes(len) => *len,
                    Length::Register(register) => regs.gpr[*register],
                };
                let address = address(*at, len)?;
                let mut bytes = vec![0; len.min(SHOWN) as usize];
                mem.read(address, &mut bytes).map_err(|_| "this is no memory of the program")?;
                self.print(&format!("    {address:#x}: {} \"{}\"", hex_bytes(&bytes), bytes.escape_ascii()));
            }
            Step::Write(at, bytes) => {
                let address = address(*at, bytes.len() as u64)?;
                mem.write(address, bytes).map_err(|_| "this is no memory that the program may write")?;
            }
            Step::Return(_) | Step::Stop => {}
        }
        Ok(())
    }
}

impl EcallHandler for Syscalls {
    fn ecall(
        &mut self,
        kind: EcallKind,
        regs: &mut Regs,
        mem: &mut dyn Mem,
        gas: &mut GasCounter,
    ) -> EcallResult {
        let symbol = self.symbol(kind);
        let mut arguments = [0; 6];
        arguments.copy_from_slice(&regs.gpr[reg::A0..reg::A0 + 6]);
        let list: Vec<_> = arguments.iter().map(|a| format!("{a:#x}")).collect();
        self.print(&format!("{symbol}({})  gas {}", list.join(", "), gas.remaining()));
        let returned = self.answer(&symbol, regs, mem);
        self.count += 1;
        if self.seen.len() < LISTED {
            self.seen.push(Seen { symbol, arguments, returned });
        }
        let Some(value) = returned else { return EcallResult::Exit(kind.exit()) };
        self.print(&format!("    = {value:#x}"));
        regs.gpr[reg::A0] = value;
        EcallResult::Continue
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_are_steps() {
        assert_eq!(step_of("0x10"), Ok(Step::Return(16)));
        assert_eq!(step_of("-1"), Ok(Step::Return(u64::MAX)));
        assert_eq!(step_of("stop"), Ok(Step::Stop));
        assert_eq!(step_of("show a1 16"), Ok(Step::Show(8, Length::Bytes(16))));
        assert_eq!(step_of("show a0 a1"), Ok(Step::Show(7, Length::Register(8))));
        assert_eq!(step_of("write a0 01 02_ff"), Ok(Step::Write(7, vec![1, 2, 255])));
        assert_eq!(step_of("text a5 so it is"), Ok(Step::Write(12, b"so it is".to_vec())));
        for bad in ["show", "show a0", "show a9 1", "write a0 1", "write a0 xy", "write", "go on", "1 2"] {
            assert!(step_of(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn answers_come_in_turn() {
        let entry: Entry = toml::from_str("returns = [1, '0x20']\nshow = 'a1'\nwrite = 'ff'").unwrap();
        let mut answer = entry.answer().unwrap();
        let returned: Vec<_> = (0..3).map(|_| answer.next().pop()).collect();
        assert_eq!(returned, [1, 32, 32].map(|n| Some(Step::Return(n))));
        assert_eq!(answer.next().len(), 3);
        for bad in ["returns = []", "at = 'x'", "write = 'f'", "write = ''\ntext = ''", "show = 'many'"] {
            assert!(toml::from_str::<Entry>(bad).unwrap().answer().is_err(), "{bad}");
        }
        assert!(toml::from_str::<Entry>("returned = 1").is_err());
    }
}

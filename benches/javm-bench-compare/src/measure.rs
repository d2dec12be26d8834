//! The measurements: for every kernel, round after round, every engine once, in an order that rotates, so
//! that whatever else the machine does hits all of them alike.

use std::{
    panic::{self, AssertUnwindSafe},
    sync::atomic::{AtomicBool, Ordering},
    time::{Duration, Instant},
};

use indicatif::ProgressBar;

use crate::{
    kernels::{Kernel, Subject},
    rival::{Class, Rival, RivalError},
    stats::Times,
};

/// What is measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum What {
    /// A fresh instance of a program that was compiled before.
    Warm,
    /// From the bytes of the program: compiled, and run once, a sixteenth as long as warm.
    Cold,
    /// From the bytes of the program: compiled, not run.
    Compile,
}

/// The times of every engine in one row of a table.
#[derive(Debug)]
pub(crate) struct Row {
    /// The kernel, or the program that was compiled.
    pub(crate) name: String,
    /// Bytes of code of the program, by engine.
    pub(crate) code_len: Vec<usize>,
    /// By engine; empty where nothing was measured.
    pub(crate) times: Vec<Times>,
    /// Whether the engine could not, or was wrong; by engine.
    pub(crate) failed: Vec<bool>,
}

/// What went wrong.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub(crate) enum Wrong {
    /// The engine returned something else than the first engine.
    #[error("{kernel}: {engine} returned {found:#x}, {reference} {expected:#x}")]
    Differs {
        /// The kernel.
        kernel: String,
        /// The engine.
        engine: String,
        /// What it returned.
        found: u64,
        /// The engine that it is compared with.
        reference: String,
        /// What that one returned.
        expected: u64,
    },
    /// The engine did not get to the end.
    #[error("{kernel}: {engine}: {error}")]
    Failed {
        /// The kernel.
        kernel: String,
        /// The engine.
        engine: String,
        /// What happened.
        error: RivalError,
        /// Whether the engine is a rival: its failures are its own, and only told.
        theirs: bool,
    },
}

impl Wrong {
    /// Whether it makes the whole run a failure.
    pub(crate) fn counts(&self) -> bool {
        !matches!(self, Self::Failed { theirs: true, .. })
    }
}

/// Runs measurements and collects what went wrong.
pub(crate) struct Bench<'a> {
    /// The engines.
    pub(crate) rivals: &'a [Box<dyn Rival>],
    /// The programs.
    pub(crate) subjects: &'a [Subject],
    /// Rounds.
    pub(crate) runs: usize,
    /// Stretches the kernels' arguments.
    pub(crate) scale: f64,
    /// One step per engine and round.
    pub(crate) progress: &'a ProgressBar,
    /// What went wrong.
    pub(crate) wrong: Vec<Wrong>,
}

impl Bench<'_> {
    /// Measures one kernel, warm or cold.
    pub(crate) fn kernel(&mut self, kernel: &Kernel, what: What) -> Row {
        let subject = &self.subjects[kernel.subject];
        let args = match what {
            What::Cold => kernel.cold_args(self.scale),
            _ => kernel.warm_args(self.scale),
        };
        let mut prepared: Vec<_> = match what {
            What::Cold => self.rivals.iter().map(|_| None).collect(),
            _ => self.rivals.iter().map(|rival| Some(rival.prepare(subject))).collect(),
        };
        self.rounds(kernel.name, subject, |rival, n| {
            match &mut prepared[n] {
                Some(Ok(compiled)) => {
                    compiled.run_fresh(kernel, &args).map(|(result, time)| (Some(result), time))
                }
                // Said once; asking again says it again.
                Some(Err(_)) => {
                    Err(rival.prepare(subject).err().unwrap_or(RivalError::NoExport(kernel.export)))
                }
                None => {
                    let start = Instant::now();
                    let mut compiled = rival.prepare(subject)?;
                    let compiling = start.elapsed();
                    let (result, time) = compiled.run_fresh(kernel, &args)?;
                    Ok((Some(result), compiling + time))
                }
            }
        })
    }

    /// Measures compiling one program; engines that compile lazily have no times.
    pub(crate) fn compile(&mut self, subject: &Subject) -> Row {
        self.rounds(subject.name, subject, |rival, _| {
            if !rival.compiles() {
                return Ok((None, Duration::ZERO));
            }
            let start = Instant::now();
            let compiled = rival.compile(subject)?;
            let time = start.elapsed();
            drop(compiled);
            Ok((None, time))
        })
    }

    /// One round more than asked for: the first warms caches and workers up and is not counted.
    fn rounds(
        &mut self,
        name: &str,
        subject: &Subject,
        mut run: impl FnMut(&dyn Rival, usize) -> Result<(Option<u64>, Duration), RivalError>,
    ) -> Row {
        let count = self.rivals.len();
        let mut times = vec![Times::default(); count];
        let mut out = vec![false; count];
        let mut reference: Option<(usize, u64)> = None;
        self.progress.set_message(name.to_owned());
        for round in 0..=self.runs {
            for n in (0..count).map(|n| (n + round) % count) {
                self.progress.inc(1);
                if out[n] {
                    continue;
                }
                let rival = &*self.rivals[n];
                match guarded(rival, || run(rival, n)) {
                    Ok((result, time)) => {
                        if round > 0 && !time.is_zero() {
                            times[n].push(time);
                        }
                        let Some(found) = result else { continue };
                        let (first, expected) = *reference.get_or_insert((n, found));
                        if found != expected {
                            out[n] = true;
                            times[n] = Times::default();
                            self.wrong.push(Wrong::Differs {
                                kernel: name.to_owned(),
                                engine: rival.name().to_owned(),
                                found,
                                reference: self.rivals[first].name().to_owned(),
                                expected,
                            });
                        }
                    }
                    Err(error) => {
                        out[n] = true;
                        times[n] = Times::default();
                        self.wrong.push(Wrong::Failed {
                            kernel: name.to_owned(),
                            engine: rival.name().to_owned(),
                            error,
                            theirs: !rival.is_ours() && rival.class() != Class::Native,
                        });
                    }
                }
            }
        }
        let code_len = self.rivals.iter().map(|rival| rival.code_len(subject)).collect();
        Row { name: name.to_owned(), code_len, times, failed: out }
    }
}

/// Runs a rival so that its panics are errors; ours have none to catch.
fn guarded<T>(rival: &dyn Rival, run: impl FnOnce() -> Result<T, RivalError>) -> Result<T, RivalError> {
    if rival.is_ours() || rival.class() == Class::Native {
        return run();
    }
    QUIET.store(true, Ordering::Relaxed);
    // Whatever the panic leaves half done belongs to the rival, which is not run on this row again.
    let result = panic::catch_unwind(AssertUnwindSafe(run));
    QUIET.store(false, Ordering::Relaxed);
    result.unwrap_or_else(|payload| {
        let message = payload.downcast_ref::<String>().map(String::as_str);
        let message = message.or_else(|| payload.downcast_ref::<&str>().copied());
        Err(RivalError::Panicked(message.unwrap_or("without a message").into()))
    })
}

/// Whether panics are told elsewhere.
static QUIET: AtomicBool = AtomicBool::new(false);

/// Keeps panics that are caught off the terminal.
pub(crate) fn install_panic_hook() {
    let usual = panic::take_hook();
    panic::set_hook(Box::new(move |info| {
        if !QUIET.load(Ordering::Relaxed) {
            usual(info);
        }
    }));
}

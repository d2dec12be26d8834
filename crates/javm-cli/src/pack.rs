//! `javm pack`: a program to a blob of the capability microkernel.
//!
//! What goes where is `javm_program::pack`'s; here a description in TOML is read and the files that it names.

use std::{
    collections::BTreeMap,
    path::{Path, PathBuf},
};

use javm_program::{
    Access, ManifestKind, Program,
    pack::{self, PackError, PackOptions, Packed, PackedCap},
};
use serde::{Deserialize, Serialize};

use crate::{
    Exit,
    error::CliError,
    inspect::manifest::{self, Cap},
    load::{self, path_name},
    options::LoadOptions,
    show::{Fields, Output, Paint, clean, count},
};

/// What to pack.
#[derive(Clone, Debug, clap::Args)]
pub(crate) struct Args {
    /// The program.
    program: PathBuf,
    /// Where the blob goes.
    #[arg(short, long, value_name = "OUT")]
    output: PathBuf,
    /// A description of what else the blob has, in TOML: docs/cli.md lists the keys.
    #[arg(short, long, value_name = "FILE")]
    manifest: Option<PathBuf>,
    #[command(flatten)]
    load: LoadOptions,
}

/// The description.
#[derive(Debug, Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct Description {
    memory_pages: Option<u32>,
    stack_pages: Option<u32>,
    #[serde(default)]
    heap_pages: u32,
    args_pages: Option<u32>,
    /// Which capability a call of an import acts on.
    #[serde(default)]
    imports: BTreeMap<String, u32>,
    #[serde(default, rename = "cap")]
    caps: Vec<Described>,
}

/// A capability of the description.
#[derive(Debug, Deserialize)]
#[serde(tag = "type", rename_all = "lowercase", deny_unknown_fields)]
enum Described {
    /// Pages.
    Data {
        slot: u8,
        base_page: u32,
        pages: Option<u32>,
        #[serde(default)]
        access: DataAccess,
        /// What they start with.
        file: Option<PathBuf>,
    },
    /// The code of a program and nothing else.
    Code {
        slot: u8,
        file: PathBuf,
        #[serde(default)]
        imports: BTreeMap<String, u32>,
    },
    /// The code of a program, its memory in the slots behind.
    Program {
        slot: u8,
        file: PathBuf,
        stack_pages: Option<u32>,
        #[serde(default)]
        heap_pages: u32,
        #[serde(default)]
        imports: BTreeMap<String, u32>,
    },
}

#[derive(Clone, Copy, Debug, Default, Deserialize)]
enum DataAccess {
    #[default]
    #[serde(rename = "rw")]
    ReadWrite,
    #[serde(rename = "ro")]
    ReadOnly,
}

#[derive(Serialize)]
struct Report {
    program: String,
    output: String,
    blob_bytes: usize,
    memory_pages: u32,
    invoke_slot: u8,
    caps: Vec<Cap>,
    /// Of programs that were added: where their memory belongs.
    places: Vec<Place>,
}

/// Where a page capability of an added program belongs in a machine of that program.
#[derive(Serialize)]
struct Place {
    slot: u8,
    base_page: u32,
    page_count: u32,
    access: &'static str,
}

pub(crate) fn run(args: &Args, out: &mut Output) -> Result<Exit, CliError> {
    let mut program = load::program(&args.program, args.load)?;
    let description = match &args.manifest {
        Some(path) => read(path)?,
        None => Description::default(),
    };
    let name = path_name(&args.program);
    let failed = |source| CliError::Pack { name: name.clone(), source };
    renumber(&mut program, &description.imports, &name)?;
    let options = PackOptions {
        stack_pages: description.stack_pages,
        heap_pages: description.heap_pages,
        args_pages: description.args_pages.unwrap_or(PackOptions::default().args_pages),
        memory_pages: description.memory_pages,
    };
    let mut packed = Packed::new(&program, &options).map_err(failed)?;
    let folder = args.manifest.as_deref().and_then(Path::parent).unwrap_or(Path::new(""));
    let mut places = Vec::new();
    for cap in description.caps {
        add(&mut packed, cap, folder, args.load, &mut places)?;
    }
    let manifest = packed.manifest().map_err(failed)?;
    let blob = manifest.to_bytes().map_err(|source| failed(PackError::Write(source)))?;
    load::write(&args.output, &blob)?;
    let report = Report {
        output: path_name(&args.output),
        blob_bytes: blob.len(),
        memory_pages: manifest.memory_pages,
        invoke_slot: manifest.invoke_slot,
        caps: manifest.caps.iter().map(Cap::of).collect(),
        places,
        program: name,
    };
    out.report(&report, text)?;
    Ok(Exit::Success)
}

fn read(path: &Path) -> Result<Description, CliError> {
    let text =
        String::from_utf8(load::bytes(path)?).map_err(|_| CliError::NotText { path: path.to_owned() })?;
    toml::from_str(&text)
        .map_err(|source| CliError::Description { name: path_name(path), source: Box::new(source) })
}

/// Gives imports the numbers that the description says.
fn renumber(program: &mut Program, imports: &BTreeMap<String, u32>, name: &str) -> Result<(), CliError> {
    let mut map = BTreeMap::new();
    for (symbol, slot) in imports {
        let Some(import) = program.imports().iter().find(|i| i.symbol == symbol.as_bytes()) else {
            return Err(CliError::NoImport { name: name.to_owned(), symbol: clean(symbol) });
        };
        map.insert(import.number, *slot);
    }
    program.renumber_imports(&map).map_err(|source| CliError::Program { name: name.to_owned(), source })
}

/// Adds a capability of the description; files are relative to its folder.
fn add(
    packed: &mut Packed,
    cap: Described,
    folder: &Path,
    load: LoadOptions,
    places: &mut Vec<Place>,
) -> Result<(), CliError> {
    let program = |file: &Path, imports: &BTreeMap<String, u32>| {
        let path = folder.join(file);
        let mut program = load::program(&path, load)?;
        renumber(&mut program, imports, &path_name(&path))?;
        Ok::<_, CliError>(program)
    };
    let failed = |file: &Path| {
        let name = path_name(file);
        move |source| CliError::Pack { name, source }
    };
    match cap {
        Described::Data { slot, base_page, pages, access, file } => {
            let contents = match &file {
                Some(file) => load::bytes(&folder.join(file))?,
                None => Vec::new(),
            };
            let access = match access {
                DataAccess::ReadOnly => Access::ReadOnly,
                DataAccess::ReadWrite => Access::ReadWrite,
            };
            // Files are at most 1 GiB.
            let filled = contents.len().div_ceil(javm_program::PAGE_SIZE as usize) as u32;
            let page_count = pages.unwrap_or(filled.max(1));
            let kind = ManifestKind::Data;
            let cap = PackedCap { slot, kind, base_page, page_count, access, contents };
            packed.add(cap).map_err(failed(file.as_deref().unwrap_or(Path::new("manifest"))))
        }
        Described::Code { slot, file, imports } => {
            let code = pack::vm_code(&program(&file, &imports)?).map_err(failed(&file))?;
            packed.add_code(slot, &code).map_err(failed(&file))
        }
        Described::Program { slot, file, stack_pages, heap_pages, imports } => {
            let options = PackOptions { stack_pages, heap_pages, ..PackOptions::default() };
            let program = program(&file, &imports)?;
            let caps = packed.add_program(slot, &program, &options).map_err(failed(&file))?;
            places.extend(caps.into_iter().map(|cap| Place {
                slot: cap.slot,
                base_page: cap.base_page,
                page_count: cap.page_count,
                access: manifest::access(cap.access),
            }));
            Ok(())
        }
    }
}

fn text(report: &Report, paint: Paint) -> String {
    let mut fields = Fields::new(paint);
    fields.add("blob", format!("{}, {}", report.output, count(report.blob_bytes, "byte")));
    fields.add("memory", count(report.memory_pages, "page"));
    fields.raw("\n").raw(&manifest::table(&report.caps, report.invoke_slot, paint));
    for Place { slot, base_page, page_count, access } in &report.places {
        let pages = count(*page_count, "page");
        fields.add("belongs", format!("slot {slot}: {pages} from page {base_page:#x} on, {access}"));
    }
    fields.finish()
}

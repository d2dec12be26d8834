//! Compiled regions on disk: [`Disk`], a folder with a secret; [`Shelf`], the regions of one program in it.
//!
//! A region is a file. It begins with a tag: BLAKE2b over what was compiled (the guest's code in the region, and
//! the numbers that the machine code has inside), by whom (this version, gas model, processor), for which key, and
//! over what came of it, keyed with the folder's secret. A file is read into memory of our own, its tag compared,
//! and only then is it looked at; what does not fit is compiled again and replaced. So a file that was cut,
//! changed, mixed up or brought from elsewhere is never run, nor is one of a version before, and what is checked
//! cannot change any more. Nobody is trusted but whoever can read the secret: that is our own user.
//!
//! Writing goes to a new file that is then renamed, and is given up without a word when it fails: the cache is
//! only ever a matter of time.

use std::{
    fs, io,
    io::{Read as _, Write as _},
    path::{Path, PathBuf},
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicBool, AtomicU64, Ordering},
    },
    time::SystemTime,
};

use blake2b_simd::{Hash, Params, State};
use javm_gas::GasModel;
use javm_isa::Code;

use super::{blocks::BlockIndex, bulk::Bulk, region::RegionTables, stored};

/// The secret's file.
const SECRET: &str = "secret";
/// Length of the secret and of tags.
const TAG: usize = 32;
/// The most bytes of a file per byte of guest code, and for a region in any case.
const MAX_PER_BYTE: u64 = 512;
const MAX_EMPTY: u64 = 1 << 16;

/// Why a folder cannot hold compiled code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum CodeCacheError {
    /// The folder or the secret in it cannot be made or read.
    #[error("{0}")]
    Io(io::ErrorKind),
    /// The folder belongs to another user, or others may write to it.
    #[error("others may write to the folder")]
    Folder,
    /// The secret belongs to another user, others may read it, or it is not what this crate writes there.
    #[error("the file `secret` in the folder is not ours alone, or has not 32 bytes")]
    Secret,
}

impl From<io::Error> for CodeCacheError {
    fn from(error: io::Error) -> Self {
        Self::Io(error.kind())
    }
}

/// Everything besides a program that machine code depends on.
#[derive(Clone, Copy, Debug)]
struct Environment {
    version: &'static str,
    sources: &'static str,
    features: &'static str,
    model: GasModel,
}

impl Environment {
    fn new(model: GasModel) -> Self {
        Self {
            version: env!("CARGO_PKG_VERSION"),
            sources: env!("JAVM_EXEC_SOURCES"),
            // The recompiler needs them all but the last, and uses no others.
            features: match Bulk::supported() {
                true => "x86-64, bmi1, bmi2, lzcnt, popcnt, avx2",
                false => "x86-64, bmi1, bmi2, lzcnt, popcnt",
            },
            model,
        }
    }

    fn hash(&self) -> Hash {
        let Self { version, sources, features, model } = self;
        let text = format!("javm code\n{version}\n{sources}\n{features}\n{model:?}\n");
        Params::new().hash_length(TAG).hash(text.as_bytes())
    }
}

/// A folder of compiled code.
#[derive(Debug)]
pub(crate) struct Disk {
    folder: PathBuf,
    secret: [u8; TAG],
    /// The most bytes that the files may have together.
    limit: u64,
    /// How many they have; `None` until somebody looked.
    used: Mutex<Option<u64>>,
}

impl Disk {
    /// The folder, made with a new secret if it is not there.
    pub(crate) fn open(folder: &Path, limit: u64) -> Result<Self, CodeCacheError> {
        private::create_folder(folder)?;
        if !private::is_ours(&fs::metadata(folder)?, 0o022)? {
            return Err(CodeCacheError::Folder);
        }
        let secret = secret(folder)?;
        Ok(Self { folder: folder.to_owned(), secret, limit, used: Mutex::default() })
    }

    /// The place for the regions of a program.
    pub(crate) fn shelf(self: &Arc<Self>, key: &[u8; 32], model: GasModel) -> Shelf {
        self.shelf_of(key, Environment::new(model))
    }

    fn shelf_of(self: &Arc<Self>, key: &[u8; 32], environment: Environment) -> Shelf {
        let environment = environment.hash();
        let mut state = Params::new().hash_length(TAG).key(&self.secret).to_state();
        state.update(environment.as_bytes()).update(key);
        let mut name = Params::new().hash_length(16).to_state();
        name.update(environment.as_bytes()).update(key);
        let folder = self.folder.join(name.finalize().to_hex().as_str());
        Shelf { disk: Arc::clone(self), folder, state, broken: AtomicBool::new(false) }
    }

    /// Counts bytes that were written, and removes the programs that were longest not added to when there are too
    /// many.
    fn count(&self, bytes: u64) {
        let mut used = self.used.lock().unwrap_or_else(PoisonError::into_inner);
        let known = used.map(|used| used + bytes);
        if let Some(total) = known
            && total <= self.limit
        {
            *used = known;
            return;
        }
        let mut programs = programs(&self.folder);
        programs.sort_unstable();
        let mut total: u64 = programs.iter().map(|(_, _, size)| size).sum();
        if total > self.limit {
            for (_, folder, size) in &programs {
                if total <= self.limit / 4 * 3 {
                    break;
                }
                let _ = fs::remove_dir_all(folder);
                total -= size;
            }
        }
        *used = Some(total);
    }
}

/// The folders of programs: when somebody last added to it, where, how many bytes.
fn programs(folder: &Path) -> Vec<(SystemTime, PathBuf, u64)> {
    let entries = |folder: &Path| fs::read_dir(folder).into_iter().flatten().flatten();
    let mut found = Vec::new();
    for entry in entries(folder) {
        let Ok(about) = entry.metadata() else { continue };
        if about.is_dir() {
            let files = entries(&entry.path()).filter_map(|file| Some(file.metadata().ok()?.len()));
            let time = about.modified().unwrap_or(SystemTime::UNIX_EPOCH);
            found.push((time, entry.path(), files.sum()));
        }
    }
    found
}

/// The secret of a folder, made if there is none. Of several processes that make one at once, one wins.
fn secret(folder: &Path) -> Result<[u8; TAG], CodeCacheError> {
    let path = folder.join(SECRET);
    for _ in 0..2 {
        match fs::File::open(&path) {
            Ok(mut file) => {
                let about = file.metadata()?;
                if !private::is_ours(&about, 0o077)? || !about.is_file() || about.len() != TAG as u64 {
                    return Err(CodeCacheError::Secret);
                }
                let mut secret = [0; TAG];
                file.read_exact(&mut secret)?;
                return Ok(secret);
            }
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error.into()),
            Err(_) => {
                let mut secret = [0; TAG];
                fs::File::open("/dev/urandom")?.read_exact(&mut secret)?;
                let temporary = temporary(folder);
                private::write_new(&temporary, &[&secret])?;
                // A link fails where a file is already; a renaming would replace it.
                let linked = fs::hard_link(&temporary, &path);
                fs::remove_file(&temporary)?;
                match linked {
                    Err(error) if error.kind() != io::ErrorKind::AlreadyExists => return Err(error.into()),
                    _ => {}
                }
            }
        }
    }
    Err(CodeCacheError::Secret)
}

/// A name that no other file has.
fn temporary(folder: &Path) -> PathBuf {
    static NUMBER: AtomicU64 = AtomicU64::new(0);
    let number = NUMBER.fetch_add(1, Ordering::Relaxed);
    folder.join(format!(".{}.{number}", std::process::id()))
}

/// The regions of a program.
#[derive(Debug)]
pub(crate) struct Shelf {
    disk: Arc<Disk>,
    folder: PathBuf,
    /// What all tags of the program begin with.
    state: State,
    /// Whether writing has failed: it is not tried again.
    broken: AtomicBool,
}

impl Shelf {
    fn path(&self, region: u32) -> PathBuf {
        self.folder.join(format!("{region:x}"))
    }

    /// The tag of a region: over all that was read to compile it, and over the result.
    ///
    /// Of other regions machine code has nothing but the numbers of blocks, which are places in the table of
    /// addresses: that these are inside it is all that memory safety needs, should two programs have one key.
    fn tag(&self, code: &Code, index: &BlockIndex, region: u32, body: &[u8]) -> Hash {
        let (range, blocks) = (index.range_of(region), index.blocks_of(region));
        let numbers = [
            region,
            range.start,
            range.end,
            blocks.start,
            blocks.end,
            index.count(),
            code.len(),
            code.jump_table().len() as u32,
        ];
        let starts: Vec<u8> =
            range.clone().map(|pc| u8::from(code.is_instruction_start(u64::from(pc)))).collect();
        let mut state = self.state.clone();
        numbers.iter().for_each(|number| {
            state.update(&number.to_le_bytes());
        });
        let bytes = code.bytes().get(range.start as usize..range.end as usize).unwrap_or_default();
        state.update(bytes).update(&packed(&starts)).update(body);
        state.finalize()
    }

    /// A region that was compiled before; `None` when there is none, or none that is certainly ours.
    pub(super) fn load(&self, code: &Code, index: &BlockIndex, region: u32) -> Option<Stored> {
        let range = index.range_of(region);
        let most = u64::from(range.end - range.start) * MAX_PER_BYTE + MAX_EMPTY;
        let file = fs::File::open(self.path(region)).ok()?;
        let len = file.metadata().ok().map(|about| about.len()).filter(|len| *len <= most)?;
        let mut bytes = Vec::with_capacity(len as usize + 1);
        file.take(most).read_to_end(&mut bytes).ok()?;
        let (tag, body) = bytes.split_first_chunk::<TAG>()?;
        // The comparison takes the same time wherever the difference is.
        if self.tag(code, index, region, body) != *tag.as_slice() {
            return None;
        }
        let (tables, code) = stored::decode(body)?;
        let begin = bytes.len() - code.len();
        Some(Stored { tables, bytes, begin })
    }

    /// Keeps what a region was compiled to.
    pub(super) fn save(&self, code: &Code, index: &BlockIndex, region: u32, body: &[u8]) {
        if self.broken.load(Ordering::Relaxed) {
            return;
        }
        let tag = self.tag(code, index, region, body);
        let temporary = temporary(&self.folder);
        let write = || -> io::Result<()> {
            let parts = [tag.as_bytes(), body];
            match private::write_new(&temporary, &parts) {
                Err(error) if error.kind() == io::ErrorKind::NotFound => {
                    private::create_folder(&self.folder)?;
                    private::write_new(&temporary, &parts)?;
                }
                written => written?,
            }
            fs::rename(&temporary, self.path(region))
        };
        match write() {
            Ok(()) => self.disk.count((TAG + body.len()) as u64),
            Err(_) => {
                let _ = fs::remove_file(&temporary);
                self.broken.store(true, Ordering::Relaxed);
            }
        }
    }
}

/// Bytes that are 0 or 1 as bits.
fn packed(bits: &[u8]) -> Vec<u8> {
    bits.chunks(8).map(|byte| byte.iter().rev().fold(0, |byte, bit| byte << 1 | bit)).collect()
}

/// A region that was loaded.
pub(super) struct Stored {
    pub(super) tables: RegionTables,
    bytes: Vec<u8>,
    begin: usize,
}

impl Stored {
    pub(super) fn code(&self) -> &[u8] {
        self.bytes.get(self.begin..).unwrap_or_default()
    }
}

/// Files that belong to our user alone.
#[cfg(unix)]
mod private {
    use super::*;
    use std::os::unix::fs::{DirBuilderExt as _, MetadataExt as _, OpenOptionsExt as _};

    pub(super) fn create_folder(folder: &Path) -> io::Result<()> {
        fs::DirBuilder::new().recursive(true).mode(0o700).create(folder)
    }

    /// Whether something belongs to the user that we are, and nobody has these rights to it.
    pub(super) fn is_ours(about: &fs::Metadata, rights: u32) -> io::Result<bool> {
        Ok(about.uid() == fs::metadata("/proc/self")?.uid() && about.mode() & rights == 0)
    }

    pub(super) fn write_new(path: &Path, parts: &[&[u8]]) -> io::Result<()> {
        let mut file = fs::OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
        parts.iter().try_for_each(|part| file.write_all(part))
    }
}

/// Elsewhere nothing is compiled, and so nothing kept.
#[cfg(not(unix))]
mod private {
    use super::*;

    pub(super) fn create_folder(_: &Path) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }

    pub(super) fn is_ours(_: &fs::Metadata, _: u32) -> io::Result<bool> {
        Ok(false)
    }

    pub(super) fn write_new(_: &Path, _: &[&[u8]]) -> io::Result<()> {
        Err(io::ErrorKind::Unsupported.into())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_tell_versions_processors_models_keys_and_secrets_apart() {
        let disk = |secret| {
            let (folder, limit, used) = (PathBuf::new(), 0, Mutex::default());
            Arc::new(Disk { folder, secret: [secret; TAG], limit, used })
        };
        let ours = Environment::new(GasModel::Pipeline);
        let shelves = [
            disk(1).shelf_of(&[0; 32], ours),
            disk(1).shelf_of(&[0; 32], Environment { version: "0.0.1", ..ours }),
            disk(1).shelf_of(&[0; 32], Environment { sources: "0", ..ours }),
            disk(1).shelf_of(&[0; 32], Environment { features: "x86-64", ..ours }),
            disk(1).shelf_of(&[0; 32], Environment { model: GasModel::PerInstruction, ..ours }),
            disk(1).shelf_of(&[1; 32], ours),
        ];
        let foreign = disk(2).shelf_of(&[0; 32], ours);
        let code = Code::new(&[0, 1, 0], &[0b111], &[]).unwrap();
        let index = BlockIndex::new(&code);
        let tag = |shelf: &Shelf, body: &[u8]| shelf.tag(&code, &index, 0, body);
        for (n, shelf) in shelves.iter().enumerate() {
            assert!(shelves[..n].iter().all(|other| other.folder != shelf.folder), "{n}");
            assert!(shelves[..n].iter().all(|other| tag(other, b"x") != tag(shelf, b"x")), "{n}");
        }
        assert_eq!(foreign.folder, shelves[0].folder, "which folder it is says nothing of the secret");
        assert_ne!(tag(&foreign, b"x"), tag(&shelves[0], b"x"));
        assert_ne!(tag(&shelves[0], b"y"), tag(&shelves[0], b"x"));
        assert_eq!(tag(&disk(1).shelf_of(&[0; 32], ours), b"x"), tag(&shelves[0], b"x"));
        let other = Code::new(&[0, 0, 0], &[0b111], &[]).unwrap();
        assert_ne!(shelves[0].tag(&other, &BlockIndex::new(&other), 0, b"x"), tag(&shelves[0], b"x"));
    }
}

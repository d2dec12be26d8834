//! The guest compiler: a distribution's `rustc` of one fixed version with the library source of exactly that
//! version, downloaded with apt and unpacked under `target`. Nothing is installed; no root is needed.

use super::error::{Context as _, Error};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

const VERSION: &str = "1.96.0+dfsg1-1~deb12u2";
const LLVM_VERSION: &str = "1:22.1.8-1~deb12u1";

/// Package, version, and the paths to unpack where not all are needed.
const PACKAGES: [(&str, &str, &[&str]); 5] = [
    ("libllvm22", LLVM_VERSION, &[]),
    ("rustc-web", VERSION, &[]),
    ("libstd-rust-web-1.96", VERSION, &[]),
    ("libstd-rust-web-dev", VERSION, &[]),
    ("rust-web-src", VERSION, &["./usr/lib/rustlib/src*", "./usr/src/rustc-*/library*"]),
];

/// The unpacked compiler and what belongs to it.
pub(crate) struct Toolchain {
    /// Runs the compiler.
    pub(crate) rustc: PathBuf,
    /// The description of the guest target.
    pub(crate) target: PathBuf,
    /// Links objects to an ELF file.
    pub(crate) linker: PathBuf,
    /// Folders of the library source: the same files by two names.
    pub(crate) library_sources: Vec<PathBuf>,
}

/// The toolchain under `folder`, made first if it is not there.
pub(crate) fn prepare(folder: &Path) -> Result<Toolchain, Error> {
    // The compiler names its library by where it really is, and only names that are known here are replaced in
    // what it writes.
    fs::create_dir_all(folder).at(folder)?;
    let folder = &fs::canonicalize(folder).at(folder)?;
    let root = folder.join("rust");
    let marker = folder.join("unpacked");
    // The marker is written last: an interrupted run starts again.
    if fs::read_to_string(&marker).is_ok_and(|version| version == VERSION) {
        println!("guest toolchain: {VERSION}, unpacked before");
    } else {
        unpack(folder, &root)?;
        fs::write(&marker, VERSION).at(&marker)?;
    }
    let rustc = folder.join("rustc");
    write_launcher(&rustc, &root)?;
    let target = folder.join("riscv64emac-unknown-none-polkavm.json");
    fs::write(&target, polkavm_linker::TARGET_JSON_64_BIT_NEW).at(&target)?;
    let library_sources = library_sources(&root)?;
    Ok(Toolchain { rustc, target, linker: elf_linker()?, library_sources })
}

fn unpack(folder: &Path, root: &Path) -> Result<(), Error> {
    let archives = folder.join("debs");
    fs::create_dir_all(&archives).at(&archives)?;
    if root.exists() {
        fs::remove_dir_all(root).at(root)?;
    }
    fs::create_dir_all(root).at(root)?;
    for (package, version, paths) in PACKAGES {
        let archive = download(&archives, package, version)?;
        println!("guest toolchain: unpacking {package}");
        let mut reader = Command::new("dpkg-deb")
            .arg("--fsys-tarfile")
            .arg(&archive)
            .stdout(Stdio::piped())
            .spawn()
            .map_err(|source| Error::Tool { tool: "dpkg-deb".into(), source })?;
        let mut tar = Command::new("tar");
        tar.args(["--extract", "--wildcards", "--directory"]).arg(root).args(paths);
        if let Some(output) = reader.stdout.take() {
            tar.stdin(output);
        }
        run(&mut tar, &format!("unpacking {package}"))?;
        let status = reader.wait().at(&archive)?;
        if !status.success() {
            return Err(Error::Failed { tool: "dpkg-deb".into(), doing: format!("reading {package}") });
        }
    }
    Ok(())
}

/// The archive of a package, from the folder or from the distribution.
fn download(archives: &Path, package: &'static str, version: &'static str) -> Result<PathBuf, Error> {
    let prefix = format!("{package}_{}_", version.replace(':', "%3a"));
    let find = || -> Result<Option<PathBuf>, Error> {
        let names = super::file_names(archives)?;
        let name = names.iter().find(|name| name.starts_with(&prefix) && name.ends_with(".deb"));
        Ok(name.map(|name| archives.join(name)))
    };
    if let Some(archive) = find()? {
        return Ok(archive);
    }
    println!("guest toolchain: downloading {package} {version}");
    // What apt prints has addresses in it and helps nobody; the error below says what to do.
    let fetch = |arguments: &[&str]| {
        Command::new("apt-get")
            .arg("-qq")
            .args(arguments)
            .current_dir(archives)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .map_err(|source| Error::Tool { tool: "apt-get".into(), source })
    };
    let wanted = format!("{package}={version}");
    if !fetch(&["download", &wanted])?.success() {
        println!("guest toolchain: not in the package lists; updating them");
        fetch(&["update"])?;
        fetch(&["download", &wanted])?;
    }
    find()?.ok_or(Error::Download { package, version })
}

/// The compiler needs its own LLVM, which is not where the system looks.
fn write_launcher(rustc: &Path, root: &Path) -> Result<(), Error> {
    use std::os::unix::fs::PermissionsExt as _;
    let root = root.display();
    let script = format!(
        "#!/bin/sh\nLD_LIBRARY_PATH='{root}/usr/lib/x86_64-linux-gnu' exec '{root}/usr/bin/rustc' \"$@\"\n"
    );
    // Cargo takes a compiler with a new date for a new compiler.
    if fs::read_to_string(rustc).is_ok_and(|old| old == script) {
        return Ok(());
    }
    fs::write(rustc, script).at(rustc)?;
    fs::set_permissions(rustc, fs::Permissions::from_mode(0o755)).at(rustc)
}

fn library_sources(root: &Path) -> Result<Vec<PathBuf>, Error> {
    let link = root.join("usr/lib/rustlib/src/rust");
    let target = fs::canonicalize(link.join("library")).at(&link)?;
    let target = target.parent().map(PathBuf::from).unwrap_or(target);
    Ok(vec![link, target])
}

/// `rust-lld` of the host's toolchain.
fn elf_linker() -> Result<PathBuf, Error> {
    let output = Command::new("rustc")
        .args(["--print", "target-libdir"])
        .output()
        .map_err(|source| Error::Tool { tool: "rustc".into(), source })?;
    let libraries = PathBuf::from(String::from_utf8_lossy(&output.stdout).trim());
    let path = libraries.with_file_name("bin").join("rust-lld");
    if path.exists() { Ok(path) } else { Err(Error::NoLinker { path }) }
}

/// Runs a tool that prints its own errors.
pub(crate) fn run(command: &mut Command, doing: &str) -> Result<(), Error> {
    let tool = command.get_program().to_string_lossy().into_owned();
    match command.status() {
        Ok(status) if status.success() => Ok(()),
        Ok(_) => Err(Error::Failed { tool, doing: doing.to_owned() }),
        Err(source) => Err(Error::Tool { tool, source }),
    }
}

//! [`World`]: a capability machine with its values, and programs by name. `run` makes one for one call,
//! `play` for a story.

use std::{collections::BTreeMap, sync::Arc};

use javm::{CallResult, InProcessKernelAssist, Vm, VmError, first_instance, publish};
use javm_cap::{CacheDirectory, Cap, CapHash, CapHashOrRef, DataCap, SlotIdx, SlotPath, image::Image, path};
use javm_exec::{Engine, PAGE_SIZE};
use javm_program::Program;
use serde::Serialize;

use crate::{
    error::CliError,
    fault::FaultReport,
    show::{clean, hex, hex_bytes},
};

/// How much of a Data is shown.
const PREVIEW: usize = 64;

/// A capability machine with its values.
pub(crate) struct World {
    pub(crate) vm: Vm<InProcessKernelAssist>,
    pub(crate) cache: CacheDirectory,
    /// What images are called.
    names: BTreeMap<CapHash, String>,
}

/// How a call ended, with what can be said about it.
pub(crate) struct Called {
    pub(crate) result: CallResult,
    /// The fault that ended the call, or one below it that a caller handled.
    pub(crate) fault: Option<FaultReport>,
}

/// What a slot holds.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Held {
    kind: &'static str,
    hash: String,
    /// Of a Data: its size in bytes, trailing zeros not counted.
    bytes: Option<u64>,
    /// Of a Data: the first bytes.
    hex: Option<String>,
    /// Of a Data: all of it, where it is short and text.
    text: Option<String>,
}

impl Held {
    /// One line.
    pub(crate) fn line(&self) -> String {
        match (self.bytes, &self.text, &self.hex) {
            (Some(bytes), Some(text), _) => format!("Data, {bytes} bytes: \"{text}\""),
            (Some(bytes), None, Some(hex)) => {
                format!("Data, {bytes} bytes: {hex}{}", if bytes > PREVIEW as u64 { "…" } else { "" })
            }
            _ => format!("{} {}", self.kind, self.hash),
        }
    }
}

impl World {
    pub(crate) fn new(engine: Engine) -> Self {
        Self {
            vm: Vm::with_engine(InProcessKernelAssist::new(), engine),
            cache: CacheDirectory::new(),
            names: BTreeMap::new(),
        }
    }

    /// Puts a program's image into the directory; `name` is what faults in it are reported by.
    pub(crate) fn publish(&mut self, name: &str, program: &Program) -> Result<CapHash, CliError> {
        let failed = |source| CliError::Publish { name: clean(name), source };
        // What the image is made of: imports renumbered, so that offsets are the image's.
        let parts = javm::image_of(program).map_err(failed)?;
        let image = publish(&mut self.cache, program).map_err(failed)?;
        self.vm.image_cache.attach(image, Arc::new(parts.program));
        self.names.insert(image, name.to_owned());
        Ok(image)
    }

    /// Makes the first instance of an image.
    pub(crate) fn instance(
        &mut self,
        image: CapHash,
        slots: &[(SlotIdx, CapHash)],
    ) -> Result<CapHash, CliError> {
        let name = self.names.get(&image).cloned().unwrap_or_else(|| hex(&image));
        let pinned: Vec<SlotIdx> = self.image(image)?.pinned_slots.keys().copied().collect();
        if let Some((slot, _)) = slots.iter().find(|(slot, _)| pinned.contains(slot)) {
            return Err(CliError::Slot { slot: slot.to_string(), reason: "is part of the program" });
        }
        first_instance(&mut self.cache, image, slots).map_err(|source| CliError::Publish { name, source })
    }

    /// An image by its hash.
    pub(crate) fn image(&self, image: CapHash) -> Result<Image, CliError> {
        match &*self.cache.fetch(image.into())? {
            Cap::Image(cap) => Ok(cap.image().clone()),
            other => Err(VmError::NotAnInstance { found: other.kind() }.into()),
        }
    }

    /// The image of an instance.
    pub(crate) fn image_of(&self, instance: CapHash) -> Result<CapHash, CliError> {
        match &*self.cache.fetch(instance.into())? {
            Cap::Instance(cap) => Ok(cap.image_hash),
            other => Err(VmError::NotAnInstance { found: other.kind() }.into()),
        }
    }

    /// Calls an instance.
    pub(crate) fn call(
        &mut self,
        instance: CapHash,
        endpoint: u8,
        args: [u64; 4],
        scratchpad: Option<CapHash>,
        gas: u64,
    ) -> Result<Called, CliError> {
        let scratchpad = scratchpad.map(CapHashOrRef::Hash);
        let result = self.vm.invoke_with(&mut self.cache, instance, endpoint, args, scratchpad, gas)?;
        let fault = self
            .vm
            .last_fault()
            .map(|info| FaultReport::of_instance(info, self.names.get(&info.image).map(String::as_str)));
        Ok(Called { result, fault })
    }

    /// Holds bytes as a Data.
    pub(crate) fn data(&mut self, bytes: &[u8]) -> Result<CapHash, CliError> {
        Ok(self.cache.put_cap(&Cap::data_inline(bytes))?)
    }

    /// What an instance's slot holds.
    pub(crate) fn slot(&self, instance: CapHash, path: SlotPath) -> Result<Option<CapHashOrRef>, CliError> {
        let cap = self.cache.fetch(instance.into())?;
        let Cap::Instance(instance) = &*cap else {
            return Err(VmError::NotAnInstance { found: cap.kind() }.into());
        };
        let root = self.cache.fetch(instance.root_cnode)?;
        let Cap::CNode(root) = &*root else { return Ok(None) };
        Ok(path::read_path(&self.cache, root, path)?)
    }

    /// The instance with one slot replaced: what its owner can do, and no guest.
    pub(crate) fn put(
        &mut self,
        instance: CapHash,
        path: SlotPath,
        content: Option<CapHash>,
    ) -> Result<CapHash, CliError> {
        let cap = self.cache.fetch(instance.into())?;
        let Cap::Instance(cap) = &*cap else {
            return Err(VmError::NotAnInstance { found: cap.kind() }.into());
        };
        if self.image(cap.image_hash)?.pinned_slots.contains_key(&SlotIdx(u32::from(path.root_slot()))) {
            return Err(CliError::Slot { slot: path.to_string(), reason: "is part of the program" });
        }
        let root = self.cache.fetch(cap.root_cnode)?;
        let Cap::CNode(root) = &*root else { return Ok(instance) };
        let (mut root, mut cap) = (root.clone(), cap.clone());
        let content = content.map(CapHashOrRef::Hash);
        path::write_path(&mut self.cache, &mut root, path, content, javm_cap::Owner::NONE)?;
        cap.root_cnode = self.cache.put_cap(&root.into())?.into();
        Ok(self.cache.put_cap(&cap.into())?)
    }

    /// What a name stands for, in a few words.
    pub(crate) fn held(&self, name: CapHashOrRef) -> Result<Held, CliError> {
        let cap = self.cache.fetch(name)?;
        let hash = cap.hash()?;
        let kind = match &*cap {
            Cap::Instance(_) => "instance",
            Cap::Image(_) => "image",
            Cap::Data(_) => "data",
            Cap::CNode(_) => "cnode",
            Cap::Type(_) => "type",
        };
        let mut held = Held { kind, hash: hex(&hash), bytes: None, hex: None, text: None };
        if let Cap::Data(data) = &*cap {
            let mut start = vec![0; data.content_len().min(PREVIEW as u64) as usize];
            data.read(0, &mut start);
            held.bytes = Some(data.content_len());
            held.hex = Some(hex_bytes(&start));
            let text = std::str::from_utf8(&start).ok().filter(|t| !t.contains(|c: char| c.is_control()));
            held.text = text.filter(|_| data.content_len() <= PREVIEW as u64).map(clean);
        }
        Ok(held)
    }

    /// How many pages an instance's memory has when it is called.
    pub(crate) fn pages(&self, instance: CapHash) -> Result<u64, CliError> {
        let cap = self.cache.fetch(instance.into())?;
        let Cap::Instance(cap) = &*cap else { return Ok(0) };
        let image = self.image(cap.image_hash)?;
        let page = PAGE_SIZE as u64;
        let mapped: u64 = image.memory_mappings.iter().map(|m| m.size.div_ceil(page)).sum();
        Ok(mapped + cap.memory().page_count())
    }

    /// How many pages of persistent mappings differ between two values of one instance.
    pub(crate) fn changed_pages(&self, before: CapHash, after: CapHash) -> Result<u64, CliError> {
        let image = self.image(self.image_of(before)?)?;
        let mut changed = 0;
        for mapping in &image.memory_mappings {
            let javm_cap::image::MappingSource::Slot(path) = mapping.source else { continue };
            let (old, new) = (self.data_in(before, path)?, self.data_in(after, path)?);
            for page in 0..mapping.size.div_ceil(PAGE_SIZE as u64) {
                let bytes = |data: &Option<DataCap>| data.as_ref().and_then(|d| d.page(page).map(trimmed));
                changed += u64::from(bytes(&old).unwrap_or_default() != bytes(&new).unwrap_or_default());
            }
        }
        Ok(changed)
    }

    fn data_in(&self, instance: CapHash, path: SlotPath) -> Result<Option<DataCap>, CliError> {
        let Some(name) = self.slot(instance, path)? else { return Ok(None) };
        match &*self.cache.fetch(name)? {
            Cap::Data(data) => Ok(Some(data.clone())),
            _ => Ok(None),
        }
    }

    /// What images are called here.
    pub(crate) fn name_of(&self, image: &CapHash) -> Option<&str> {
        self.names.get(image).map(String::as_str)
    }
}

/// A page without its trailing zeros.
fn trimmed(page: &[u8]) -> Vec<u8> {
    let len = page.iter().rposition(|b| *b != 0).map_or(0, |last| last + 1);
    page[..len].to_vec()
}

/// The endpoints of a program for people: index, name up to the `@`, code offset.
pub(crate) fn endpoints(program: &Program) -> Vec<(u8, String, u32)> {
    let Ok(endpoints) = program.endpoints() else { return Vec::new() };
    endpoints.into_iter().map(|(index, export)| (index, clean(&export.name_lossy()), export.pc)).collect()
}

/// The endpoint that a person means: a whole export name, one up to its `@`, or an index. Of a program
/// without exports, endpoint 0.
pub(crate) fn find_endpoint(program: &Program, wanted: &str) -> Result<(u8, Option<String>), CliError> {
    let all = endpoints(program);
    let known = || {
        let listed: Vec<_> = all.iter().map(|(index, name, _)| format!("{index} {name}")).collect();
        if listed.is_empty() { "0".to_owned() } else { listed.join(", ") }
    };
    let not_there = || CliError::NoEndpoint { wanted: clean(wanted), known: known() };
    if let Some((index, name, _)) = all.iter().find(|(_, name, _)| name == wanted) {
        return Ok((*index, Some(name.clone())));
    }
    let short: Vec<_> =
        all.iter().filter(|(_, name, _)| name.rsplit_once('@').is_some_and(|(n, _)| n == wanted)).collect();
    match short[..] {
        [(index, name, _)] => return Ok((*index, Some(name.clone()))),
        [] => {}
        _ => return Err(CliError::AmbiguousEndpoint { wanted: clean(wanted), known: known() }),
    }
    let index = crate::options::number(wanted).and_then(|n| u8::try_from(n).ok()).ok_or_else(not_there)?;
    if all.is_empty() && index == 0 {
        return Ok((0, None));
    }
    let found = all.iter().find(|(i, _, _)| *i == index).ok_or_else(not_there)?;
    Ok((index, Some(found.1.clone())))
}

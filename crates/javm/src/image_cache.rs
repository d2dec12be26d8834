//! [`ImageCache`]: images decoded and compiled once per hash, whatever backend runs them.
//!
//! Compiled code is the engine's, which shares it with other machines and keeps it on disk if it was told where.
//! Here images are kept, as many as fit into as many bytes.

use std::sync::Arc;

use javm_cap::{
    CacheDirectory, Cap, CapError, CapHash, CapHashOrRef, CapMap, ImageCap, Keyed, Kind, image::Image,
};
use javm_exec::{Code, Engine, Lru, Module};
use javm_program::Program;

/// An image, ready to run.
#[derive(Debug)]
pub struct LoadedImage {
    /// Its name.
    pub(crate) hash: CapHash,
    /// The value.
    pub(crate) cap: ImageCap,
    /// The code, compiled.
    pub(crate) module: Module,
    /// Names and source lines for people, where somebody attached them.
    pub(crate) program: Option<Arc<Program>>,
}

impl LoadedImage {
    /// The image.
    pub(crate) fn image(&self) -> &Image {
        self.cap.image()
    }
}

/// Bytes of code, and of what was made of it, that the images kept may have together.
const LIMIT: usize = 256 << 20;

/// Images by hash. Those that were longest not used are forgotten when there are too many.
#[derive(Debug)]
pub struct ImageCache {
    engine: Engine,
    images: Lru<CapHash, Arc<LoadedImage>, Keyed>,
    programs: CapMap<Arc<Program>>,
}

impl ImageCache {
    /// An empty cache whose modules belong to this engine.
    #[must_use]
    pub fn new(engine: Engine) -> Self {
        Self { engine, images: Lru::new(LIMIT), programs: CapMap::default() }
    }

    /// Whether no image was loaded yet.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.images.is_empty()
    }

    /// How many images are loaded.
    #[must_use]
    pub fn len(&self) -> usize {
        self.images.len()
    }

    /// Whether the image with this hash is loaded.
    #[must_use]
    pub fn contains(&self, hash: &CapHash) -> bool {
        self.images.contains_key(hash)
    }

    /// The engine that runs the images.
    #[must_use]
    pub const fn engine(&self) -> &Engine {
        &self.engine
    }

    /// Attaches the program that an image was made from: its names and source lines appear in
    /// [`FaultInfo`](crate::FaultInfo). Execution never reads them.
    pub fn attach(&mut self, image: CapHash, program: Arc<Program>) {
        self.images.remove(&image);
        self.programs.insert(image, program);
    }

    /// The image with this hash, decoded and compiled if this is its first use.
    ///
    /// # Errors
    /// [`CapError`] when the value is missing or is no image.
    pub(crate) fn load(
        &mut self,
        cache: &mut CacheDirectory,
        hash: CapHash,
    ) -> Result<Arc<LoadedImage>, CapError> {
        let size = |image: &Arc<LoadedImage>| image.module.size();
        if let Some(image) = self.images.get(&hash, size) {
            return Ok(image);
        }
        let cap = cache.fetch(CapHashOrRef::Hash(hash))?;
        let Cap::Image(image) = &*cap else {
            return Err(CapError::WrongKind { hash, expected: Kind::Image, found: cap.kind() });
        };
        let code = || Code::new(&image.code, &image.packed_bitmask, &image.jump_table);
        let module = self.engine.module(hash, code).map_err(|error| CapError::Image(error.into()))?;
        let program = self.programs.get(&hash).cloned();
        let loaded = Arc::new(LoadedImage { hash, cap: image.clone(), module, program });
        Ok(self.images.insert(hash, loaded, size))
    }
}

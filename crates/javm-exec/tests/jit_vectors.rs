//! Every conformance vector on the recompiler, under both gas models.
//!
//! The vectors live beside the repository, in `../shared/vectors`; where they are not, the test says so.

use std::path::Path;

use javm_exec::{Backend, Config, Engine, GasModel};
use javm_testkit::vectors::{RunConfig, VectorFile, run_file};

#[test]
fn every_vector_passes_on_the_recompiler() {
    if Engine::new(Config::new().backend(Backend::Recompiler)).is_err() {
        return;
    }
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../../shared/vectors");
    let Ok(entries) = std::fs::read_dir(directory) else {
        eprintln!("there are no vectors in ../shared/vectors: nothing was compared");
        return;
    };
    let mut passed = 0;
    for path in
        entries.map(|entry| entry.unwrap().path()).filter(|p| p.extension().is_some_and(|e| e == "jsonl"))
    {
        let file = VectorFile::load(&path).unwrap();
        let own = RunConfig::new(Backend::Recompiler);
        let configs = GasModel::ALL.map(|model| RunConfig::new(Backend::Recompiler).gas_model(model));
        for config in configs.iter().chain([&own]) {
            let report = run_file(&file, config).unwrap();
            for failure in &report.failed {
                println!("{}: {failure}", path.display());
            }
            assert!(report.failed.is_empty(), "{} vectors failed", report.failed.len());
            passed += report.passed;
        }
    }
    assert!(passed > 0);
    println!("{passed} passed");
}

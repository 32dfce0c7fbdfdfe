//! Writes the Rust code of the protos. In pure Rust: no protoc is needed.
//!
//! Usage: `headwater-generate PROTOS OUT`, with the folder of the protos and the one to write into, which must exist.

use std::error::Error;
use std::path::{Path, PathBuf};

use prost_types::FileDescriptorSet;

/// The packages whose files hold only options, which prost does not keep.
const OPTIONS: [&str; 2] = ["buf.validate", "google.api"];

/// The large variants of oneofs. Boxed, they leave the small and frequent ones small: a delta of text is not as large as an answer.
const BOXED: [&str; 7] = [
    ".headwater.v1.AnswerChunk.event.snapshot",
    ".headwater.v1.AnswerChunk.event.answer",
    ".headwater.v1.ImportDocumentRequest.part.header",
    ".headwater.v1.ImportDocumentResponse.event.document",
    ".headwater.v1.WatchDocumentResponse.event.document",
    ".headwater.v1.DownloadDocumentResponse.part.document",
    ".headwater.v1.StreamAnswerRequest.grounding.retrieval",
];

/// The `.proto` files of our package, in the order of their names.
fn proto_files(protos: &Path) -> Result<Vec<PathBuf>, Box<dyn Error>> {
    let mut files = Vec::new();
    for entry in protos.join("headwater/v1").read_dir()? {
        let path = entry?.path();
        if path
            .extension()
            .is_some_and(|extension| extension == "proto")
        {
            files.push(path);
        }
    }
    files.sort();
    Ok(files)
}

/// Compiles our files and those they import. Of the latter nothing is generated: google.rpc and the well-known types are in crates.
fn descriptors(protos: &Path) -> Result<FileDescriptorSet, Box<dyn Error>> {
    let mut descriptors = protox::compile(proto_files(protos)?, [protos])?;
    descriptors
        .file
        .retain(|file| !OPTIONS.contains(&file.package()));
    Ok(descriptors)
}

fn main() -> Result<(), Box<dyn Error>> {
    let arguments: Vec<PathBuf> = std::env::args_os().skip(1).map(PathBuf::from).collect();
    let [protos, out] = arguments.as_slice() else {
        return Err("usage: headwater-generate PROTOS OUT".into());
    };
    let mut builder = tonic_prost_build::configure()
        .build_server(false)
        .build_transport(false)
        .emit_rerun_if_changed(false)
        .extern_path(".google.rpc", "::tonic_types::pb")
        .out_dir(out);
    for path in BOXED {
        builder = builder.boxed(path);
    }
    builder.compile_fds(descriptors(protos)?)?;
    Ok(())
}

//! Streaming answers with sources, over gRPC.

/// The messages and clients of the package `headwater.v1`, as its protos generate them.
pub mod v1 {
    include!("generated/headwater.v1.rs");
}

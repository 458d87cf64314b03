//! Generates the wire types; protox compiles the contract, so no protoc is needed.

use std::error::Error;

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=proto");
    let contract = protox::compile(["proto/palisade/v1/node.proto"], ["proto"])?;
    tonic_prost_build::configure().bytes(".palisade.v1.Update.operations").compile_fds(contract)?;
    Ok(())
}

//! libFuzzer on one of the targets: `PALISADE_FUZZ_TARGET` names it, the arguments are libFuzzer's. See `.ci/fuzz`.

#![no_main]
#![allow(clippy::expect_used, reason = "there is nobody to return an error to")]

use std::sync::OnceLock;

use libfuzzer_sys::fuzz_target;
use palisade_fuzz::Target;

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(
    init: {
        let name = std::env::var("PALISADE_FUZZ_TARGET").expect("PALISADE_FUZZ_TARGET names a target");
        TARGET.get_or_init(|| palisade_fuzz::target(&name).expect("PALISADE_FUZZ_TARGET names a known target"));
    },
    |bytes: &[u8]| TARGET.get().expect("set at the start")(bytes)
);

//! Sets `cfg(cortex_m)` for processors with a `SysTick` timer, and `cfg(cortex_m_main)` for those
//! that may have a cycle counter as well. The stable compiler has no `cfg` that distinguishes them.

use std::env;

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rustc-check-cfg=cfg(cortex_m)");
    println!("cargo:rustc-check-cfg=cfg(cortex_m_main)");
    let target = env::var("TARGET").unwrap_or_default();
    let is_main =
        ["thumbv7m", "thumbv7em", "thumbv8m.main"].iter().any(|name| target.starts_with(name));
    if is_main || ["thumbv6m", "thumbv8m.base"].iter().any(|name| target.starts_with(name)) {
        println!("cargo:rustc-cfg=cortex_m");
    }
    if is_main {
        println!("cargo:rustc-cfg=cortex_m_main");
    }
}

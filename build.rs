//! Links `presence.so` with the host's database library, where the host's own modules find it too.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    // Set by the shim's build script; not there if the host has the library built in.
    let (Ok(library), Ok(folder)) = (std::env::var("DEP_KAMAILIO_SRDB1"), std::env::var("DEP_KAMAILIO_LIBDIR")) else {
        return;
    };
    for arg in [format!("-L{folder}"), format!("-l:{library}"), format!("-Wl,-rpath,{folder}")] {
        println!("cargo:rustc-cdylib-link-arg={arg}");
    }
}

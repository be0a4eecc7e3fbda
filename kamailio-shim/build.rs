//! Compiles the shim and generates the bindings against the headers of one Kamailio,
//! after making sure that they are the headers of the Kamailio that will load the module.
//!
//! `KAMAILIO_SRC`    source tree (default: `target/kamailio-src`, filled by `make headers`)
//! `KAMAILIO_BIN`    the binary to agree with, or the command that runs it (default: `kamailio` on the path)
//! `KAMAILIO_LIBDIR` folder of its libraries (default: where Debian puts them)

use std::path::{Path, PathBuf};
use std::process::Command;
use std::{env, fs};

const DEFAULT_LIBDIR: &str = "/usr/lib/x86_64-linux-gnu/kamailio";
const SRDB1: &str = "libsrdb1.so.1";

fn main() {
    if let Err(sentence) = build() {
        eprintln!("\nerror: {sentence}\n");
        std::process::exit(1);
    }
}

fn build() -> Result<(), String> {
    for name in ["KAMAILIO_SRC", "KAMAILIO_BIN", "KAMAILIO_LIBDIR"] {
        println!("cargo:rerun-if-env-changed={name}");
    }
    let shim = PathBuf::from(var("CARGO_MANIFEST_DIR")?);
    let root = shim.parent().ok_or("the shim has no parent folder")?.to_path_buf();
    for path in ["include/wrapper.h", "kamailio-shim/shim.c", "kamailio-shim/shim.h"] {
        println!("cargo:rerun-if-changed={}", root.join(path).display());
    }
    println!("cargo:rerun-if-changed=build.rs");

    let out = PathBuf::from(var("OUT_DIR")?);
    let tree = source_tree(&root)?;
    let binary = Identity::of_binary()?;
    let defines = defines_of(&tree, &out, &binary)?;
    let identity = identity_of(&tree, &defines, &out)?;
    identity.agree_with(&binary)?;
    compile_shim(&root, &tree, &defines);
    generate_bindings(&root, &tree, &defines, &out)?;
    fs::write(
        out.join("identity.rs"),
        format!(
            "/// `module_version`: must equal the core's, letter for letter.\n\
             pub const VERSION: &core::ffi::CStr = c{:?};\n\
             /// `module_flags`: must equal the core's, letter for letter.\n\
             pub const FLAGS: &core::ffi::CStr = c{:?};\n",
            identity.version, identity.flags
        ),
    )
    .map_err(|e| format!("cannot write identity.rs: {e}"))?;

    // What the packages that make a module pass on to the linker (DEP_KAMAILIO_*).
    let libdir = env::var("KAMAILIO_LIBDIR").unwrap_or_else(|_| DEFAULT_LIBDIR.into());
    if Path::new(&libdir).join(SRDB1).exists() {
        println!("cargo:srdb1={SRDB1}");
        println!("cargo:libdir={libdir}");
    }
    Ok(())
}

fn var(name: &str) -> Result<String, String> {
    env::var(name).map_err(|_| format!("{name} is not set: build with cargo"))
}

/// The folder that holds `core/` and `modules/`.
fn source_tree(root: &Path) -> Result<PathBuf, String> {
    let tree = env::var_os("KAMAILIO_SRC").map_or_else(|| root.join("target/kamailio-src"), PathBuf::from);
    for candidate in [tree.join("src"), tree.clone()] {
        if candidate.join("core/sr_module.h").is_file() {
            return candidate.canonicalize().map_err(|e| format!("cannot resolve {}: {e}", candidate.display()));
        }
    }
    Err(format!(
        "no Kamailio source tree in {}: run `make headers` (it fetches the source package of the installed \
         Kamailio), or set KAMAILIO_SRC to the tree that your kamailio was built from",
        tree.display()
    ))
}

/// The `-D` and `-U` flags that the tree's own makefiles compile with, asked of make without writing into the tree.
fn defines_of(tree: &Path, out: &Path, binary: &Identity) -> Result<Vec<String>, String> {
    let makefile = out.join("defines.mk");
    fs::write(
        &makefile,
        "main_makefile=1\nexported_vars=0\nCOREPATH=.\ninclude Makefile.defs\n\
         $(info DEFINES $(C_DEFS))\n.PHONY: none\nnone: ; @:\n",
    )
    .map_err(|e| format!("cannot write {}: {e}", makefile.display()))?;
    let output = Command::new("make")
        .args(["-s", "-C"])
        .arg(tree)
        .arg("-f")
        .arg(&makefile)
        .arg("none")
        .env_remove("MAKEFLAGS")
        .env_remove("MAKELEVEL")
        .output()
        .map_err(|e| format!("cannot run make to read Kamailio's compile flags: {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let line = text.lines().find_map(|l| l.strip_prefix("DEFINES ")).ok_or_else(|| {
        format!(
            "Makefile.defs of {} did not give its flags: {}",
            tree.display(),
            String::from_utf8_lossy(&output.stderr)
        )
    })?;
    let words = shlex::split(line).ok_or("Kamailio's compile flags have an unclosed quote")?;
    let mut defines: Vec<String> = words.into_iter().filter(|w| w.starts_with("-D") || w.starts_with("-U")).collect();
    // This one the makefiles take from the libssl of the machine that builds, not from the tree: the binary says what
    // it was there. No structure depends on it.
    if binary.flags.contains("TLS_PTHREAD_MUTEX_SHARED") {
        defines.push("-DKSR_PTHREAD_MUTEX_SHARED".into());
    }
    Ok(defines)
}

struct Identity {
    version: String,
    flags: String,
}

/// The two strings that the core compares when it loads a module, expanded from the tree's own header.
fn identity_of(tree: &Path, defines: &[String], out: &Path) -> Result<Identity, String> {
    let probe = out.join("identity.c");
    fs::write(&probe, "#include \"core/ver_defs.h\"\nVERSION_IS SER_FULL_VERSION\nFLAGS_ARE SER_COMPILE_FLAGS\n")
        .map_err(|e| format!("cannot write {}: {e}", probe.display()))?;
    let output = Command::new("cc")
        .args(["-E", "-P"])
        .args(defines)
        .arg("-I")
        .arg(tree)
        .arg(&probe)
        .output()
        .map_err(|e| format!("cannot run cc (install gcc): {e}"))?;
    let text = String::from_utf8_lossy(&output.stdout).replace('\n', " ");
    let quoted = |s: &str| s.split('"').skip(1).step_by(2).collect::<String>();
    let (version, flags) = text.split_once("FLAGS_ARE ").ok_or("ver_defs.h could not be preprocessed")?;
    Ok(Identity { version: quoted(version), flags: quoted(flags) })
}

/// Headers of another version would give wrong layouts: refuse here rather than crash there.
fn binary() -> String {
    env::var("KAMAILIO_BIN").unwrap_or_else(|_| "kamailio".into())
}

impl Identity {
    /// What the binary says of itself.
    fn of_binary() -> Result<Self, String> {
        let binary = binary();
        // Words, not a path: another release's binary is started through its own loader.
        let mut words = binary.split_whitespace();
        let output = Command::new(words.next().unwrap_or_default()).args(words).arg("-V").output().map_err(|e| {
            format!("cannot run `{binary} -V` ({e}): install kamailio, or set KAMAILIO_BIN to the binary that will load the module")
        })?;
        let text = String::from_utf8_lossy(&output.stdout);
        let line =
            |key: &str| text.lines().find_map(|l| l.strip_prefix(key)).map(str::trim).unwrap_or_default().to_owned();
        Ok(Self { version: line("version: "), flags: line("flags: ") })
    }

    fn agree_with(&self, core: &Self) -> Result<(), String> {
        for (what, tree, core) in [("version", &self.version, &core.version), ("flags", &self.flags, &core.flags)] {
            if tree != core {
                return Err(format!(
                    "the {what} of the source tree and of {} differ, the module would not load:\n  tree:   {tree}\n  binary: {core}",
                    binary()
                ));
            }
        }
        Ok(())
    }
}

fn compile_shim(root: &Path, tree: &Path, defines: &[String]) {
    let mut build = cc::Build::new();
    build.file(root.join("kamailio-shim/shim.c")).include(root).include(tree).pic(true).opt_level(2).warnings(false);
    build.define("MOD_NAME", "\"presence\"").define("MOD_NAMEID", "presence");
    for flag in defines {
        build.flag(flag);
    }
    build.compile("kamailio_shim");
}

fn generate_bindings(root: &Path, tree: &Path, defines: &[String], out: &Path) -> Result<(), String> {
    let mut builder = bindgen::Builder::default()
        .header(root.join("kamailio-shim/shim.h").to_string_lossy())
        .clang_args(defines)
        .clang_arg(format!("-I{}", tree.display()))
        .clang_arg(format!("-I{}", root.display()))
        .clang_args(["-DMOD_NAME=\"presence\"", "-DMOD_NAMEID=presence"])
        .rust_target(bindgen::RustTarget::stable(85, 0).map_err(|e| e.to_string())?)
        .rust_edition(bindgen::RustEdition::Edition2024)
        .layout_tests(true)
        .generate_comments(false)
        .default_enum_style(bindgen::EnumVariation::Consts)
        .prepend_enum_name(false);
    for name in TYPES {
        builder = builder.allowlist_type(name);
    }
    for name in FUNCTIONS {
        builder = builder.allowlist_function(name);
    }
    for name in VARIABLES {
        builder = builder.allowlist_var(name);
    }
    builder
        .generate()
        .map_err(|e| format!("bindgen failed (is libclang-dev installed?): {e}"))?
        .write_to_file(out.join("bindings.rs"))
        .map_err(|e| format!("cannot write bindings.rs: {e}"))
}

const TYPES: &[&str] = &[
    "request_method",
    "module_exports",
    "cmd_export_t",
    "param_export_t",
    "rpc_export_t",
    "pv_export_t",
    "sr_kemi_t",
    "sip_msg_t",
    "sip_uri_t",
    "to_body_t",
    "contact_body_t",
    "exp_body_t",
    "event_t",
    "param_t",
    "cseq_body",
    "presence_api_t",
    "pres_ev_t",
    "subs_t",
    "subs_entry_t",
    "shtable_t",
    "tm_api_t",
    "sl_api_t",
    "uac_req_t",
    "dlg_t",
    "tmcb_params",
    "sl_cbelem_t",
    "cell",
    "db_func_t",
    "db1_con_t",
    "db1_res_t",
    "db_row_t",
    "db_val_t",
    "gen_lock_t",
    "rpc_t",
    "pv_.*",
    "socket_info",
    "db_cap",
    "sip_protos",
    "enum_sip_protos",
    "sruid_t",
    "gparam_t",
    "sr_xavp_t",
    "rr_t",
    "run_act_ctx_t",
    "dest_info_t",
];

const FUNCTIONS: &[&str] = &[
    "ksr_.*",
    "find_export",
    "db_bind_mod",
    "db_check_table_version",
    "parse_event",
    "event_parser",
    "free_event_params",
    "parse_expires",
    "parse_sip_msg_uri",
    "parse_uri",
    "parse_from_header",
    "parse_to",
    "parse_contact",
    "parse_rr_body",
    "print_rr_body",
    "free_rr",
    "free_to_params",
    "parse_phostport",
    "grep_sock_info",
    "uri_restore_rcv_alias",
    "getbflagsval",
    "register_timer",
    "sr_wtimer_add",
    "register_basic_timers",
    "register_basic_timers_num",
    "fork_basic_timer",
    "fork_basic_utimer",
    "fork_basic_utimer_w",
    "register_procs",
    "cfg_register_child",
    "sr_kemi_modules_add",
    "sr_kemi_eng_get",
    "sr_kemi_ctx_route",
    "rpc_register_array",
    "fixup_spve_null",
    "fixup_spve_spve",
    "fixup_free_spve_spve",
    "fixup_igp_null",
    "get_str_fparam",
    "get_int_fparam",
    "pv_get_null",
    "pv_get_strval",
    "pv_get_uintval",
    "pv_get_sintval",
    "pv_parse_spec2",
    "pv_get_spec_value",
    "build_sip_msg_from_buf",
    "free_sip_msg",
    "inc_msg_no",
    "route_lookup",
    "sruid_init",
    "sruid_next",
    "str2facility",
    "my_pid",
    "xavp_get_child_with_ival",
    "lookup_local_socket",
    "get_status_info",
    "sip_hostport2su",
    "ksr_msg_env_reset",
    "get_send_socket2",
];

const VARIABLES: &[&str] = &[
    "PROC_.*",
    "REQUEST_ROUTE",
    "LOCAL_ROUTE",
    "EVENT_ROUTE",
    "ANY_ROUTE",
    "PARAM_.*",
    "METHOD_.*",
    "DB_CAP_.*",
    "DB1_.*",
    "EVENT_.*",
    "SR_KEMIP_.*",
    "PVT_OTHER",
    "PV_NAME_.*",
    "MODULE_INTERFACE_VER",
    "sql_buffer_size",
    "process_no",
    "L_.*",
    "RPC_.*",
    "RET_ARRAY",
    "SRUID_.*",
    "TMCB_.*",
    "DLG_CONFIRMED",
    "LUMP_RPL_.*",
    "route_type",
    "event_rt",
    "PROTO_.*",
    "E_OUT_OF_MEM",
    "WINFO_TYPE",
    "PUBL_TYPE",
    "SLCB_.*",
    ".*_STATUS",
    "DB_LOCKING_.*",
    "DB_POOLING_.*",
    "MAX_URI_SIZE",
    "SUBTYPE_.*",
    "TYPE_APPLICATION",
    ".*DB_FLAG",
    "REMOTE_TYPE",
    "LOCAL_TYPE",
    ".*_MEM_TYPE",
    "SIPS_URI_T",
    "server_signature",
    "user_agent_hdr",
];

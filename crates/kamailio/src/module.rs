//! What makes a shared object a module: the exported tables, and the wrappers around the module's life.

use core::ffi::{CStr, c_char, c_int, c_uint, c_void};
use core::ptr::null_mut;
use kamailio_shim as raw;

/// A C pointer in a static: set once, read by the host.
#[repr(transparent)]
#[derive(Debug)]
pub struct Exported<T>(pub *const T);
// SAFETY: points to a static; nobody writes through it.
unsafe impl<T> Sync for Exported<T> {}

/// A table that the host reads and, for its own bookkeeping, may write.
#[repr(transparent)]
#[derive(Debug)]
pub struct Table<T, const N: usize>(core::cell::UnsafeCell<[T; N]>);
// SAFETY: only the host touches the entries, before it forks (rule H2).
unsafe impl<T, const N: usize> Sync for Table<T, N> {}

impl<T, const N: usize> Table<T, N> {
    /// A table of entries; the last one must be all zero.
    #[must_use]
    pub const fn new(entries: [T; N]) -> Self {
        Self(core::cell::UnsafeCell::new(entries))
    }

    /// The address for the host.
    #[must_use]
    pub const fn address(&self) -> *mut T {
        self.0.get().cast()
    }
}

/// A script function: takes the message and up to two parameters as the fixup left them.
pub type Command = unsafe extern "C" fn(*mut raw::sip_msg_t, *mut c_char, *mut c_char) -> c_int;
/// A fixup: turns a parameter's text into what the function wants, once, at start.
pub type Fixup = unsafe extern "C" fn(*mut *mut c_void, c_int) -> c_int;

/// Routes in which a function may be called.
#[derive(Clone, Copy, Debug)]
pub enum Routes {
    /// `request_route` only.
    Request,
    /// Any.
    Any,
    /// None: another module's C code binds to it.
    Bind,
}

/// An entry of the table of script functions.
#[must_use]
pub const fn command(
    name: &'static CStr,
    function: raw::cmd_function,
    params: i32,
    fixup: Option<Fixup>,
    routes: Routes,
) -> raw::cmd_export_t {
    raw::cmd_export_t {
        name: name.as_ptr().cast_mut(),
        function,
        param_no: params,
        fixup,
        free_fixup: None,
        flags: match routes {
            Routes::Request => raw::REQUEST_ROUTE as c_uint,
            Routes::Any => raw::ANY_ROUTE as c_uint,
            Routes::Bind => 0,
        },
    }
}

/// The end of the table of script functions.
#[must_use]
pub const fn last_command() -> raw::cmd_export_t {
    raw::cmd_export_t { name: null_mut(), function: None, param_no: 0, fixup: None, free_fixup: None, flags: 0 }
}

/// An integer parameter's entry.
#[must_use]
pub const fn int_param(name: &'static CStr, cell: &'static crate::param::Int) -> raw::param_export_t {
    raw::param_export_t { name: name.as_ptr().cast_mut(), type_: raw::PARAM_INT as _, param_pointer: cell.cell() }
}

/// A string parameter's entry.
#[must_use]
pub const fn text_param(name: &'static CStr, cell: &'static crate::param::Text) -> raw::param_export_t {
    raw::param_export_t { name: name.as_ptr().cast_mut(), type_: raw::PARAM_STR as _, param_pointer: cell.cell() }
}

/// A function that is called with the value instead of a cell: for a value of the wrong type.
#[must_use]
pub const fn refused_param(
    name: &'static CStr,
    type_: raw::modparam_t,
    function: unsafe extern "C" fn(raw::modparam_t, *mut c_void) -> c_int,
) -> raw::param_export_t {
    raw::param_export_t {
        name: name.as_ptr().cast_mut(),
        type_: type_ | raw::PARAM_USE_FUNC,
        param_pointer: function as *mut c_void,
    }
}

/// The end of the table of parameters.
#[must_use]
pub const fn last_param() -> raw::param_export_t {
    raw::param_export_t { name: null_mut(), type_: 0, param_pointer: null_mut() }
}

/// Expands to the symbols that the host looks for in a module, around five Rust functions:
/// `init() -> bool`, `child_init(Rank) -> bool`, `destroy()`, `register()`, and `response(&mut Message) -> bool`, which
/// is asked about every reply that comes and says whether it was for this module alone.
///
/// C symbols of a static archive are hidden by rustc's version script, and `no_mangle` in a dependency would be in
/// every module: so the symbols come from this macro, in the module's own crate.
#[macro_export]
macro_rules! module {
    (
        name: $name:literal,
        commands: $commands:expr,
        params: $params:expr,
        pvs: $pvs:expr,
        register: $register:path,
        init: $init:path,
        child_init: $child_init:path,
        destroy: $destroy:path,
        response: $response:path $(,)?
    ) => {
        mod exported {
            use super::*;
            use core::ffi::{c_char, c_int, c_uint, c_void};
            use $crate::raw;

            /// The version that the core compares, letter for letter.
            #[unsafe(no_mangle)]
            pub static module_version: $crate::module::Exported<c_char> =
                $crate::module::Exported(raw::VERSION.as_ptr());
            /// The compile flags that the core compares, letter for letter.
            #[unsafe(no_mangle)]
            pub static module_flags: $crate::module::Exported<c_char> = $crate::module::Exported(raw::FLAGS.as_ptr());
            /// The shape of the table below.
            #[unsafe(no_mangle)]
            pub static module_interface_ver: c_uint = raw::MODULE_INTERFACE_VER as c_uint;
            /// The module's table. `dlflags` 0: anything else makes the core load the object a second time.
            #[unsafe(no_mangle)]
            pub static exports: $crate::module::Table<raw::module_exports, 1> =
                $crate::module::Table::new([raw::module_exports {
                    name: concat!($name, "\0").as_ptr().cast_mut().cast(),
                    dlflags: 0,
                    cmds: $commands,
                    params: $params,
                    rpc_methods: core::ptr::null_mut(),
                    pv_items: $pvs,
                    response_f: Some(response),
                    init_mod_f: Some(init_module),
                    init_child_f: Some(init_child),
                    destroy_mod_f: Some(destroy_module),
                }]);

            unsafe extern "C" fn init_module() -> c_int {
                $crate::entry::guard("mod_init", -1, || if $init() { 0 } else { -1 })
            }
            unsafe extern "C" fn init_child(rank: c_int) -> c_int {
                $crate::entry::guard("child_init", -1, || if $child_init(rank.into()) { 0 } else { -1 })
            }
            /// 0 keeps the reply from everybody else.
            unsafe extern "C" fn response(msg: *mut raw::sip_msg_t) -> c_int {
                $crate::entry::guard("reply", 1, || {
                    // SAFETY: the message that the host is processing.
                    let msg = unsafe { $crate::msg::Message::from_raw(msg) };
                    if msg.is_some_and(|mut msg| $response(&mut msg)) { 0 } else { 1 }
                })
            }
            unsafe extern "C" fn destroy_module() {
                $crate::entry::guard("destroy", (), || $destroy());
            }
            /// Called once, right after the object was opened.
            ///
            /// # Safety
            /// The host calls it with its own pointers, none of which is used.
            #[unsafe(no_mangle)]
            pub unsafe extern "C" fn mod_register(
                _path: *mut c_char,
                _dlflags: *mut c_int,
                _a: *mut c_void,
                _b: *mut c_void,
            ) -> c_int {
                $crate::log::name_module($name);
                $crate::entry::install_panic_hook();
                $crate::entry::guard("mod_register", -1, || {
                    $register();
                    0
                })
            }
        }
    };
}

/// A C function of another module, found by name.
///
/// # Safety
/// `F` is the function's true type.
pub unsafe fn find<F: Copy>(name: &'static CStr, params: i32) -> Option<F> {
    debug_assert_eq!(size_of::<F>(), size_of::<raw::cmd_function>());
    // SAFETY: looks through the host's table of modules.
    let found = unsafe { raw::find_export(name.as_ptr().cast_mut(), params, 0) };
    // SAFETY: a function pointer of the type that the caller vouches for.
    found.map(|f| unsafe { core::mem::transmute_copy::<_, F>(&f) })
}

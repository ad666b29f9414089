//! The C library's names, found before the C library's own.
//!
//! The linker resolves a name that the program defines itself to that definition, also for the
//! calls that the standard library makes, and exports it to shared libraries and `dlsym`. Passing
//! on is safe in signal handlers and in destructors of thread-locals: it reads a thread-local
//! without a destructor and a pointer that was set before `main`.

use std::{
    ffi::{CStr, c_int, c_void},
    marker::PhantomData,
    ptr,
    sync::atomic::{AtomicPtr, Ordering},
};

use libc::{
    clockid_t, cpu_set_t, pthread_attr_t, pthread_t, size_t, ssize_t, time_t, timespec, timeval,
};
use orloj_kernel::Context;

use super::{Call, caught};

/// The C library's function of some name; `F` is its type.
struct Real<F> {
    name: &'static CStr,
    found: AtomicPtr<c_void>,
    kind: PhantomData<fn() -> F>,
}

impl<F: Copy> Real<F> {
    /// # Safety
    /// `F` must be the type of the C library's function `name`, as a function pointer.
    const unsafe fn named(name: &'static CStr) -> Real<F> {
        assert!(size_of::<F>() == size_of::<*mut c_void>());
        Real { name, found: AtomicPtr::new(ptr::null_mut()), kind: PhantomData }
    }

    /// Looks for it. Not for signal handlers.
    fn find(&self) {
        // SAFETY: the name is a C string, and the handle one that `dlsym` knows.
        let found = unsafe { libc::dlsym(libc::RTLD_NEXT, self.name.as_ptr()) };
        self.found.store(found, Ordering::Relaxed);
    }

    #[inline]
    fn get(&self) -> Option<F> {
        let found = self.found.load(Ordering::Relaxed);
        // SAFETY: `dlsym` found it under a name whose type is `F`, by the contract of `named`, and
        // a function of the C library is never unloaded. The sizes were compared in
        // `named`.
        (!found.is_null()).then(|| unsafe { std::mem::transmute_copy::<*mut c_void, F>(&found) })
    }
}

/// Declares `Real`s, and looks for all of them before `main`.
macro_rules! reals {
    ($($name:ident $real:ident($($arg:ty),*);)*) => {
        $(
            static $name: Real<unsafe extern "C" fn($($arg),*) -> c_int> =
                // SAFETY: the type is that of the declaration in the C library's header.
                unsafe { Real::named(reals!(@c $real)) };
        )*
        extern "C" fn find_all() {
            $($name.find();)*
            GETRANDOM.find();
            TIME.find();
        }
    };
    (@c $real:ident) => {
        match CStr::from_bytes_with_nul(concat!(stringify!($real), "\0").as_bytes()) {
            Ok(name) => name,
            Err(_) => panic!("an identifier has no zeros"),
        }
    };
}

reals! {
    CLOCK_GETTIME clock_gettime(clockid_t, *mut timespec);
    GETTIMEOFDAY gettimeofday(*mut timeval, *mut c_void);
    GETENTROPY getentropy(*mut c_void, size_t);
    PTHREAD_CREATE pthread_create(*mut pthread_t, *const pthread_attr_t, Start, *mut c_void);
    NANOSLEEP nanosleep(*const timespec, *mut timespec);
    CLOCK_NANOSLEEP clock_nanosleep(clockid_t, c_int, *const timespec, *mut timespec);
    SOCKET socket(c_int, c_int, c_int);
    SCHED_GETAFFINITY sched_getaffinity(c_int, size_t, *mut cpu_set_t);
}

type Start = extern "C" fn(*mut c_void) -> *mut c_void;
type GetRandom = unsafe extern "C" fn(*mut c_void, size_t, u32) -> ssize_t;

// SAFETY: the type is that of the declaration in <sys/random.h>.
static GETRANDOM: Real<GetRandom> = unsafe { Real::named(c"getrandom") };
// SAFETY: the type is that of the declaration in <time.h>.
static TIME: Real<unsafe extern "C" fn(*mut time_t) -> time_t> = unsafe { Real::named(c"time") };

/// Run by the loader before `main`, and before any other thread is there.
#[used]
// SAFETY: the section holds pointers to functions of this type, which the loader calls once the
// shared libraries are in place; `find_all` needs nothing but them.
#[unsafe(link_section = ".init_array")]
static AT_START: extern "C" fn() = find_all;

/// Passes a call on: to the C library, or to the kernel where the library's function was not found.
macro_rules! pass {
    ($real:ident($($arg:expr),*), $number:ident) => {
        match $real.get() {
            // SAFETY: the namesake of this function, with the caller's arguments as they came.
            Some(real) => unsafe { real($($arg),*) },
            // SAFETY: the kernel checks the caller's arguments itself.
            None => unsafe { libc::syscall(libc::$number, $($arg),*) as _ },
        }
    };
}

fn errno(error: c_int) -> c_int {
    // SAFETY: the C library gives each thread a place for its error number.
    unsafe { *libc::__errno_location() = error };
    -1
}

/// Seconds and nanoseconds of `clock` at the host of `cx`.
fn read(cx: Context, clock: clockid_t) -> (time_t, u64) {
    const COARSE: clockid_t = libc::CLOCK_REALTIME_COARSE;
    let nanos = match clock {
        libc::CLOCK_REALTIME | COARSE | libc::CLOCK_TAI => cx.wall().0.saturating_mul(1_000),
        _ => cx.now().0,
    };
    ((nanos / 1_000_000_000) as time_t, nanos % 1_000_000_000)
}

/// Fills `len` bytes at `to` from the stream of the host of `cx`.
///
/// # Safety
/// `to` must be writable for `len` bytes.
unsafe fn fill(cx: Context, to: *mut c_void, len: usize) {
    for at in (0..len).step_by(8) {
        let word = cx.entropy().to_le_bytes();
        let n = word.len().min(len - at);
        // SAFETY: `at + n <= len`, of which the caller answers for all.
        unsafe { ptr::copy_nonoverlapping(word.as_ptr(), to.cast::<u8>().add(at), n) };
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn clock_gettime(clock: clockid_t, to: *mut timespec) -> c_int {
    let Some(cx) = caught(Call::Answered, "clock_gettime") else {
        return pass!(CLOCK_GETTIME(clock, to), SYS_clock_gettime);
    };
    let (tv_sec, nanos) = read(cx, clock);
    // SAFETY: the caller gives a place for the answer.
    unsafe { to.write(timespec { tv_sec, tv_nsec: nanos as _ }) };
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn gettimeofday(to: *mut timeval, zone: *mut c_void) -> c_int {
    let Some(cx) = caught(Call::Answered, "gettimeofday") else {
        return pass!(GETTIMEOFDAY(to, zone), SYS_gettimeofday);
    };
    let (tv_sec, nanos) = read(cx, libc::CLOCK_REALTIME);
    if !to.is_null() {
        // SAFETY: the caller gives a place for the answer, or null.
        unsafe { to.write(timeval { tv_sec, tv_usec: (nanos / 1_000) as _ }) };
    }
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn time(to: *mut time_t) -> time_t {
    let seconds = match (caught(Call::Answered, "time"), TIME.get()) {
        (Some(cx), _) => read(cx, libc::CLOCK_REALTIME).0,
        // SAFETY: null asks for the result alone.
        (None, Some(real)) => unsafe { real(ptr::null_mut()) },
        (None, None) => {
            let mut now = timespec { tv_sec: 0, tv_nsec: 0 };
            // SAFETY: `now` is a place for the answer.
            unsafe { libc::syscall(libc::SYS_clock_gettime, libc::CLOCK_REALTIME, &raw mut now) };
            now.tv_sec
        }
    };
    if !to.is_null() {
        // SAFETY: the caller gives a place for the answer, or null.
        unsafe { to.write(seconds) };
    }
    seconds
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getrandom(to: *mut c_void, len: size_t, flags: u32) -> ssize_t {
    let Some(cx) = caught(Call::Answered, "getrandom") else {
        return pass!(GETRANDOM(to, len, flags), SYS_getrandom);
    };
    // SAFETY: the caller gives `len` bytes to fill.
    unsafe { fill(cx, to, len) };
    len as ssize_t
}

#[unsafe(no_mangle)]
unsafe extern "C" fn getentropy(to: *mut c_void, len: size_t) -> c_int {
    let Some(cx) = caught(Call::Answered, "getentropy") else {
        if let Some(real) = GETENTROPY.get() {
            // SAFETY: the namesake of this function, with the caller's arguments as they came.
            return unsafe { real(to, len) };
        }
        // SAFETY: the kernel checks the caller's arguments itself.
        let got = unsafe { libc::syscall(libc::SYS_getrandom, to, len, 0) };
        return if got == len as libc::c_long { 0 } else { -1 };
    };
    // SAFETY: the caller gives `len` bytes to fill.
    unsafe { fill(cx, to, len) };
    0
}

#[unsafe(no_mangle)]
unsafe extern "C" fn pthread_create(
    thread: *mut pthread_t,
    attributes: *const pthread_attr_t,
    start: Start,
    argument: *mut c_void,
) -> c_int {
    if caught(Call::Refused, "pthread_create").is_some() {
        return libc::EAGAIN;
    }
    match PTHREAD_CREATE.get() {
        // SAFETY: the namesake of this function, with the caller's arguments as they came.
        Some(real) => unsafe { real(thread, attributes, start, argument) },
        None => libc::EAGAIN,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn nanosleep(length: *const timespec, left: *mut timespec) -> c_int {
    if caught(Call::Refused, "nanosleep").is_some() {
        return 0;
    }
    pass!(NANOSLEEP(length, left), SYS_nanosleep)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn clock_nanosleep(
    clock: clockid_t,
    flags: c_int,
    length: *const timespec,
    left: *mut timespec,
) -> c_int {
    if caught(Call::Refused, "clock_nanosleep").is_some() {
        return 0;
    }
    match CLOCK_NANOSLEEP.get() {
        // SAFETY: the namesake of this function, with the caller's arguments as they came.
        Some(real) => unsafe { real(clock, flags, length, left) },
        None => libc::ENOTSUP,
    }
}

#[unsafe(no_mangle)]
unsafe extern "C" fn socket(domain: c_int, kind: c_int, protocol: c_int) -> c_int {
    if caught(Call::Refused, "socket").is_some() {
        return errno(libc::EACCES);
    }
    pass!(SOCKET(domain, kind, protocol), SYS_socket)
}

#[unsafe(no_mangle)]
unsafe extern "C" fn sched_getaffinity(pid: c_int, size: size_t, to: *mut cpu_set_t) -> c_int {
    if caught(Call::Answered, "sched_getaffinity").is_none() {
        return match SCHED_GETAFFINITY.get() {
            // SAFETY: the namesake of this function, with the caller's arguments as they came.
            Some(real) => unsafe { real(pid, size, to) },
            None => errno(libc::ENOSYS),
        };
    }
    if size == 0 {
        return errno(libc::EINVAL);
    }
    // SAFETY: the caller gives `size` bytes for a set of processors, here the first alone.
    unsafe {
        ptr::write_bytes(to.cast::<u8>(), 0, size);
        to.cast::<u8>().write(1);
    }
    0
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_was_found_before_main() {
        assert!(CLOCK_GETTIME.get().is_some() && GETTIMEOFDAY.get().is_some());
        assert!(GETRANDOM.get().is_some() && GETENTROPY.get().is_some() && TIME.get().is_some());
        assert!(PTHREAD_CREATE.get().is_some() && SOCKET.get().is_some());
        assert!(NANOSLEEP.get().is_some() && CLOCK_NANOSLEEP.get().is_some());
        assert!(SCHED_GETAFFINITY.get().is_some());
        // What was found is the C library's and not ours.
        let ours: unsafe extern "C" fn(clockid_t, *mut timespec) -> c_int = clock_gettime;
        assert_ne!(CLOCK_GETTIME.get().map(|real| real as usize), Some(ours as usize));
    }
}

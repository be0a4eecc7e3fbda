//! Something to wake the module's own processes with.

use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::time::Duration;

/// Whoever rings wakes one of those who wait, or the next one who comes. Made before the processes are forked, which all
/// have it.
#[derive(Debug)]
pub struct Bell(OwnedFd);

impl Bell {
    /// A new one; only in `mod_init`.
    ///
    /// # Errors
    /// The system has no more file descriptors.
    pub fn create() -> io::Result<Self> {
        // SAFETY: no memory is passed; the descriptor is new, and owned from here on.
        unsafe {
            match libc::eventfd(0, libc::EFD_NONBLOCK | libc::EFD_CLOEXEC | libc::EFD_SEMAPHORE) {
                -1 => Err(io::Error::last_os_error()),
                fd => Ok(Self(OwnedFd::from_raw_fd(fd))),
            }
        }
    }

    /// Rings.
    pub fn ring(&self) {
        let one = 1u64.to_ne_bytes();
        // SAFETY: reads eight bytes of this stack. It fails only where it was rung 2^64 times and nobody came.
        unsafe { libc::write(self.0.as_raw_fd(), one.as_ptr().cast(), one.len()) };
    }

    /// Waits until it rings, so long at most.
    pub fn wait(&self, most: Duration) {
        let mut poll = libc::pollfd { fd: self.0.as_raw_fd(), events: libc::POLLIN, revents: 0 };
        let most = libc::c_int::try_from(most.as_millis()).unwrap_or(libc::c_int::MAX).max(1);
        let mut rung = [0u8; 8];
        // SAFETY: both write to this stack within bounds; neither waits longer than asked, as reading does not at all.
        unsafe {
            if libc::poll(&raw mut poll, 1, most) > 0 {
                libc::read(self.0.as_raw_fd(), rung.as_mut_ptr().cast(), rung.len());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Instant;

    #[test]
    fn who_waits_is_woken_once_for_each_ring() -> io::Result<()> {
        let bell = Bell::create()?;
        let long = Duration::from_secs(20);
        bell.ring();
        bell.ring();
        let start = Instant::now();
        bell.wait(long);
        bell.wait(long);
        assert!(start.elapsed() < long);
        let start = Instant::now();
        bell.wait(Duration::from_millis(30));
        assert!(start.elapsed() >= Duration::from_millis(30));
        Ok(())
    }
}

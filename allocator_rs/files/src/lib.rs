//! Files of a checkpoint: opened beneath a root and nowhere else, regular ones only, and what tells whether they changed.
//!
//! Whoever can write beneath a root can exchange a file for a link, a pipe or other content between a check and its use.
//! Therefore a file is opened once, the kernel itself keeps the path beneath the root, and what was opened is what is checked.

#![cfg_attr(test, allow(clippy::unwrap_used, reason = "a test that fails, fails"))]

use std::fs::File;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::fs::MetadataExt;
use std::path::{Component, Path};

use rustix::fs::{CWD, Mode, OFlags, ResolveFlags, openat, openat2};
use rustix::io::Errno;

/// How often a path is walked again when a rename within it made the kernel give up.
const MAX_TRIES: usize = 16;

/// What changes when a file's content does: another size, another file, or a later change of the same one.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub struct Identity {
    /// Its length in bytes.
    pub size_bytes: u64,
    /// Its inode.
    pub inode: u64,
    /// When its content or its inode last changed, in nanoseconds since the epoch; nobody can set it.
    pub change_time_ns: i64,
}

impl Identity {
    /// Of an open file.
    ///
    /// # Errors
    /// The system's own.
    pub fn of(file: &File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let seconds = metadata.ctime().saturating_mul(1_000_000_000);
        Ok(Self {
            size_bytes: metadata.len(),
            inode: metadata.ino(),
            change_time_ns: seconds.saturating_add(metadata.ctime_nsec()),
        })
    }
}

/// A directory beneath which files are opened.
#[derive(Debug)]
pub struct Root(OwnedFd);

impl Root {
    /// Open a directory; links on the way to it are followed, as it is the operator's.
    ///
    /// # Errors
    /// The system's own.
    pub fn open(path: &Path) -> io::Result<Self> {
        let flags = OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC;
        Ok(Self(openat(CWD, path, flags, Mode::empty())?))
    }

    /// Open a regular file by its path beneath the root. Links are followed as long as they stay beneath it.
    ///
    /// # Errors
    /// [`io::ErrorKind::CrossesDevices`] where the path leads out of the root (the kernel's own word for it);
    /// [`io::ErrorKind::InvalidInput`] for what is no regular file; else the system's own.
    pub fn open_file(&self, path: &Path) -> io::Result<File> {
        let resolve = ResolveFlags::BENEATH | ResolveFlags::NO_MAGICLINKS;
        let mut tries = 0_usize;
        loop {
            match openat2(&self.0, path, reading(), Mode::empty(), resolve) {
                Err(Errno::AGAIN) if tries < MAX_TRIES => tries = tries.saturating_add(1),
                // Kernels before 5.6, and sandboxes that do not know the call.
                Err(Errno::NOSYS | Errno::PERM) => return regular(self.walk(path)?),
                opened => return regular(opened?),
            }
        }
    }

    /// The same without `openat2`: one component after the other, and none of them may be a link.
    fn walk(&self, path: &Path) -> io::Result<OwnedFd> {
        let mut parts = path.components().peekable();
        let mut here = openat(&self.0, ".", OFlags::PATH | OFlags::CLOEXEC, Mode::empty())?;
        while let Some(part) = parts.next() {
            let Component::Normal(name) = part else { return Err(Errno::XDEV.into()) };
            let last = parts.peek().is_none();
            let flags = if last { reading() } else { OFlags::PATH | OFlags::DIRECTORY | OFlags::CLOEXEC };
            let opened = openat(&here, name, flags | OFlags::NOFOLLOW, Mode::empty());
            here = opened.map_err(|error| if error == Errno::LOOP { Errno::XDEV } else { error })?;
        }
        Ok(here)
    }
}

/// Open a regular file by whatever path; a pipe or a device is refused and never waited for.
///
/// # Errors
/// As [`Root::open_file`].
pub fn open_regular(path: &Path) -> io::Result<File> {
    regular(openat(CWD, path, reading(), Mode::empty())?)
}

/// Without blocking: a pipe without a writer would keep its reader waiting for ever.
fn reading() -> OFlags {
    OFlags::RDONLY | OFlags::CLOEXEC | OFlags::NONBLOCK | OFlags::NOCTTY
}

fn regular(opened: OwnedFd) -> io::Result<File> {
    let file = File::from(opened);
    if file.metadata()?.is_file() {
        return Ok(file);
    }
    Err(io::Error::new(io::ErrorKind::InvalidInput, "it is not a regular file"))
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::io::{ErrorKind, Read};
    use std::os::unix::fs::symlink;

    use super::*;

    fn text(mut file: File) -> String {
        let mut text = String::new();
        file.read_to_string(&mut text).unwrap();
        text
    }

    #[test]
    fn links_stay_beneath_the_root() {
        let directory = tempfile::tempdir().unwrap();
        let (root, outside) = (directory.path().join("root"), directory.path().join("outside"));
        fs::create_dir_all(root.join("blobs")).unwrap();
        fs::create_dir(&outside).unwrap();
        fs::write(root.join("blobs/a"), "beneath").unwrap();
        fs::write(outside.join("a"), "outside").unwrap();
        symlink("blobs/a", root.join("inner")).unwrap();
        symlink("../outside/a", root.join("upward")).unwrap();
        symlink(outside.join("a"), root.join("absolute")).unwrap();
        symlink(&outside, root.join("folder")).unwrap();
        let opened = Root::open(&root).unwrap();
        assert_eq!(text(opened.open_file(Path::new("blobs/a")).unwrap()), "beneath");
        assert_eq!(text(opened.open_file(Path::new("inner")).unwrap()), "beneath");
        for path in ["upward", "absolute", "folder/a", "../outside/a", "/etc/hostname"] {
            assert_eq!(opened.open_file(Path::new(path)).unwrap_err().kind(), ErrorKind::CrossesDevices, "{path}");
        }
        assert_eq!(opened.open_file(Path::new("none")).unwrap_err().kind(), ErrorKind::NotFound);
    }

    #[test]
    fn without_the_system_call_no_link_is_followed() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("sub")).unwrap();
        fs::write(directory.path().join("sub/a"), "text").unwrap();
        symlink("sub", directory.path().join("link")).unwrap();
        let root = Root::open(directory.path()).unwrap();
        let walked = |path: &str| root.walk(Path::new(path)).and_then(regular);
        assert_eq!(text(walked("sub/a").unwrap()), "text");
        for path in ["link/a", "sub/../sub/a", "/etc/hostname"] {
            assert!(walked(path).is_err(), "{path}");
        }
        assert_eq!(walked("sub").unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn only_regular_files_are_opened() {
        let directory = tempfile::tempdir().unwrap();
        fs::create_dir(directory.path().join("sub")).unwrap();
        let pipe = directory.path().join("pipe");
        rustix::fs::mknodat(CWD, &pipe, rustix::fs::FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
        let root = Root::open(directory.path()).unwrap();
        for name in ["sub", "pipe"] {
            assert_eq!(root.open_file(Path::new(name)).unwrap_err().kind(), ErrorKind::InvalidInput, "{name}");
        }
        assert_eq!(open_regular(&pipe).unwrap_err().kind(), ErrorKind::InvalidInput);
        assert_eq!(open_regular(Path::new("/dev/null")).unwrap_err().kind(), ErrorKind::InvalidInput);
    }

    #[test]
    fn identity_changes_with_content_and_file() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("a");
        fs::write(&path, "one").unwrap();
        let of = || Identity::of(&open_regular(&path).unwrap()).unwrap();
        let first = of();
        assert_eq!(first, of());
        std::thread::sleep(std::time::Duration::from_millis(20));
        fs::write(&path, "two").unwrap();
        let second = of();
        assert_eq!((first.size_bytes, first.inode), (second.size_bytes, second.inode));
        assert_ne!(first, second);
        fs::rename(&path, directory.path().join("b")).unwrap();
        fs::write(&path, "two").unwrap();
        assert_ne!(of().inode, second.inode);
    }
}

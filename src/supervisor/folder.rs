//! The data folder: locked by one process at a time, with a short place for unix sockets.

use std::{
    fs::{self, File, TryLockError},
    hash::{DefaultHasher, Hash, Hasher},
    io::Write,
    os::unix::fs::{DirBuilderExt, MetadataExt, OpenOptionsExt, PermissionsExt},
    path::{Path, PathBuf},
};

use nix::unistd::{Uid, User};

use super::{SupervisorError, identity::SERVER_USERS};

/// A unix socket's path takes at most 107 bytes; the longest name we put there is `.s.PGSQL.5432.lock`.
const LONGEST_SOCKET_DIR: usize = 107 - "/.s.PGSQL.5432.lock".len();

/// A folder that belongs to this process until the value is dropped or the process ends.
#[derive(Debug)]
pub struct DataDir {
    root: PathBuf,
    sockets: PathBuf,
    /// Holds the lock: the system releases it when the file is closed, however the process ends.
    _lock: File,
}

impl DataDir {
    /// Makes the folder when it is not there, and locks it.
    ///
    /// # Errors
    /// [`SupervisorError::InUse`] when another process holds it, [`SupervisorError::Io`] when it cannot be made.
    pub fn open(path: &Path) -> Result<Self, SupervisorError> {
        fs::create_dir_all(path).map_err(SupervisorError::io("the data folder cannot be made", path))?;
        let root = path.canonicalize().map_err(SupervisorError::io("the data folder cannot be read", path))?;
        let lock_path = root.join("lock");
        let unusable = SupervisorError::io("the lock file cannot be opened", &lock_path);
        let mut lock = File::options()
            .create(true)
            .truncate(false)
            .read(true)
            .write(true)
            .mode(0o600)
            .open(&lock_path)
            .map_err(unusable)?;
        match lock.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => {
                let pid = fs::read_to_string(&lock_path).unwrap_or_default().trim().to_owned();
                let pid = if pid.is_empty() { "unknown".to_owned() } else { pid };
                return Err(SupervisorError::InUse { dir: root, pid });
            }
            Err(TryLockError::Error(source)) => {
                return Err(SupervisorError::Io { what: "the lock file cannot be locked", path: lock_path, source });
            }
        }
        let noted = lock.set_len(0).and_then(|()| writeln!(lock, "{}", std::process::id()));
        noted.map_err(SupervisorError::io("the lock file cannot be written", &lock_path))?;
        let sockets = socket_dir(&root)?;
        Ok(Self { root, sockets, _lock: lock })
    }

    /// Its absolute path.
    #[must_use]
    pub fn root(&self) -> &Path {
        &self.root
    }

    /// A folder inside it, made private to this user when it is not there.
    ///
    /// # Errors
    /// [`SupervisorError::Io`] when it cannot be made.
    pub fn folder(&self, name: &str) -> Result<PathBuf, SupervisorError> {
        let path = self.root.join(name);
        make_private(&path)?;
        Ok(path)
    }

    /// Where unix sockets go: inside the folder, or in the system's temporary folder where that path is too long.
    #[must_use]
    pub fn sockets(&self) -> &Path {
        &self.sockets
    }
}

/// Folders of this data folder elsewhere, for a server that runs as a user who cannot reach the data folder itself (one
/// below a private home, say): a home and a socket folder, both below the first one, which survives a restart of the
/// system and is found again by its name.
#[derive(Clone, Debug)]
pub struct Outside {
    /// The folder of both.
    pub root: PathBuf,
    /// What the server keeps.
    pub home: PathBuf,
    /// Its unix socket.
    pub sockets: PathBuf,
}

impl DataDir {
    /// Makes the folders elsewhere when they are not there.
    ///
    /// # Errors
    /// [`SupervisorError::Io`] when they cannot be made.
    pub fn outside(&self, name: &str) -> Result<Outside, SupervisorError> {
        let root = Path::new("/var/tmp").join(named_after(&self.root));
        let (home, sockets) = (root.join(name), root.join("run"));
        [&root, &home, &sockets].into_iter().try_for_each(|path| make_private(path))?;
        Ok(Outside { root, home, sockets })
    }
}

fn socket_dir(root: &Path) -> Result<PathBuf, SupervisorError> {
    let inside = root.join("run");
    let path = if inside.as_os_str().len() <= LONGEST_SOCKET_DIR {
        inside
    } else {
        std::env::temp_dir().join(named_after(root))
    };
    make_private(&path)?;
    Ok(path)
}

/// The same name for the same folder.
fn named_after(root: &Path) -> String {
    let mut hasher = DefaultHasher::new();
    root.hash(&mut hasher);
    format!("dispatch-{:016x}", hasher.finish())
}

/// Whether a folder may be one of ours: of this user or, where root gives it away, of a user who runs servers.
fn is_ours(uid: u32) -> bool {
    let us = Uid::effective();
    let of = |name| User::from_name(name).ok().flatten().is_some_and(|user| user.uid.as_raw() == uid);
    uid == us.as_raw() || (us.is_root() && SERVER_USERS.into_iter().any(of))
}

/// Makes a folder that only this user can enter. One that is there already must be a real folder of this user: in a
/// shared temporary folder somebody else could have put it there.
fn make_private(path: &Path) -> Result<(), SupervisorError> {
    match fs::DirBuilder::new().mode(0o700).create(path) {
        Ok(()) => return Ok(()),
        Err(error) if error.kind() == std::io::ErrorKind::AlreadyExists => {}
        Err(source) => return Err(SupervisorError::Io { what: "a folder cannot be made", path: path.into(), source }),
    }
    let what = "the folder is not a private folder of this user";
    let meta = fs::symlink_metadata(path).map_err(SupervisorError::io(what, path))?;
    if !meta.is_dir() {
        return Err(SupervisorError::Io { what, path: path.into(), source: std::io::ErrorKind::NotADirectory.into() });
    }
    if !is_ours(meta.uid()) {
        let source = std::io::ErrorKind::PermissionDenied.into();
        return Err(SupervisorError::Io { what, path: path.into(), source });
    }
    fs::set_permissions(path, fs::Permissions::from_mode(0o700)).map_err(SupervisorError::io(what, path))
}

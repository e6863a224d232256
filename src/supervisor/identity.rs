//! As whom PostgreSQL runs: it refuses root. As root we give it a user namespace in which we look like an ordinary user
//! (its files stay ours and every folder of ours is reachable); where that is forbidden it runs as another user.

use std::{
    fs, io,
    os::unix::fs::{MetadataExt, lchown},
    path::Path,
    process::Stdio,
};

use nix::unistd::{Uid, User};
use tokio::process::Command;

use super::SupervisorError;

/// How a program is started that must not be root.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Identity {
    /// As we are: not root.
    Direct,
    /// In a user namespace that maps us to this uid and gid.
    Namespace {
        /// The uid it sees.
        uid: u32,
        /// The gid it sees.
        gid: u32,
    },
    /// As this uid and gid.
    Other {
        /// The uid.
        uid: u32,
        /// The gid.
        gid: u32,
    },
}

/// Who runs PostgreSQL where we are root, the first that exists: it looks its user up by name.
pub(super) const SERVER_USERS: [&str; 2] = ["postgres", "nobody"];

impl Identity {
    /// Finds out what works here.
    ///
    /// # Errors
    /// [`SupervisorError::NoIdentity`] when nothing does.
    pub async fn choose() -> Result<Self, SupervisorError> {
        if !Uid::effective().is_root() {
            return Ok(Self::Direct);
        }
        // PostgreSQL looks its user up by name, so only a user with an entry will do.
        let user = SERVER_USERS.into_iter().find_map(|name| User::from_name(name).ok().flatten());
        let user = user.ok_or(SupervisorError::NoIdentity)?;
        let (uid, gid) = (user.uid.as_raw(), user.gid.as_raw());
        let namespace = Self::Namespace { uid, gid };
        let trial = namespace.command(Path::new("true")).stdout(Stdio::null()).stderr(Stdio::null()).status().await;
        Ok(if trial.is_ok_and(|status| status.success()) { namespace } else { Self::Other { uid, gid } })
    }

    /// A command that runs a program in this identity, with nothing on its standard input and in a process group of its
    /// own, which Ctrl-C at the terminal does not reach.
    pub fn command(self, program: &Path) -> Command {
        let mut command = match self {
            Self::Direct => Command::new(program),
            Self::Namespace { uid, gid } => {
                // Without --fork, unshare becomes the program: its pid is the program's.
                let mut command = Command::new("unshare");
                command.arg("--user").arg(format!("--map-user={uid}")).arg(format!("--map-group={gid}")).arg("--");
                command.arg(program);
                command
            }
            Self::Other { uid, gid } => {
                let mut command = Command::new(program);
                command.uid(uid).gid(gid);
                command
            }
        };
        command.stdin(Stdio::null()).process_group(0);
        command
    }

    /// Whether a program in this identity can reach a folder.
    pub async fn reaches(self, folder: &Path) -> bool {
        let Self::Other { .. } = self else { return true };
        let mut trial = self.command(Path::new("test"));
        trial.arg("-x").arg(folder).current_dir("/");
        trial.status().await.is_ok_and(|status| status.success())
    }

    /// Makes a folder and all it holds belong to whoever runs in this identity, as seen from outside. A cluster made in
    /// one identity can so be started in another.
    ///
    /// # Errors
    /// When the system refuses.
    pub fn own(self, folder: &Path) -> io::Result<()> {
        let (uid, gid) = match self {
            Self::Direct => return Ok(()),
            Self::Namespace { .. } => (0, 0),
            Self::Other { uid, gid } => (uid, gid),
        };
        if fs::symlink_metadata(folder)?.uid() == uid { Ok(()) } else { own_tree(folder, uid, gid) }
    }
}

fn own_tree(path: &Path, uid: u32, gid: u32) -> io::Result<()> {
    if fs::symlink_metadata(path)?.is_dir() {
        for entry in fs::read_dir(path)? {
            own_tree(&entry?.path(), uid, gid)?;
        }
    }
    // The folder itself last, so that an interrupted walk is taken up again.
    lchown(path, Some(uid), Some(gid))
}

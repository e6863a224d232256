//! The way from the engine to PostgreSQL, or from devices to the engine: a TCP port on loopback whose bytes go to where they
//! should, or are cut, torn, swallowed or slowed down on the way.

use std::{
    net::{Ipv4Addr, SocketAddr},
    path::PathBuf,
    time::Duration,
};

use tokio::{
    io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt},
    net::{TcpListener, TcpStream, UnixStream},
    sync::watch,
    time::sleep,
};

/// What happens to bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Way {
    /// They arrive.
    Open,
    /// Connections are reset, and so is every new one.
    Cut,
    /// What comes next arrives by half, then the connection is reset; new ones fare alike.
    Torn,
    /// Nothing arrives and nothing is closed; what was sent meanwhile arrives when the way is open again, as packets do
    /// that are repeated until they get through.
    Held,
    /// As `Held`, and connections of this time stay dumb for ever, as behind a firewall that forgot them: neither side
    /// ever hears that the other one has gone.
    Forgotten,
    /// Each small piece of data takes so long.
    Slow(Duration),
}

/// Where bytes go.
#[derive(Clone, Debug)]
pub enum Target {
    /// The socket of a server on this machine.
    Unix(PathBuf),
    /// A TCP port.
    Tcp(SocketAddr),
}

impl Target {
    /// Connects; the two halves of the connection.
    async fn connect(&self) -> std::io::Result<(Reads, Writes)> {
        match self {
            Self::Unix(path) => {
                let (read, write) = UnixStream::connect(path).await?.into_split();
                Ok((Box::new(read), Box::new(write)))
            }
            Self::Tcp(address) => {
                let stream = TcpStream::connect(address).await?;
                stream.set_nodelay(true)?;
                let (read, write) = stream.into_split();
                Ok((Box::new(read), Box::new(write)))
            }
        }
    }
}

type Reads = Box<dyn AsyncRead + Send + Unpin>;
type Writes = Box<dyn AsyncWrite + Send + Unpin>;

/// Bytes that a slow way carries at once.
const PIECE: usize = 1_024;

/// A running proxy; it ends with the runtime.
pub struct Proxy {
    /// Where the engine connects.
    pub address: SocketAddr,
    way: watch::Sender<Way>,
}

impl Proxy {
    /// Listens on a free port.
    pub async fn start(target: Target) -> Self {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (way, state) = watch::channel(Way::Open);
        tokio::spawn(async move {
            loop {
                let Ok((client, _)) = listener.accept().await else { continue };
                tokio::spawn(carry(client, target.clone(), state.clone()));
            }
        });
        Self { address, way }
    }

    /// From now on.
    pub fn set(&self, way: Way) {
        self.way.send_replace(way);
    }
}

/// One connection from its beginning to its end.
async fn carry(client: TcpStream, target: Target, way: watch::Receiver<Way>) {
    let state = *way.borrow();
    if state == Way::Cut {
        return reset(&client);
    }
    if client.set_nodelay(true).is_err() {
        return;
    }
    // While PostgreSQL is down its socket refuses, and so do we.
    let Ok((mut down_from, mut up_to)) = target.connect().await else { return reset(&client) };
    let (mut up_from, mut down_to) = client.into_split();
    let (torn, mut tear) = watch::channel(false);
    let both = async {
        tokio::join!(
            pump(&mut up_from, &mut up_to, way.clone(), &torn),
            pump(&mut down_from, &mut down_to, way.clone(), &torn)
        )
    };
    let mut watched = way.clone();
    tokio::select! {
        _ = both => {}
        _ = watched.wait_for(|way| *way == Way::Cut) => reset(down_to.as_ref()),
        _ = tear.wait_for(|torn| *torn) => reset(down_to.as_ref()),
    }
}

/// The other side sees a reset and not an orderly end.
fn reset(stream: &TcpStream) {
    // A connection that is gone needs none.
    let _ = stream.set_zero_linger();
}

/// Carries one direction until its end.
async fn pump(
    from: &mut (impl AsyncRead + Unpin),
    to: &mut (impl AsyncWrite + Unpin),
    mut way: watch::Receiver<Way>,
    torn: &watch::Sender<bool>,
) {
    let mut buffer = vec![0; 16 * 1_024];
    loop {
        let read = tokio::select! {
            read = from.read(&mut buffer) => read.unwrap_or(0),
            () = forgotten(way.clone()) => std::future::pending().await,
        };
        // Nothing passes a held way, not even the news that a side has gone.
        let Ok(state) = way.wait_for(|way| *way != Way::Held).await.map(|state| *state) else { return };
        if state == Way::Forgotten {
            std::future::pending::<()>().await;
        }
        if read == 0 {
            let _ = to.shutdown().await;
            return;
        }
        if state == Way::Torn {
            // Whether the half arrives is for the network to say.
            let _ = to.write_all(&buffer[..read / 2]).await;
            torn.send_replace(true);
            return std::future::pending().await;
        }
        let piece = if matches!(state, Way::Slow(_)) { PIECE } else { read };
        for part in buffer[..read].chunks(piece) {
            if let Way::Slow(pause) = state {
                sleep(pause).await;
            }
            if to.write_all(part).await.is_err() {
                return;
            }
        }
    }
}

async fn forgotten(mut way: watch::Receiver<Way>) {
    if way.wait_for(|way| *way == Way::Forgotten).await.is_err() {
        std::future::pending().await
    }
}

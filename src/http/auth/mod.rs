//! Who calls: bearer tokens, the extractors that check them, and what a role may do.

mod caller;
mod token;

pub use caller::{Caller, SocketCaller, may_operate, only_admin};
pub use token::{AuthError, MIN_SECRET_BYTES, Tokens};

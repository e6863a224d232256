//! A real city's day: how it is read, how its riders and merchants behave, what becomes of it, and how good that was. The
//! load tester lives it against a running engine over sockets; `dispatch simulate` in virtual time, engine included.
//! Nothing here knows the engine but the virtual-time runner.

pub mod day;
pub mod device;
pub mod geometry;
pub mod manners;
pub mod measure;
pub mod motion;
pub mod oracle;
pub mod orders;
pub mod outcome;
pub mod page;
pub mod quality;
pub mod report;
pub mod scenario;
pub mod series;
pub mod spans;
pub mod table;
pub mod virtual_city;
pub mod work;

//! The server as kube's client and watcher see it. What holds here holds for kube-apiserver, apart from faults.

mod applies;
mod faults;
mod lists;
mod load;
mod objects;
mod tokens;
mod watches;
mod world;

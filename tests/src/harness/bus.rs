//! The network between the nodes of a cluster, which can be cut.
//!
//! Nodes speak to each other over a second port. With a [`Bus`] each of them announces a proxy's port instead of its
//! own, so that all of that goes through here; every message begins with the name of its sender, so a link is known
//! by both of its ends. Clients, and replicas that copy their master, use the other port and notice nothing.

use std::collections::HashSet;
use std::io::{Read as _, Write as _};
use std::net::{Ipv4Addr, Shutdown, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// In the head of a message, behind signature, length, version, port, type, count, two epochs and an offset.
const SENDER: std::ops::Range<usize> = 40..80;

/// The proxies of one cluster. They are threads, since tests block theirs while they ask the nodes.
#[derive(Debug, Default)]
pub(super) struct Bus {
    state: Arc<Mutex<State>>,
}

#[derive(Debug, Default)]
struct State {
    /// Who is behind each proxy's port: the node's own port and its name.
    nodes: Vec<(u16, u16, String)>,
    /// The names of nodes that are cut off.
    cut: HashSet<String>,
    links: Vec<(HashSet<String>, TcpStream)>,
    is_over: bool,
}

impl Bus {
    fn state(&self) -> MutexGuard<'_, State> {
        lock(&self.state)
    }

    /// A port for a node to announce.
    pub(super) fn port(&self) -> u16 {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a loopback port");
        let port = listener.local_addr().expect("it is bound").port();
        let state = Arc::clone(&self.state);
        std::thread::spawn(move || {
            for client in listener.incoming().flatten() {
                if lock(&state).is_over {
                    return;
                }
                let state = Arc::clone(&state);
                std::thread::spawn(move || pass(&state, client, port));
            }
        });
        port
    }

    /// Says who announces a port: the node with this name, which listens on `own`.
    pub(super) fn is_of(&self, port: u16, own: u16, name: String) {
        self.state().nodes.push((port, own, name));
    }

    /// Cuts a node off from all others: open links break, and new ones break as soon as they are known.
    pub(super) fn cut_off(&self, name: &str) {
        let mut state = self.state();
        state.cut.insert(name.to_owned());
        state.links.retain(|(ends, link)| {
            let is_cut = ends.contains(name);
            if is_cut {
                let _ = link.shutdown(Shutdown::Both);
            }
            !is_cut
        });
    }

    /// Heals everything.
    pub(super) fn heal(&self) {
        self.state().cut.clear();
    }
}

impl Drop for Bus {
    fn drop(&mut self) {
        let mut state = self.state();
        state.is_over = true;
        for (_, link) in &state.links {
            let _ = link.shutdown(Shutdown::Both);
        }
        // Whoever waits for a client has to wake up to see that it is over.
        for (port, ..) in &state.nodes {
            let _ = TcpStream::connect((Ipv4Addr::LOCALHOST, *port));
        }
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

/// One link: from whoever connected to the node behind `port`.
fn pass(state: &Mutex<State>, mut client: TcpStream, port: u16) {
    let mut head = [0; SENDER.end];
    if client.read_exact(&mut head).is_err() {
        return;
    }
    let sender = String::from_utf8_lossy(&head[SENDER]).into_owned();
    let mut server = {
        let mut state = lock(state);
        let node = state.nodes.iter().find(|node| node.0 == port).cloned();
        let Some((_, own, name)) = node else { return };
        let ends = HashSet::from([sender, name]);
        if state.is_over || ends.iter().any(|name| state.cut.contains(name)) {
            return;
        }
        let Ok(server) = TcpStream::connect((Ipv4Addr::LOCALHOST, own)) else {
            return;
        };
        let (Ok(one), Ok(other)) = (client.try_clone(), server.try_clone()) else {
            return;
        };
        state.links.push((ends.clone(), one));
        state.links.push((ends, other));
        server
    };
    if server.write_all(&head).is_err() {
        return;
    }
    let (Ok(mut answers), Ok(mut to_client)) = (server.try_clone(), client.try_clone()) else {
        return;
    };
    let back = std::thread::spawn(move || {
        let _ = std::io::copy(&mut answers, &mut to_client);
        let _ = to_client.shutdown(Shutdown::Both);
    });
    let _ = std::io::copy(&mut client, &mut server);
    let _ = server.shutdown(Shutdown::Both);
    let _ = back.join();
}

//! Judges a flow end to end with the tables of the nodes it passes.

use crate::kernel::{FakeKernel, Hook, Trace, TracePacket, Verdict};

/// One end of a flow.
#[derive(Clone, Copy, Debug)]
pub enum End<'a> {
    /// A pod on the node with this table.
    Pod(&'a FakeKernel),
    /// The own stack of the node with this table.
    Node(&'a FakeKernel),
    /// A host that is no node.
    World,
}

impl<'a> End<'a> {
    fn kernel(self) -> Option<&'a FakeKernel> {
        match self {
            Self::Pod(kernel) | Self::Node(kernel) => Some(kernel),
            Self::World => None,
        }
    }
}

/// The way of a flow's first packet: the hooks that it meets, node by node, until one drops it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Judgement {
    /// What each hook did.
    pub traces: Vec<(Hook, Trace)>,
}

impl Judgement {
    /// Whether the packet arrives.
    pub fn allows(&self) -> bool {
        self.traces.iter().all(|(_, trace)| trace.verdict == Verdict::Accept)
    }
}

/// Judges a flow by its first packet, as every node on its way sees it: behind DNAT, before SNAT. A node forwards
/// what comes from or goes to its pods, takes in what is for its own stack, and lets out what its own stack sends.
/// Two ends are on the same node if they name the same kernel.
pub fn judge(from: End<'_>, to: End<'_>, packet: &TracePacket) -> Judgement {
    let same = match (from.kernel(), to.kernel()) {
        (Some(from), Some(to)) => std::ptr::eq(from, to),
        _ => false,
    };
    let leaving = match from {
        // What stays on the node meets one hook, that of its destination.
        End::Pod(_) if same => None,
        End::Pod(kernel) => Some((kernel, Hook::Forward)),
        End::Node(kernel) => Some((kernel, Hook::Output)),
        End::World => None,
    };
    let arriving = match to {
        End::Pod(_) if same && matches!(from, End::Node(_)) => None,
        End::Pod(kernel) => Some((kernel, Hook::Forward)),
        End::Node(kernel) => Some((kernel, Hook::Input)),
        End::World => None,
    };
    let mut traces = Vec::new();
    for (kernel, hook) in [leaving, arriving].into_iter().flatten() {
        let trace = kernel.trace(hook, packet);
        let dropped = trace.verdict == Verdict::Drop;
        traces.push((hook, trace));
        if dropped {
            break;
        }
    }
    Judgement { traces }
}

//! Which file system events say that files may differ now.

use notify::event::{AccessKind, AccessMode, CreateKind, Event, EventKind, ModifyKind};

/// Whether files may differ after the event. Reading a file makes events too, which must not be answered by
/// reading it; and writing alone does not count: what is half written is read when its writer closes it.
pub(crate) fn is_change(event: &Event) -> bool {
    event.need_rescan()
        || matches!(
            event.kind,
            EventKind::Access(AccessKind::Close(AccessMode::Write))
                | EventKind::Modify(ModifyKind::Name(_))
                | EventKind::Remove(_)
                | EventKind::Create(CreateKind::Folder)
                | EventKind::Other
        )
}

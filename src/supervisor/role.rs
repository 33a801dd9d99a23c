//! The roles that a leaf process can have, with their titles.
//!
//! Plain data, used in every process.

/// What a leaf process is for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Role {
    /// Looks at both sides and at the work directory, and refuses what cannot go well.
    Prepare,
    /// Copies roles.
    Roles,
    /// Makes the databases of a cluster.
    Databases,
    /// Exports the snapshot and holds its transaction open.
    Snapshot,
    /// Reads the source's catalogs into the ledger.
    Fetch,
    /// Runs `pg_dump`.
    Dump,
    /// Plans the units and restores the pre-data section.
    PreData,
    /// Plans the units of a command that restores nothing first.
    Plan,
    /// Copies rows.
    Copy,
    /// Builds indexes, constraints and foreign keys.
    Index,
    /// Vacuums and analyzes.
    Vacuum,
    /// Copies large objects.
    Blob,
    /// Sets sequences.
    Sequence,
    /// Copies configuration tables of extensions.
    Extension,
    /// Restores the post-data section.
    PostData,
    /// Takes the last looks of a command that ends before post-data.
    Finish,
    /// Looks for work in the ledgers of several databases.
    Lookout,
    /// Draws the progress line.
    Progress,
    /// Holds the lock of a copy of rows, removes keys, switches triggers off.
    Guard,
    /// Puts keys back, NOT VALID, and triggers.
    Restore,
    /// Validates keys.
    Validate,
    /// Puts back what can only follow, and proves that all is as it was.
    Prove,
    /// Makes replication slot, publications, sentinel and origin.
    FollowSetup,
    /// Receives changes into JSON files.
    Receive,
    /// Makes SQL files of them.
    Transform,
    /// Applies these to the target.
    Apply,
    /// Listens for sentinel commands of other machines.
    Remote,
}

impl Role {
    /// Process title, and `application_name` of its sessions.
    pub fn label(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Roles => "copy roles",
            Self::Databases => "create databases",
            Self::Snapshot => "snapshot holder",
            Self::Fetch => "fetch catalogs",
            Self::Dump => "dump schema",
            Self::PreData => "restore pre-data",
            Self::Plan => "plan work",
            Self::Copy => "copy worker",
            Self::Index => "create index worker",
            Self::Vacuum => "vacuum worker",
            Self::Blob => "blobs worker",
            Self::Sequence => "copy sequences",
            Self::Extension => "copy extensions",
            Self::PostData => "restore post-data",
            Self::Finish => "finish",
            Self::Lookout => "look for work",
            Self::Progress => "progress",
            Self::Guard => "guard",
            Self::Restore => "restore constraints",
            Self::Validate => "validate worker",
            Self::Prove => "prove",
            Self::FollowSetup => "follow setup",
            Self::Receive => "follow receive",
            Self::Transform => "follow transform",
            Self::Apply => "follow apply",
            Self::Remote => "follow remote",
        }
    }

    /// Name of the role in the ledger's `process` table.
    pub fn key(self) -> &'static str {
        match self {
            Self::Prepare => "prepare",
            Self::Roles => "roles",
            Self::Databases => "databases",
            Self::Snapshot => "snapshot",
            Self::Fetch => "fetch",
            Self::Dump => "dump",
            Self::PreData => "pre-data",
            Self::Plan => "plan",
            Self::Copy => "copy",
            Self::Index => "index",
            Self::Vacuum => "vacuum",
            Self::Blob => "blob",
            Self::Sequence => "sequence",
            Self::Extension => "extension",
            Self::PostData => "post-data",
            Self::Finish => "finish",
            Self::Lookout => "lookout",
            Self::Progress => "progress",
            Self::Guard => "guard",
            Self::Restore => "restore",
            Self::Validate => "validate",
            Self::Prove => "prove",
            Self::FollowSetup => "follow-setup",
            Self::Receive => "receive",
            Self::Transform => "transform",
            Self::Apply => "apply",
            Self::Remote => "remote",
        }
    }
}

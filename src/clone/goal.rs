//! What a command wants of the engine: a whole clone, or some of its parts.
//!
//! Pure, used in every process. A clone and the step commands run the same processes over the same
//! ledger; a goal only says which of them.

use crate::catalog::unit::Kind;

/// What a run is to reach.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Goal {
    /// `clone`: everything.
    #[default]
    Clone,
    /// `copy roles`.
    CopyRoles,
    /// `copy extensions`: extensions and their configuration tables.
    CopyExtensions,
    /// `copy schema`: dump, pre-data and post-data.
    CopySchema,
    /// `copy data`: rows, large objects, indexes, constraints, sequences, into a schema that is there.
    CopyData,
    /// `copy table-data`: rows alone.
    CopyTableData,
    /// `copy blobs`: large objects.
    CopyBlobs,
    /// `copy sequences`.
    CopySequences,
    /// `copy indexes`: all indexes, those of keys among them.
    CopyIndexes,
    /// `copy constraints`: keys and other constraints that an index backs.
    CopyConstraints,
    /// `dump schema`: catalogs and archive.
    DumpSchema,
    /// `dump roles`.
    DumpRoles,
    /// `restore schema`: pre-data and post-data of the archive.
    RestoreSchema,
    /// `restore pre-data`.
    RestorePreData,
    /// `restore post-data`: whatever remains.
    RestorePostData,
    /// `restore roles`.
    RestoreRoles,
}

/// A part of a clone that is begun once in a work directory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Part {
    DumpRoles,
    Dump,
    PreData,
    Extensions,
    TableData,
    Blobs,
    Sequences,
    Indexes,
    Constraints,
    Vacuum,
    PostData,
}

impl Part {
    /// All of them, in the order of a clone.
    pub(super) const ALL: [Self; 11] = [
        Self::DumpRoles,
        Self::Dump,
        Self::PreData,
        Self::Extensions,
        Self::TableData,
        Self::Blobs,
        Self::Sequences,
        Self::Indexes,
        Self::Constraints,
        Self::Vacuum,
        Self::PostData,
    ];

    /// The command that does this part alone.
    pub(super) fn command(self) -> &'static str {
        match self {
            Self::DumpRoles => "dump roles",
            Self::Dump => "dump schema",
            Self::PreData => "restore pre-data",
            Self::Extensions => "copy extensions",
            Self::TableData => "copy table-data",
            Self::Blobs => "copy blobs",
            Self::Sequences => "copy sequences",
            Self::Indexes => "copy indexes",
            Self::Constraints => "copy constraints",
            Self::Vacuum => "copy data",
            Self::PostData => "restore post-data",
        }
    }
}

/// Kinds of units that index workers do, and kinds that make such work.
type IndexKinds = (&'static [Kind], &'static [Kind]);

impl Goal {
    /// The command, as it is typed after `pgcopydb`.
    pub fn command(self) -> &'static str {
        match self {
            Self::Clone => "clone",
            Self::CopyRoles => "copy roles",
            Self::CopyExtensions => "copy extensions",
            Self::CopySchema => "copy schema",
            Self::CopyData => "copy data",
            Self::CopyTableData => "copy table-data",
            Self::CopyBlobs => "copy blobs",
            Self::CopySequences => "copy sequences",
            Self::CopyIndexes => "copy indexes",
            Self::CopyConstraints => "copy constraints",
            Self::DumpSchema => "dump schema",
            Self::DumpRoles => "dump roles",
            Self::RestoreSchema => "restore schema",
            Self::RestorePreData => "restore pre-data",
            Self::RestorePostData => "restore post-data",
            Self::RestoreRoles => "restore roles",
        }
    }

    /// The parts that this command is for: a second run that would begin one of them again is refused.
    pub(super) fn parts(self) -> &'static [Part] {
        match self {
            Self::Clone => &Part::ALL,
            Self::CopyRoles | Self::RestoreRoles => &[],
            Self::DumpRoles => &[Part::DumpRoles],
            Self::CopyExtensions => &[Part::Extensions],
            Self::CopySchema => &[Part::Dump, Part::PreData, Part::PostData],
            Self::CopyData => &[
                Part::TableData,
                Part::Blobs,
                Part::Sequences,
                Part::Indexes,
                Part::Constraints,
                Part::Vacuum,
            ],
            Self::CopyTableData => &[Part::TableData],
            Self::CopyBlobs => &[Part::Blobs],
            Self::CopySequences => &[Part::Sequences],
            Self::CopyIndexes => &[Part::Indexes],
            Self::CopyConstraints => &[Part::Constraints],
            Self::DumpSchema => &[Part::Dump],
            Self::RestoreSchema => &[Part::PreData, Part::PostData],
            Self::RestorePreData => &[Part::PreData],
            Self::RestorePostData => &[Part::PostData],
        }
    }

    /// Whether the tool restores post-data, by as many processes as are asked for.
    pub fn restores_post_data(self) -> bool {
        self.has(Part::PostData)
    }

    pub(super) fn has(self, part: Part) -> bool {
        self.parts().contains(&part)
    }

    /// True for commands that only work on roles.
    pub(super) fn is_roles(self) -> bool {
        matches!(self, Self::CopyRoles | Self::DumpRoles | Self::RestoreRoles)
    }

    /// True for commands that work from the archive and the ledger alone.
    pub(super) fn is_restore(self) -> bool {
        matches!(
            self,
            Self::RestoreSchema | Self::RestorePreData | Self::RestorePostData | Self::RestoreRoles
        )
    }

    /// True for commands that only read the source.
    pub(super) fn is_dump(self) -> bool {
        matches!(self, Self::DumpSchema | Self::DumpRoles)
    }

    /// True for commands that read the source's catalogs, if an earlier one has not done so.
    pub(super) fn fetches(self) -> bool {
        !self.is_roles() && !self.is_restore()
    }

    /// True for commands that need the archive: its definitions are what is restored and built.
    pub(super) fn needs_archive(self) -> bool {
        self.has(Part::Dump) || self.has(Part::PreData) || self.builds()
    }

    /// True for commands that build indexes or constraints.
    pub(super) fn builds(self) -> bool {
        self.has(Part::Indexes) || self.has(Part::Constraints) || self.has(Part::PostData)
    }

    /// True for commands whose rows, large objects or definitions come out of one snapshot, so that
    /// a resume has to say where it takes one from.
    pub(super) fn wants_snapshot(self) -> bool {
        self.fetches()
    }

    /// True for commands that read rows or large objects.
    pub(super) fn reads_rows(self) -> bool {
        self.has(Part::TableData) || self.has(Part::Blobs) || self.has(Part::Extensions)
    }

    /// True for commands that copy configuration tables of extensions.
    pub(super) fn copies_extensions(self) -> bool {
        self.has(Part::Extensions) || self == Self::CopyData
    }

    /// True for commands that vacuum: `restore post-data` does what an interrupted `copy data` left.
    pub(super) fn vacuums(self) -> bool {
        self.has(Part::Vacuum) || self.has(Part::PostData)
    }

    /// True for commands whose processes work side by side between planning and the end.
    pub(super) fn has_workers(self) -> bool {
        !(self.is_roles() || matches!(self, Self::DumpSchema | Self::RestorePreData))
    }

    /// What index workers do for this command, and what makes such work meanwhile.
    pub(super) fn index_kinds(self) -> IndexKinds {
        /// Constraints first: they are quick and let others go on.
        const ALL: &[Kind] = &[Kind::Constraint, Kind::Index, Kind::Fkey, Kind::Validate];
        /// Foreign keys belong to the post-data section.
        const KEYS: &[Kind] = &[Kind::Constraint, Kind::Index];
        match self {
            Self::Clone => (ALL, &[Kind::Truncate, Kind::Copy, Kind::Vacuum]),
            Self::CopyData => (KEYS, &[Kind::Truncate, Kind::Copy]),
            Self::CopyIndexes => (&[Kind::Index], &[]),
            Self::CopyConstraints => (KEYS, &[]),
            Self::CopySchema | Self::RestoreSchema | Self::RestorePostData => {
                (ALL, &[Kind::Vacuum])
            }
            _ => (&[], &[]),
        }
    }

    /// The kinds of units that this command brings to their end.
    pub(super) fn kinds(self) -> Vec<Kind> {
        let mut kinds = self.index_kinds().0.to_vec();
        let more = [
            (self.has(Part::TableData), Kind::Truncate),
            (self.has(Part::TableData), Kind::Copy),
            (self.vacuums(), Kind::Vacuum),
            (self.has(Part::Blobs), Kind::Blob),
            (self.copies_extensions(), Kind::Extension),
        ];
        kinds.extend(more.into_iter().filter(|(is, _)| *is).map(|(_, kind)| kind));
        kinds
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clone_has_all_parts_and_each_part_has_a_command_of_its_own() {
        assert!(Part::ALL.iter().all(|part| Goal::Clone.has(*part)));
        let alone = [
            Goal::DumpRoles,
            Goal::DumpSchema,
            Goal::RestorePreData,
            Goal::CopyExtensions,
            Goal::CopyTableData,
            Goal::CopyBlobs,
            Goal::CopySequences,
            Goal::CopyIndexes,
            Goal::CopyConstraints,
            Goal::RestorePostData,
        ];
        for goal in alone {
            assert_eq!(goal.parts().len(), 1, "{goal:?}");
            assert_eq!(goal.parts()[0].command(), goal.command());
        }
    }

    #[test]
    fn restores_read_nothing_of_the_source_and_dumps_build_nothing() {
        for goal in [
            Goal::RestoreSchema,
            Goal::RestorePreData,
            Goal::RestorePostData,
        ] {
            assert!(!goal.fetches() && !goal.reads_rows() && goal.needs_archive());
        }
        assert!(Goal::DumpSchema.kinds().is_empty() && Goal::RestorePreData.kinds().is_empty());
        assert!(!Goal::CopyTableData.needs_archive());
    }
}

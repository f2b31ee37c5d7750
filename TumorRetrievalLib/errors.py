"""Everything that can go wrong for a user, as one family of exceptions.

A message says what was wrong, in which file or field, and what to do about it. Whatever is not of this family is a
bug of ours and may end in a traceback; whatever a user can cause is of this family and never does.
"""


class TumorRetrievalError(Exception):
    """Base of every error that the tool reports to its user."""


class UnreadableFile(TumorRetrievalError):
    """A file is missing, truncated, lies about its size, or is of a kind we do not read."""


class InvalidImage(TumorRetrievalError):
    """The image itself cannot be used: empty, constant, not three-dimensional, or without a valid geometry."""


class GeometryMismatch(TumorRetrievalError):
    """Two images that must share one grid do not."""


class InvalidBox(TumorRetrievalError):
    """A box has no volume or cannot be understood."""


class BoxOutsideVolume(InvalidBox):
    """A box does not touch the scan it was drawn on."""


class UnknownLabel(TumorRetrievalError):
    """A tumor type, area or side that is not in Resources/Labels."""


class ManifestError(TumorRetrievalError):
    """A row of a cohort manifest cannot be used."""


class RegistrationFailed(TumorRetrievalError):
    """The scan could not be brought to the atlas with a plausible transform."""


class WeightsError(TumorRetrievalError):
    """A weight file or its contract is missing, damaged, or of another architecture."""


class IndexDamaged(TumorRetrievalError):
    """A case index fails its checksums or cannot be read."""


class IndexOfAnotherModel(TumorRetrievalError):
    """The vectors of a case index were made by another model or preprocessing than the one in use."""


class IndexBusy(TumorRetrievalError):
    """Another process is writing to the same case index."""


class CannotWrite(TumorRetrievalError):
    """The disk is full, or there is no permission to write."""


class MissingResource(TumorRetrievalError):
    """A bundled file (atlas, model, index) is not where it should be, or fails its checksum."""


class MissingPackage(TumorRetrievalError):
    """An optional Python package is needed for what was asked."""


class Cancelled(TumorRetrievalError):
    """The user stopped the task."""


class TrainingFailed(TumorRetrievalError):
    """A training cannot go on: the loss is no longer a number, or there is no more data."""


class InvalidGrowth(TumorRetrievalError):
    """Growth parameters that cannot be simulated: outside the tissue, not positive, or never of the wanted size."""


class InvalidTumorMask(TumorRetrievalError):
    """A tumor mask that cannot be searched with: empty, of another shape, or not on the atlas' grid."""


class SimulationsDamaged(TumorRetrievalError):
    """A database of simulated tumors is truncated, fails its checksums, or contradicts itself."""


class SimulationsOfAnotherAtlas(TumorRetrievalError):
    """A database of simulated tumors was made with another atlas or another solver than the ones in use."""


class NothingToCompare(TumorRetrievalError):
    """No block of the embedding is both known for the tumor and given a weight."""


class UnknownCase(TumorRetrievalError):
    """A case that is not in the index."""


class CaseAlreadyIndexed(TumorRetrievalError):
    """A case that is in the index already."""


class CurvedTransform(TumorRetrievalError):
    """A node of the scene lies under a transform that bends space, where a straight one is needed."""


class InvalidRequest(TumorRetrievalError):
    """A request to the worker that cannot be understood."""


class NotEnoughMemory(TumorRetrievalError):
    """The computer's or the GPU's memory was too small for a task."""


class WorkerOutdated(TumorRetrievalError):
    """The worker and its client are of different versions."""


class WorkerFailed(TumorRetrievalError):
    """The worker process could not be started, ended by itself, or stopped answering."""


class SchedulerUnreachable(TumorRetrievalError):
    """The scheduler of a cluster does not answer."""


class InvalidSlices(TumorRetrievalError):
    """A file of slices that cannot be read, or that holds nothing to learn from."""


class IndexUnreachable(TumorRetrievalError):
    """A server that holds a case index does not answer, or refuses the request."""

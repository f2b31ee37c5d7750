"""The bundled sample patient in Slicer's module Sample Data."""

import json

from TumorRetrievalGui.translation import _
from TumorRetrievalLib.resources import CHECKSUMS, resource

_CATEGORY = "Tumor Retrieval"
_NODES = {"t1c": "Sample T1 with contrast", "flair": "Sample FLAIR"}


def registerSample(icon: str) -> bool:
    """Offer the sample patient's T1 with contrast and FLAIR in the module Sample Data.

    Nothing is downloaded: the files come with the extension. Sample Data copies them into its cache, compares their
    checksums, and loads them.

    :param icon: a picture for the button.
    :returns: False where there is no such module.
    """
    try:
        import SampleData
    except ImportError:
        return False
    sample = json.loads(resource("SampleCases", "demo.json").read_text(encoding="utf-8"))
    files = [resource("SampleCases", sample[name]) for name in _NODES]
    lines = resource("SampleCases", CHECKSUMS).read_text(encoding="utf-8").splitlines()
    sums = dict(reversed(line.split()) for line in lines)
    SampleData.SampleDataLogic.registerCustomSampleDataSource(
        category=_CATEGORY,
        sampleName=_("Synthetic glioma"),
        thumbnailFileName=icon,
        uris=[file.as_uri() for file in files],
        fileNames=[f"TumorRetrieval-{file.name}" for file in files],
        nodeNames=list(_NODES.values()),
        checksums=[f"SHA256:{sums[file.name]}" for file in files],
    )
    return True

"""slicer.app.coreIOManager(): the file types of `slicer.util.load*` and `save*` that Slicer's own logics can read."""

from pathlib import Path

_TYPES = (
    (".mrb", "SceneFile"),
    (".mrml", "SceneFile"),
    (".seg.nrrd", "SegmentationFile"),
    (".mrk.json", "MarkupsFile"),
    (".h5", "TransformFile"),
    (".tfm", "TransformFile"),
    (".nii", "VolumeFile"),
    (".nii.gz", "VolumeFile"),
    (".nrrd", "VolumeFile"),
    (".mha", "VolumeFile"),
)


class qSlicerCoreIOManager:
    """Reads and writes with the logics of an `MrmlApplication`."""

    def __init__(self, application):
        self._scene = application.scene
        self._logics = application.logics
        self._readers = {
            "VolumeFile": self._read_volume,
            "SegmentationFile": self._read_segmentation,
            "MarkupsFile": self._read_markups,
            "TransformFile": self._read_transform,
        }

    def fileType(self, path):
        """The type of a file by its name; Slicer's answer for an unknown one is NoFile."""
        return next((kind for ending, kind in _TYPES if str(path).lower().endswith(ending)), "NoFile")

    def fileWriterFileType(self, node):
        return "SceneFile" if node is self._scene else "NodeFile"

    def loadNodes(self, kind, properties, collection=None, messages=None):
        path = Path(properties["fileName"])
        if not path.exists():
            return False
        if kind == "SceneFile":
            return self._read_scene(path, clear=bool(properties.get("clear", False)))
        if kind not in self._readers:
            return False
        name = properties.get("name") or path.name.split(".")[0]
        node = self._readers[kind](str(path), name, properties)
        if node and collection is not None:
            collection.AddItem(node)
        return node is not None

    def saveNodes(self, kind, properties, messages=None):
        if kind == "SceneFile":
            return self.saveScene(properties["fileName"])
        node = self._scene.GetNodeByID(properties["nodeID"])
        node.AddDefaultStorageNode()
        storage = node.GetStorageNode()
        storage.SetFileName(str(properties["fileName"]))
        return bool(storage.WriteData(node))

    def saveScene(self, path, *_):
        if str(path).endswith(".mrb"):
            return bool(self._scene.WriteToMRB(str(path)))
        self._scene.SetURL(str(path))
        return bool(self._scene.Commit(str(path)))

    def _read_scene(self, path: Path, *, clear: bool) -> bool:
        if path.suffix == ".mrb":
            return bool(self._scene.ReadFromMRB(str(path), clear))
        self._scene.SetURL(str(path))
        return bool(self._scene.Connect() if clear else self._scene.Import())

    def _read_volume(self, path, name, properties):
        options = 1 if properties.get("labelmap") else 0
        return self._logics["Volumes"].AddArchetypeVolume(path, name, options)

    def _read_segmentation(self, path, name, properties):
        return self._logics["Segmentations"].LoadSegmentationFromFile(path, True, name)

    def _read_markups(self, path, name, properties):
        return self._scene.GetNodeByID(self._logics["Markups"].LoadMarkups(path, name) or "")

    def _read_transform(self, path, name, properties):
        return self._logics["Transforms"].AddTransform(path, self._scene)

"""What the real widgets promise, written down from their sources: the stand-ins are tested against this table.

Only what the module may use is listed. Defaults are those of a widget that has just been made with no arguments.
"""

from dataclasses import dataclass, field

ALL_ENTRIES = 0x007 | 0x1000 | 0x010 | 0x040
"""ctkPathLineEdit's filters: Dirs, Files and Drives; no "." and ".."; readable and executable."""


@dataclass(frozen=True)
class RealClass:
    """One C++ class.

    :param source: the files that say so.
    :param defaults: property -> its value in a new widget.
    :param signals: normalised C++ signatures, beyond those of Qt's own base classes.
    :param methods: what can be called beyond setters of the properties.
    """

    source: str
    defaults: dict = field(default_factory=dict)
    signals: tuple[str, ...] = ()
    methods: tuple[str, ...] = ()


CONTRACT = {
    "ctkCollapsibleButton": RealClass(
        source="CTK Libs/Widgets/ctkCollapsibleButton.h, .cpp (init)",
        defaults={"text": "", "checkable": True, "checked": True, "collapsed": False, "collapsedHeight": 14},
        signals=("contentsCollapsed(bool)",),
        methods=("setCollapsed", "setCollapsedHeight"),
    ),
    "ctkSliderWidget": RealClass(
        source="CTK Libs/Widgets/ctkSliderWidget.h, .cpp, ctkDoubleSlider.cpp; the range is QDoubleSpinBox's",
        defaults={
            "value": 0.0,
            "minimum": 0.0,
            "maximum": 99.99,
            "singleStep": 1.0,
            "pageStep": 10.0,
            "decimals": 2,
            "prefix": "",
            "suffix": "",
            "tracking": True,
            "spinBoxVisible": True,
        },
        signals=("valueChanged(double)", "valueIsChanging(double)"),
        methods=("setRange", "setValue", "reset", "spinBox"),
    ),
    "ctkRangeWidget": RealClass(
        source="CTK Libs/Widgets/ctkRangeWidget.h, .cpp, ctkDoubleRangeSlider.cpp",
        defaults={
            "minimum": 0.0,
            "maximum": 99.0,
            "minimumValue": 0.0,
            "maximumValue": 99.0,
            "singleStep": 1.0,
            "decimals": 2,
            "prefix": "",
            "suffix": "",
            "tracking": True,
            "symmetricMoves": False,
        },
        signals=(
            "valuesChanged(double,double)",
            "minimumValueChanged(double)",
            "maximumValueChanged(double)",
            "rangeChanged(double,double)",
        ),
        methods=("setRange", "setValues", "setMinimumValue", "setMaximumValue", "reset"),
    ),
    "ctkPathLineEdit": RealClass(
        source="CTK Libs/Widgets/ctkPathLineEdit.h, .cpp",
        defaults={
            "currentPath": "",
            "filters": ALL_ENTRIES,
            "nameFilters": [],
            "settingKey": "",
            "label": "",
            "showBrowseButton": True,
            "showHistoryButton": True,
        },
        signals=("currentPathChanged(QString)", "validInputChanged(bool)"),
        methods=("setCurrentPath", "addCurrentPathToHistory", "retrieveHistory", "browse"),
    ),
    "qMRMLWidget": RealClass(
        source="Slicer Libs/MRML/Widgets/qMRMLWidget.h",
        signals=("mrmlSceneChanged(vtkMRMLScene*)",),
        methods=("mrmlScene", "setMRMLScene"),
    ),
    "qMRMLNodeComboBox": RealClass(
        source="Slicer Libs/MRML/Widgets/qMRMLNodeComboBox.h, .cxx",
        defaults={
            "enabled": False,
            "nodeTypes": [],
            "currentNodeID": "",
            "noneEnabled": False,
            "addEnabled": True,
            "removeEnabled": True,
            "editEnabled": False,
            "renameEnabled": False,
            "showHidden": False,
            "showChildNodeTypes": True,
            "selectNodeUponCreation": True,
            "noneDisplay": "None",
            "baseName": "",
        },
        signals=(
            "currentNodeChanged(vtkMRMLNode*)",
            "currentNodeChanged(bool)",
            "currentNodeIDChanged(QString)",
            "nodeAdded(vtkMRMLNode*)",
            "nodeAddedByUser(vtkMRMLNode*)",
            "nodeAddedByUserAction(vtkMRMLNode*)",
            "nodeAboutToBeRemoved(vtkMRMLNode*)",
            "nodeActivated(vtkMRMLNode*)",
        ),
        methods=(
            "mrmlScene",
            "setMRMLScene",
            "currentNode",
            "setCurrentNode",
            "setCurrentNodeID",
            "setCurrentNodeIndex",
            "nodeCount",
            "nodeFromIndex",
            "addNode",
            "removeCurrentNode",
            "addAttribute",
            "setNodeTypeLabel",
        ),
    ),
    "ctkMessageBox": RealClass(
        source="CTK Libs/Widgets/ctkMessageBox.h",
        defaults={"dontShowAgainVisible": False, "dontShowAgain": False, "dontShowAgainSettingsKey": ""},
    ),
}
"""Class name -> what the real class promises."""


def stands_in(cls: type) -> type:
    """Mark a class as the stand-in of the C++ class of the same name: it is held to the contract."""
    promise = CONTRACT[cls.__name__]
    cls.stand_in_for = promise.source
    cls.signals = promise.signals
    return cls

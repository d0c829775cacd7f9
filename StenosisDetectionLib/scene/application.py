"""MRML without Slicer: the `slicer` package and a scene that knows all node classes of a study.

Out: a `vtkMRMLScene`. In the running Slicer the application's own scene is used instead of one made here; making one
there too is allowed (to write files) and leaves the application's scene alone.
"""

from typing import Any

from ..errors import StenosisDetectionError

_LOGICS = (
    "vtkSlicerUnitsLogic",
    "vtkSlicerSubjectHierarchyModuleLogic",
    "vtkSlicerVolumesLogic",
    "vtkSlicerSegmentationsModuleLogic",
    "vtkSlicerMarkupsLogic",
    "vtkSlicerTablesLogic",
    "vtkSlicerPlotsLogic",
)


def slicer_package() -> Any:
    """Return the `slicer` package: that of the running application or slicer-core.

    Raises
    ------
    StenosisDetectionError : there is none, or the installed `slicer` has no MRML.
    """
    try:
        import slicer

        slicer.vtkMRMLScene  # noqa: B018 - an unrelated package may have the same name
    except (ModuleNotFoundError, AttributeError) as error:
        raise StenosisDetectionError(
            'MRML is not available, so no Slicer scene can be made: pip install "slicer-core>=5.12,<5.13"'
        ) from error
    except ImportError as error:
        reason = str(error).splitlines()[0]
        raise StenosisDetectionError(
            f"slicer-core cannot be loaded ({reason}): install the system library it names"
        ) from error
    return slicer


def register_conversions() -> None:
    """Make sure that segmentations can be turned into surfaces: the first scene of a process registers how.

    Slicer has one from its start; without Slicer a segmentation may be made before any scene is.
    """
    slicer = slicer_package()
    factory = slicer.vtkSegmentationConverterFactory.GetInstance()
    surface = slicer.vtkSegmentationConverter.GetClosedSurfaceRepresentationName()
    if factory.ConstructRepresentationObjectByRepresentation(surface) is None:
        create_scene()


def create_scene() -> Any:
    """Return an empty `vtkMRMLScene` that can make, read and write the nodes of a study.

    The module logics register their node classes and make the subject hierarchy; nothing else of them is needed, so
    they are not kept and the scene is freed with its last reference. Scenes are independent of each other.

    Raises
    ------
    StenosisDetectionError : slicer-core is not installed.
    """
    slicer = slicer_package()
    scene = slicer.vtkMRMLScene()
    application = slicer.vtkMRMLApplicationLogic()
    application.SetMRMLScene(scene)
    for name in _LOGICS:
        logic = getattr(slicer, name)()
        logic.SetMRMLApplicationLogic(application)
        logic.SetMRMLScene(scene)
    return scene

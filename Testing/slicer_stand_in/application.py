"""The parts of a running Slicer around the scene: `slicer.app`, `slicer.mrmlScene`, `slicer.modules`."""

import types

import slicer
import vtk


class Application:
    """`slicer.app`, as far as the module and slicer.util use it."""

    def __init__(self):
        self.connections = []
        self.layout = None

    def connect(self, signal, function):
        self.connections.append((signal, function))
        return True

    def disconnect(self, signal, function):
        self.connections.remove((signal, function))
        return True

    def emit(self, signal):
        for connected, function in list(self.connections):
            if connected == signal:
                function()

    def testingEnabled(self):
        return True

    def translate(self, _context, text):
        return text

    def layoutManager(self):
        return self.layout

    def topLevelWidgets(self):
        return []

    def pauseRender(self):
        pass

    def resumeRender(self):
        pass

    def processEvents(self):
        pass


class LoadedModule:
    """What `slicer.modules.<name>` offers."""

    def __init__(self, logic):
        self._logic = logic

    def logic(self):
        return self._logic


def make_scene():
    """Return a scene with the nodes Slicer always has, and `slicer.modules` with the logics that work on it."""
    scene = slicer.vtkMRMLScene()
    application_logic = slicer.vtkSlicerApplicationLogic()
    application_logic.SetMRMLScene(scene)
    application_logic.SetSliceLogics(vtk.vtkCollection())
    application_logic.SetViewLogics(vtk.vtkCollection())
    slicer.vtkMRMLSubjectHierarchyNode.GetSubjectHierarchyNode(scene)
    modules = types.SimpleNamespace()
    for name, logic_class in (
        ("segmentations", slicer.vtkSlicerSegmentationsModuleLogic),
        ("volumes", slicer.vtkSlicerVolumesLogic),
        ("markups", slicer.vtkSlicerMarkupsLogic),
    ):
        logic = logic_class()
        logic.SetMRMLScene(scene)
        logic.SetMRMLApplicationLogic(application_logic)
        application_logic.SetModuleLogic(name.capitalize(), logic)
        setattr(modules, name, LoadedModule(logic))
    modules.applicationLogic = application_logic  # kept alive with the scene
    return scene, modules

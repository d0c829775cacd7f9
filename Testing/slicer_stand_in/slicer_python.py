"""Short replacements for Slicer's own Python modules: what the module uses of them."""

import types
import typing
import unittest
from pathlib import Path

import slicer
import vtk


class ScriptedLoadableModule:
    def __init__(self, parent):
        self.parent = parent


class ScriptedLoadableModuleWidget:
    def __init__(self, parent=None):
        super().__init__()
        self.moduleName = type(self).__name__.removesuffix("Widget")
        self.parent = parent
        self.layout = parent.layout()

    def resourcePath(self, name):
        return str(Path(slicer.util.modulePath(self.moduleName)).parent / "Resources" / name)

    def setup(self):
        pass

    def onReload(self):
        slicer.util.reloadScriptedModule(self.moduleName)


class ScriptedLoadableModuleLogic:
    def __init__(self, parent=None):
        self.moduleName = type(self).__name__.removesuffix("Logic")

    def getParameterNode(self):
        node = slicer.mrmlScene.GetSingletonNode(self.moduleName, "vtkMRMLScriptedModuleNode")
        if node is None:
            node = slicer.vtkMRMLScriptedModuleNode()
            node.SetSingletonTag(self.moduleName)
            node.SetAttribute("ModuleName", self.moduleName)
            node = slicer.mrmlScene.AddNode(node)
        return node


class ScriptedLoadableModuleTest(unittest.TestCase):
    pass


def _parameter(name, kind, default):
    if isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode):

        def read(self):
            return self.parameterNode.GetNodeReference(name)

        def write(self, node):
            if node is not None and not isinstance(node, kind):
                raise ValueError(f"{name} is no {kind.__name__}")
            self.parameterNode.SetNodeReferenceID(name, node.GetID() if node else None)

    elif kind is str:

        def read(self):
            return self.parameterNode.GetParameter(name) or default

        def write(self, value):
            if not isinstance(value, str):
                raise TypeError(f"{name} is no text")
            self.parameterNode.SetParameter(name, value)

    else:
        raise TypeError(f"the stand-in has no serializer for {kind}")
    return property(read, write)


def parameterNodeWrapper(wrapped):
    """Give a class typed parameters that live in a parameter node and follow widgets with SlicerParameterName."""
    hints = typing.get_type_hints(wrapped)
    for name, kind in hints.items():
        setattr(wrapped, name, _parameter(name, kind, getattr(wrapped, name, None)))

    def initialize(self, parameter_node):
        self.parameterNode = parameter_node
        self._bound = {}
        self._updating = False

    def connect_gui(self, ui):
        bound = []
        for widget in vars(ui).values():
            name = widget.property("SlicerParameterName")
            if not name:
                continue
            if name not in hints:
                raise ValueError(f"no parameter is called {name}")
            widget.setCurrentNode(getattr(self, name))

            def to_parameter(node, name=name):
                if not self._updating:
                    setattr(self, name, node)

            widget.connect("currentNodeChanged(vtkMRMLNode*)", to_parameter)
            bound.append((widget, name, to_parameter))

        def to_widgets(_caller, _event):
            self._updating = True
            for widget, name, _ in bound:
                widget.setCurrentNode(getattr(self, name))
            self._updating = False

        tag = self.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, to_widgets)
        self._bound[tag] = bound
        return tag

    def disconnect_gui(self, tag):
        if tag in self._bound:
            for widget, _, to_parameter in self._bound.pop(tag):
                widget.disconnect("currentNodeChanged(vtkMRMLNode*)", to_parameter)
            self.parameterNode.RemoveObserver(tag)

    wrapped.__init__ = initialize
    wrapped.connectGui = connect_gui
    wrapped.disconnectGui = disconnect_gui
    wrapped.AddObserver = lambda self, *arguments: self.parameterNode.AddObserver(*arguments)
    wrapped.RemoveObserver = lambda self, tag: self.parameterNode.RemoveObserver(tag)
    return wrapped


def python_modules():
    """Return Slicer's own Python modules by name."""
    members = {
        "slicer.i18n": {"tr": lambda text: text, "translate": lambda _context, text: text},
        "slicer.ScriptedLoadableModule": {
            cls.__name__: cls
            for cls in (
                ScriptedLoadableModule,
                ScriptedLoadableModuleWidget,
                ScriptedLoadableModuleLogic,
                ScriptedLoadableModuleTest,
            )
        },
        "slicer.parameterNodeWrapper": {"parameterNodeWrapper": parameterNodeWrapper},
        "slicer.packaging": {
            "load_requirements": lambda path: [
                line for line in Path(path).read_text().splitlines() if line and line[0] not in "#-"
            ],
            "pip_ensure": lambda requirements, requester: None,
        },
    }
    modules = {}
    for name, content in members.items():
        modules[name] = types.ModuleType(name)
        vars(modules[name]).update(content)
    return modules

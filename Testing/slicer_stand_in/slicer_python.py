"""Short replacements for Slicer's own Python modules: what the module uses of them."""

import types
import unittest
from pathlib import Path

import slicer
from packaging.requirements import Requirement

from .parameters import Choice, WithinRange, parameterNodeWrapper


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


def python_modules():
    """Return Slicer's own Python modules by name."""
    members = {
        "slicer.i18n": {
            "tr": lambda text: text,
            "translate": lambda _context, text: text,
            "getContext": lambda path: Path(path).stem,
        },
        "slicer.ScriptedLoadableModule": {
            cls.__name__: cls
            for cls in (
                ScriptedLoadableModule,
                ScriptedLoadableModuleWidget,
                ScriptedLoadableModuleLogic,
                ScriptedLoadableModuleTest,
            )
        },
        "slicer.parameterNodeWrapper": {
            "parameterNodeWrapper": parameterNodeWrapper,
            "Choice": Choice,
            "WithinRange": WithinRange,
        },
        "slicer.packaging": {
            "load_requirements": lambda path: [
                Requirement(line) for line in Path(path).read_text().splitlines() if line and line[0] not in "#-"
            ],
            "pip_ensure": lambda requirements, requester: None,
            "pip_check": lambda requirements: True,
        },
    }
    modules = {}
    for name, content in members.items():
        modules[name] = types.ModuleType(name)
        vars(modules[name]).update(content)
    return modules

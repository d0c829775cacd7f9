"""Put the stand-in in the place of Slicer, for a while."""

import contextlib
import importlib.util
import sys
import types

import slicer
import slicer.util

from .application import Application, make_scene
from .slicer_python import python_modules


@contextlib.contextmanager
def installed(module_path, table=None, settings_folder=None):
    """Import the Slicer module at `module_path` into a stand-in and yield it.

    Without a table of names the module can be imported and its logic used; with one, its panel too. Afterwards
    everything is as before, so that other tests see slicer-core as it is.
    """
    scene, modules = make_scene()
    replaced = {"app": Application(), "mrmlScene": scene, "modules": modules}
    replaced_util = {"modulePath": lambda name: str(module_path)}
    added = python_modules()
    if table is None:
        added |= {"qt": types.ModuleType("qt"), "ctk": types.ModuleType("ctk")}
    else:
        from . import pythonqt, widgets

        widgets.application(settings_folder)
        added |= {"qt": pythonqt.QtModule(table), "ctk": types.ModuleType("ctk")}
        replaced_util["loadUI"] = lambda path: widgets.load_ui(path, table)
    for name, module in added.items():
        if name.startswith("slicer."):
            replaced[name.removeprefix("slicer.")] = module
    before = {name: sys.modules.get(name) for name in (*added, module_path.stem)}
    kept = [(slicer, name, getattr(slicer, name, None)) for name in replaced]
    kept += [(slicer.util, name, getattr(slicer.util, name)) for name in replaced_util]
    for holder, values in ((slicer, replaced), (slicer.util, replaced_util)):
        for name, value in values.items():
            setattr(holder, name, value)
    sys.modules.update(added)
    try:
        specification = importlib.util.spec_from_file_location(module_path.stem, module_path)
        module = importlib.util.module_from_spec(specification)
        sys.modules[module_path.stem] = module
        specification.loader.exec_module(module)
        yield module
    finally:
        for name, module in before.items():
            if module is None:
                sys.modules.pop(name, None)
            else:
                sys.modules[name] = module
        for holder, name, value in kept:
            if value is None:
                delattr(holder, name)
            else:
                setattr(holder, name, value)

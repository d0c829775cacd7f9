"""PythonQt as Slicer 5.12.3 has it, on PySide6: only the names that a real Slicer was seen to offer.

`Wrapped` stands around every Qt object. It knows from the table (qtapi.json) which names are properties, signals or
callables of the object's class, and refuses all others.
"""

import ctypes
import functools
import json
import sys
import types

from PySide6 import QtCore, QtGui, QtWidgets


def _keep_constants():
    """Keep None, True and False alive before Python 3.12, which made them immortal.

    PySide6 6.12 relies on that: each of its calls that returns None takes a reference to None away, and after
    some ten thousand calls Python 3.11 ends with "deallocating None".
    """
    if sys.version_info < (3, 12) and sys.implementation.name == "cpython":
        for constant in (None, True, False):
            ctypes.c_ssize_t.from_address(id(constant)).value += 1 << 40


_keep_constants()


class Table:
    """The names of every class in a real Slicer."""

    def __init__(self, path):
        content = json.loads(path.read_text(encoding="utf-8"))
        self.classes, self.names = content["classes"], content["names"]

    def _levels(self, class_name):
        for name in (class_name, *self.classes.get(class_name, {}).get("bases", ())):
            yield self.classes.get(name, {})

    @functools.cache  # noqa: B019 - as long-lived as the table itself
    def properties(self, class_name):
        return {name: kind for level in self._levels(class_name) for name, kind in level.get("properties", {}).items()}

    @functools.cache  # noqa: B019
    def signals(self, class_name):
        return {signature for level in self._levels(class_name) for signature in level.get("signals", ())}

    @functools.cache  # noqa: B019
    def callables(self, class_name):
        found = set()
        for level in self._levels(class_name):
            found.update(level.get("methods", ()))
            for kind in ("slots", "invokables", "signals"):
                found.update(signature.partition("(")[0] for signature in level.get(kind, ()))
        return found

    def offers(self, class_name, name):
        return name in self.properties(class_name) or name in self.callables(class_name)


ALWAYS = {"name", "className", "inherits", "delete", "help"}
"""What PythonQt adds to every object."""


class Signal:
    def __init__(self, owner, name):
        self._owner, self._name = owner, name

    def connect(self, function):
        signatures = [s for s in self._owner._table.signals(self._owner._class) if s.partition("(")[0] == self._name]
        return self._owner.connect(max(signatures, key=len), function)


class Wrapped:
    """A Qt object as PythonQt shows it."""

    def __init__(self, table, target):
        object.__setattr__(self, "_table", table)
        object.__setattr__(self, "_target", target)
        is_object = isinstance(target, QtCore.QObject)
        object.__setattr__(self, "_class", target.metaObject().className() if is_object else type(target).__name__)

    def __eq__(self, other):
        return isinstance(other, Wrapped) and self._target is other._target

    def __hash__(self):
        return id(self._target)

    def __getattr__(self, name):
        if name in self._table.properties(self._class):
            return wrap(self._table, self._target.property(name))
        if name == "name":
            return self._target.objectName()
        if name == "className":
            return lambda: self._class
        known = self._class not in self._table.classes or name in self._table.callables(self._class)
        if not known and name not in ALWAYS:
            raise AttributeError(f"{self._class} has no attribute '{name}' in Slicer")
        if any(signature.partition("(")[0] == name for signature in self._table.signals(self._class)):
            return Signal(self, name)
        function = getattr(self._target, name)
        return lambda *arguments: wrap(self._table, function(*map(unwrap, arguments)))

    def __setattr__(self, name, value):
        kind = self._table.properties(self._class).get(name)
        if kind is None:
            raise AttributeError(f"{self._class} has no property '{name}' in Slicer")
        if kind.endswith(" ro"):
            raise AttributeError(f"property '{name}' of {self._class} cannot be written")
        expected = {"QString": str, "int": int, "bool": bool, "double": (int, float)}.get(kind)
        if expected is not None and not isinstance(value, expected):
            raise ValueError(f"property '{name}' of {self._class} takes {kind}, not {type(value).__name__}")
        self._target.setProperty(name, unwrap(value))

    def connect(self, signature, function):
        """Connect a signal by its C++ signature; False, and nothing else, when there is no such signal."""
        if signature not in self._table.signals(self._class):
            UNKNOWN_SIGNALS.append(f"{self._class}.{signature}")
            return False
        name, _, kinds = signature.rstrip(")").partition("(")
        count = len(kinds.split(",")) if kinds else 0

        def call_all(*arguments):
            try:
                function(*(wrap(self._table, argument) for argument in arguments[:count]))
            except Exception as error:
                ERRORS.append(error)
                raise

        # PySide looks at the number of arguments to choose between the forms of a signal.
        call = (lambda: call_all(), lambda a: call_all(a), lambda a, b: call_all(a, b))[count]
        getattr(self._target, name).connect(call)
        _connections(self._target).append((signature, function, call))
        return True

    def disconnect(self, signature, function):
        connections = _connections(self._target)
        for entry in connections:
            if entry[:2] == (signature, function):
                getattr(self._target, signature.partition("(")[0]).disconnect(entry[2])
                connections.remove(entry)
                return True
        return False


ERRORS = []
"""What was raised in functions that a signal called; Qt itself only prints it."""

UNKNOWN_SIGNALS = []
"""What was connected although no such signal exists, which nobody would notice in Slicer."""

_CONNECTIONS = {}


def _connections(target):
    return _CONNECTIONS.setdefault(id(target), [])


def wrap(table, value):
    """Return a value as Python sees it through PythonQt: lists are tuples, Qt objects are wrapped."""
    if isinstance(value, list | tuple):
        return tuple(wrap(table, item) for item in value)
    module = type(value).__module__
    if isinstance(value, QtCore.QObject) or (module.startswith("PySide6.") and not hasattr(type(value), "__members__")):
        return Wrapped(table, value)
    return value


def unwrap(value):
    return value._target if isinstance(value, Wrapped) else value


class QtClass:
    """A class of the qt module: can be called, has static functions and enums, and is no Python type."""

    def __init__(self, table, cls):
        self._table, self._cls = table, cls

    def __call__(self, *arguments):
        return Wrapped(self._table, self._cls(*map(unwrap, arguments)))

    def __getattr__(self, name):
        member = getattr(self._cls, name)
        if not callable(member) or isinstance(member, type):
            return member
        return lambda *arguments: wrap(self._table, member(*map(unwrap, arguments)))


class QtModule(types.ModuleType):
    """`import qt` of Slicer."""

    def __init__(self, table):
        super().__init__("qt")
        self._table = table

    def __getattr__(self, name):
        if name not in self._table.names["qt"]:
            raise AttributeError(f"module 'qt' has no attribute '{name}' in Slicer")
        if name == "Qt":
            return QtCore.Qt
        for module in (QtWidgets, QtGui, QtCore):
            if hasattr(module, name):
                found = QtClass(self._table, getattr(module, name))
                setattr(self, name, found)  # one and the same each time, as in a real module
                return found
        raise AttributeError(f"the stand-in has no {name}")

"""A short parameterNodeWrapper: typed parameters in a parameter node that follow widgets, as Slicer's does.

It refuses what Slicer's refuses: a type without serializer, a widget without connector, a combo box without `Choice`, a
slider without range, a value out of range. As Slicer's it keeps the values and refreshes them when the node has
changed, so whoever hears of the change before it does still reads the old ones.
"""

import typing
import weakref

import slicer
import vtk


class Choice:
    def __init__(self, choices):
        self.choices = choices

    def validate(self, value):
        if value not in self.choices:
            raise ValueError(f"Value is {value}, but must be in one of the following: {self.choices}")


class WithinRange:
    def __init__(self, minimum, maximum):
        self.minimum, self.maximum = minimum, maximum

    def validate(self, value):
        if not self.minimum <= value <= self.maximum:
            raise ValueError(f"Value must be within range [{self.minimum}, {self.maximum}], is {value}")


_READ = {str: str, float: float, int: int, bool: lambda text: text == "true"}


def _parameter(name, kind, notes, default):
    if isinstance(kind, type) and issubclass(kind, slicer.vtkMRMLNode):

        def read(self):
            return self.parameterNode.GetNodeReference(name)

        def write(self, node):
            if node is not None and not isinstance(node, kind):
                raise ValueError(f"{name} is no {kind.__name__}")
            self.parameterNode.SetNodeReferenceID(name, node.GetID() if node is not None else None)

    elif kind in _READ:

        def read(self):
            text = self.parameterNode.GetParameter(name)
            return _READ[kind](text) if self.parameterNode.HasParameter(name) else default

        def write(self, value):
            allowed = (float, int) if kind is float else kind
            if not isinstance(value, allowed) or (kind is not bool and isinstance(value, bool)):
                raise TypeError(f"{name} is no {kind.__name__}")
            for note in notes:
                note.validate(value)
            self.parameterNode.SetParameter(name, str(value).lower() if kind is bool else str(value))

    else:
        raise TypeError(f"the stand-in has no serializer for {kind}")

    def write_and_keep(self, value):
        with slicer.util.NodeModify(self.parameterNode):
            write(self, value)
            self._kept[name] = read(self)

    return property(lambda self: self._kept[name], write_and_keep), read


class _Connector:
    """How one widget shows one parameter."""

    def __init__(self, widget, kind, notes):
        self.widget = widget
        class_name = widget.className()
        bounds = next((note for note in notes if isinstance(note, WithinRange)), None)
        choice = next((note for note in notes if isinstance(note, Choice)), None)
        if class_name == "qMRMLNodeComboBox":
            self.signal, self.read, self.write = (
                "currentNodeChanged(vtkMRMLNode*)",
                widget.currentNode,
                widget.setCurrentNode,
            )
        elif class_name == "QCheckBox" and kind is bool:
            self.signal, self.read, self.write = "stateChanged(int)", self._checked, self._check
        elif class_name in ("QDoubleSpinBox", "ctkSliderWidget") and kind is float:
            if bounds is None:
                raise RuntimeError("Cannot have a connection where the float types is unbounded.")
            widget.minimum, widget.maximum = bounds.minimum, bounds.maximum
            self.signal, self.read, self.write = "valueChanged(double)", self._value, self._set_value
        elif class_name == "QComboBox" and kind is str:
            if choice is None:
                raise RuntimeError("ComboBoxToStringableConnector requires the Choice annotation to be used.")
            self.choices = choice.choices
            widget.clear()
            for text in self.choices:
                widget.addItem(text)
            self.signal, self.read, self.write = "currentIndexChanged(int)", self._chosen, self._choose
        else:
            raise RuntimeError(f"Unable to create GUI connector from datatype {kind} to widget type {class_name}")

    def _checked(self):
        return self.widget.checked

    def _check(self, value):
        self.widget.checked = value

    def _value(self):
        return self.widget.value

    def _set_value(self, value):
        self.widget.value = float(value)

    def _chosen(self):
        return self.choices[self.widget.currentIndex]

    def _choose(self, value):
        self.widget.currentIndex = self.choices.index(value)


def parameterNodeWrapper(wrapped):
    """Give a class typed parameters that live in a parameter node and follow widgets with SlicerParameterName."""
    hints, readers = {}, {}
    for name, hint in typing.get_type_hints(wrapped, include_extras=True).items():
        annotated = typing.get_origin(hint) is typing.Annotated
        kind, notes = (typing.get_args(hint)[0], typing.get_args(hint)[1:]) if annotated else (hint, ())
        hints[name] = (kind, notes)
        parameter, readers[name] = _parameter(name, kind, notes, getattr(wrapped, name, None))
        setattr(wrapped, name, parameter)

    def initialize(self, parameter_node):
        self.parameterNode = parameter_node
        self._kept = {name: read(self) for name, read in readers.items()}
        weak = weakref.ref(self)

        def refresh(_caller, _event):
            if weak() is not None:
                weak()._kept.update({name: read(weak()) for name, read in readers.items()})

        tag = parameter_node.AddObserver(vtk.vtkCommand.ModifiedEvent, refresh)
        weakref.finalize(self, parameter_node.RemoveObserver, tag).atexit = False
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
            connector = _Connector(widget, *hints[name])
            connector.write(getattr(self, name))

            def to_parameter(*_, name=name, connector=connector):
                if not self._updating:
                    setattr(self, name, connector.read())

            widget.connect(connector.signal, to_parameter)
            bound.append((connector, name, to_parameter))

        def to_widgets(_caller, _event):
            if self._updating:
                return
            self._updating = True
            try:
                for connector, name, _ in bound:
                    connector.write(getattr(self, name))
            finally:
                self._updating = False

        tag = self.parameterNode.AddObserver(vtk.vtkCommand.ModifiedEvent, to_widgets)
        self._bound[tag] = bound
        return tag

    def disconnect_gui(self, tag):
        if tag in self._bound:
            for connector, _, to_parameter in self._bound.pop(tag):
                connector.widget.disconnect(connector.signal, to_parameter)
            self.parameterNode.RemoveObserver(tag)

    wrapped.__init__ = initialize
    wrapped.connectGui = connect_gui
    wrapped.disconnectGui = disconnect_gui
    wrapped.AddObserver = lambda self, *arguments: self.parameterNode.AddObserver(*arguments)
    wrapped.RemoveObserver = lambda self, tag: self.parameterNode.RemoveObserver(tag)
    return wrapped

"""The CTK and qMRML widgets of the panel, and the loader of .ui files."""

import xml.etree.ElementTree as ElementTree

from PySide6 import QtCore, QtGui, QtUiTools, QtWidgets

from .pythonqt import Wrapped


class qMRMLWidget(QtWidgets.QWidget):
    mrmlSceneChanged = QtCore.Signal(object)

    def setMRMLScene(self, scene):
        self.mrmlSceneChanged.emit(scene)


class ctkCollapsibleButton(QtWidgets.QAbstractButton):
    """A header that shows or hides the widgets below it; what was hidden on purpose stays hidden, as in CTK."""

    contentsCollapsed = QtCore.Signal(bool)
    HEADER = 22

    def __init__(self, parent=None):
        super().__init__(parent)
        self._collapsed = False
        self._forcing = False
        self.setContentsMargins(0, self.HEADER, 0, 0)
        self.clicked.connect(lambda: self._collapse(not self._collapsed))

    def childEvent(self, event):
        if event.type() == QtCore.QEvent.ChildAdded and isinstance(event.child(), QtWidgets.QWidget):
            event.child().installEventFilter(self)
        super().childEvent(event)

    def eventFilter(self, child, event):
        if not self._forcing and event.type() in (QtCore.QEvent.ShowToParent, QtCore.QEvent.HideToParent):
            child.setProperty("visibilityToParent", event.type() == QtCore.QEvent.ShowToParent)
        return False

    def _collapse(self, collapsed):
        self._collapsed = collapsed
        self._forcing = True
        for child in self.findChildren(QtWidgets.QWidget, options=QtCore.Qt.FindDirectChildrenOnly):
            child.setVisible(not collapsed and child.property("visibilityToParent") is not False)
        self._forcing = False
        self.setMaximumHeight(self.HEADER if collapsed else 16777215)
        self.contentsCollapsed.emit(collapsed)

    collapsed = QtCore.Property(bool, lambda self: self._collapsed, _collapse)

    def showEvent(self, event):
        if self._collapsed:
            self._collapse(True)  # children that the .ui file added after the property
        super().showEvent(event)

    def sizeHint(self):
        hint = self.layout().totalSizeHint() if self.layout() else QtCore.QSize(100, 0)
        return QtCore.QSize(hint.width(), self.HEADER if self._collapsed else hint.height())

    def paintEvent(self, _event):
        painter = QtWidgets.QStylePainter(self)
        option = QtWidgets.QStyleOptionButton()
        option.initFrom(self)
        option.rect = QtCore.QRect(0, 0, self.width(), self.HEADER)
        painter.drawControl(QtWidgets.QStyle.CE_PushButtonBevel, option)
        arrow = QtWidgets.QStyleOption()
        arrow.initFrom(self)
        arrow.rect = QtCore.QRect(8, 7, 8, 8)
        style = QtWidgets.QStyle
        painter.drawPrimitive(style.PE_IndicatorArrowRight if self._collapsed else style.PE_IndicatorArrowDown, arrow)
        painter.drawText(QtCore.QRect(24, 0, self.width(), self.HEADER), QtCore.Qt.AlignVCenter, self.text())


class qMRMLNodeComboBox(QtWidgets.QWidget):
    """A list of the nodes of some classes in a scene."""

    currentNodeChanged = QtCore.Signal(object)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._scene, self._ids, self._tags = None, [], []
        self._values = {"nodeTypes": [], "noneEnabled": False, "noneDisplay": "None", "showChildNodeTypes": True}
        self._combo = QtWidgets.QComboBox()
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._combo)
        self._combo.currentIndexChanged.connect(lambda index: self.currentNodeChanged.emit(self.currentNode()))

    def _value(name, kind):  # makes the properties below
        def write(self, value):
            self._values[name] = value
            self._fill()

        return QtCore.Property(kind, lambda self: self._values.get(name), write)

    nodeTypes = _value("nodeTypes", "QStringList")
    noneEnabled = _value("noneEnabled", bool)
    noneDisplay = _value("noneDisplay", str)
    showChildNodeTypes = _value("showChildNodeTypes", bool)
    addEnabled = _value("addEnabled", bool)
    baseName = _value("baseName", str)
    removeEnabled = _value("removeEnabled", bool)

    def setMRMLScene(self, scene):
        self._scene = scene
        if scene is not None:
            for event in (scene.NodeAddedEvent, scene.NodeRemovedEvent, scene.EndCloseEvent, scene.EndImportEvent):
                self._tags.append(scene.AddObserver(event, lambda caller, name: self._fill()))
        self._fill()

    def _fill(self):
        chosen = self.currentNode()
        self._combo.blockSignals(True)
        self._combo.clear()
        self._ids = []
        if self._values["noneEnabled"]:
            self._ids.append(None)
            self._combo.addItem(self._values["noneDisplay"])
        for kind in self._values["nodeTypes"] if self._scene else ():
            for index in range(self._scene.GetNumberOfNodesByClass(kind)):
                node = self._scene.GetNthNodeByClass(index, kind)
                if node.GetClassName() == kind:
                    self._ids.append(node.GetID())
                    self._combo.addItem(node.GetName())
        self.setCurrentNode(chosen)
        self._combo.blockSignals(False)
        if self.currentNode() is not chosen:
            self.currentNodeChanged.emit(self.currentNode())

    def currentNode(self):
        index = self._combo.currentIndex()
        known = self._scene is not None and 0 <= index < len(self._ids) and self._ids[index] is not None
        return self._scene.GetNodeByID(self._ids[index]) if known else None

    def setCurrentNode(self, node):
        identifier = node.GetID() if node is not None else None
        if identifier in self._ids:
            self._combo.setCurrentIndex(self._ids.index(identifier))
        elif not self._values["noneEnabled"]:
            self._combo.setCurrentIndex(-1)


class ctkSliderWidget(QtWidgets.QWidget):
    """A slider with a spin box for numbers with decimals."""

    valueChanged = QtCore.Signal(float)
    valueIsChanging = QtCore.Signal(float)

    def __init__(self, parent=None):
        super().__init__(parent)
        self._slider = QtWidgets.QSlider(QtCore.Qt.Horizontal)
        self._box = QtWidgets.QDoubleSpinBox()
        self._box.setMinimumWidth(92)
        layout = QtWidgets.QHBoxLayout(self)
        layout.setContentsMargins(0, 0, 0, 0)
        layout.addWidget(self._slider)
        layout.addWidget(self._box)
        self._page = 10.0
        self._slider.valueChanged.connect(lambda steps: self._box.setValue(steps * self._box.singleStep()))
        self._box.valueChanged.connect(self._moved)

    def _moved(self, value):
        self._slider.blockSignals(True)
        self._slider.setValue(round(value / self._box.singleStep()))
        self._slider.blockSignals(False)
        self.valueChanged.emit(value)

    def _scale(self):
        step = self._box.singleStep()
        self._slider.blockSignals(True)
        self._slider.setRange(round(self._box.minimum() / step), round(self._box.maximum() / step))
        self._slider.setPageStep(round(self._page / step))
        self._slider.setValue(round(self._box.value() / step))
        self._slider.blockSignals(False)

    def _set(self, name, value):
        getattr(self._box, name)(value)
        self._scale()

    def _set_page(self, value):
        self._page = value
        self._scale()

    value = QtCore.Property(float, lambda self: self._box.value(), lambda self, v: self._box.setValue(v))
    minimum = QtCore.Property(float, lambda self: self._box.minimum(), lambda self, v: self._set("setMinimum", v))
    maximum = QtCore.Property(float, lambda self: self._box.maximum(), lambda self, v: self._set("setMaximum", v))
    singleStep = QtCore.Property(
        float, lambda self: self._box.singleStep(), lambda self, v: self._set("setSingleStep", v)
    )
    pageStep = QtCore.Property(float, lambda self: self._page, _set_page)
    decimals = QtCore.Property(int, lambda self: self._box.decimals(), lambda self, v: self._set("setDecimals", v))
    suffix = QtCore.Property(str, lambda self: self._box.suffix(), lambda self, v: self._box.setSuffix(v))


CUSTOM = (qMRMLWidget, ctkCollapsibleButton, ctkSliderWidget, qMRMLNodeComboBox)


def load_ui(path, table):
    """Load a .ui file as Slicer does, after checking that Slicer's classes have what the file names."""
    tree = ElementTree.parse(path)
    root = tree.getroot()
    problems = list(unknown_names(root, table))
    if problems:
        raise RuntimeError(f"unknown in Slicer: {problems}")
    connections = root.find("connections")
    root.remove(connections)
    loader = QtUiTools.QUiLoader()
    for widget_class in CUSTOM:
        loader.registerCustomWidget(widget_class)
    buffer = QtCore.QBuffer()
    buffer.setData(QtCore.QByteArray(ElementTree.tostring(root)))
    buffer.open(QtCore.QIODevice.ReadOnly)
    widget = loader.load(buffer)
    if widget is None:
        raise RuntimeError(loader.errorString())
    for connection in connections:
        sender, signal, receiver, slot = (connection.findtext(key) for key in ("sender", "signal", "receiver", "slot"))
        source = widget if widget.objectName() == sender else widget.findChild(QtCore.QObject, sender)
        target = widget.findChild(QtCore.QObject, receiver)
        getattr(source, signal.partition("(")[0]).connect(getattr(target, slot.partition("(")[0]))
    return Wrapped(table, widget)


def unknown_names(root, table):
    """Yield what a .ui file sets or connects that Slicer's class of the widget does not have."""
    classes = {element.get("name"): element.get("class") for element in root.iter("widget")}
    for element in root.iter("widget"):
        properties = table.properties(element.get("class"))
        for item in element.findall("property"):
            # The partner of a label is no property: the loader of .ui files sets it.
            partner = element.get("class") == "QLabel" and item.get("name") == "buddy"
            if item.get("stdset") != "0" and not partner and item.get("name") not in properties:
                yield f"{element.get('class')}.{item.get('name')}"
    for connection in root.iter("connection"):
        sender, signal, receiver, slot = (connection.findtext(key) for key in ("sender", "signal", "receiver", "slot"))
        if signal not in table.signals(classes[sender]):
            yield f"{classes[sender]}.{signal}"
        if slot.partition("(")[0] not in table.callables(classes[receiver]):
            yield f"{classes[receiver]}.{slot}"


class ModuleParent(QtWidgets.QWidget):
    """The widget that Slicer gives a module's panel; `isEntered` tells whether the user sees it."""

    isEntered = QtCore.Property(bool, lambda self: True)


def make_parent():
    parent = ModuleParent()
    QtWidgets.QVBoxLayout(parent)
    return parent


def application(settings_folder):
    """Return the one Qt application, with settings in a folder of the test."""
    app = QtWidgets.QApplication.instance() or QtWidgets.QApplication(["test", "-platform", "offscreen"])
    app.setStyle("Fusion")
    app.setStyleSheet("")
    app.setPalette(QtGui.QPalette(QtGui.QColor(239, 239, 239)))
    app.setOrganizationName("test")
    QtCore.QSettings.setDefaultFormat(QtCore.QSettings.IniFormat)
    QtCore.QSettings.setPath(QtCore.QSettings.IniFormat, QtCore.QSettings.UserScope, str(settings_folder))
    return app

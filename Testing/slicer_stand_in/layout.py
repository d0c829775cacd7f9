"""The layout manager of a running Slicer: real layout logic and view nodes, no windows."""

import slicer

COLUMNS, ROWS = 400, 300
"""Size in pixels that every view is given."""


class LayoutManager:
    """Answers to the names of qSlicerLayoutManager in the table, as far as the module uses them."""

    def __init__(self, table, scene):
        self._table, self._scene = table, scene
        self._logic = slicer.vtkMRMLLayoutLogic()
        slicer.vtkMRMLSliceNode.AddDefaultSliceOrientationPresets(scene)
        self._logic.SetMRMLScene(scene)
        self.resets = 0
        self._set(slicer.vtkMRMLLayoutNode.SlicerLayoutConventionalView)

    def __getattr__(self, name):
        if name.startswith("_") or not self._table.offers("qSlicerLayoutManager", name):
            raise AttributeError(f"qSlicerLayoutManager has no attribute '{name}' in Slicer")
        known = {
            "layout": self._logic.GetLayoutNode().GetViewArrangement,
            "layoutLogic": lambda: lambda: self._logic,
            "setLayout": lambda: self._set,
            "resetThreeDViews": lambda: self._reset,
        }
        if name not in known:
            raise AttributeError(f"the stand-in for the layout manager has no {name}")
        return known[name]()

    def _reset(self):
        self.resets += 1

    def _set(self, layout):
        node = self._logic.GetLayoutNode()
        assert node.IsLayoutDescription(layout), f"no layout {layout}"
        node.SetViewArrangement(layout)
        for index in range(self._scene.GetNumberOfNodesByClass("vtkMRMLSliceNode")):
            view = self._scene.GetNthNodeByClass(index, "vtkMRMLSliceNode")
            view.SetDimensions(COLUMNS, ROWS, 1)
            if self._scene.GetSingletonNode(view.GetLayoutName(), "vtkMRMLSliceCompositeNode") is None:
                layers = slicer.vtkMRMLSliceCompositeNode()
                layers.SetSingletonTag(view.GetLayoutName())
                layers.SetLayoutName(view.GetLayoutName())
                self._scene.AddNode(layers)

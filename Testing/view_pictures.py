"""Pictures of the views that Slicer would show, drawn from the nodes of the scene; for `make_screenshots.py`."""

import numpy as np
import slicer
import vtk
from PySide6 import QtCore, QtGui
from vtk.util.numpy_support import vtk_to_numpy


def _matrix(matrix):
    return np.array([[matrix.GetElement(row, column) for column in range(4)] for row in range(4)])


def _nodes(class_name):
    scene = slicer.mrmlScene
    return [scene.GetNthNodeByClass(n, class_name) for n in range(scene.GetNumberOfNodesByClass(class_name))]


def slice_picture(name, size):
    """Return what a slice view shows: its background volume, and the lines of models that are drawn in it."""
    from scipy.ndimage import map_coordinates

    scene = slicer.mrmlScene
    view = scene.GetSingletonNode(name, "vtkMRMLSliceNode")
    layers = next(node for node in _nodes("vtkMRMLSliceCompositeNode") if node.GetLayoutName() == name)
    volume = scene.GetNodeByID(layers.GetBackgroundVolumeID())
    image = volume.GetImageData()
    voxels = vtk_to_numpy(image.GetPointData().GetScalars()).reshape(image.GetDimensions()[::-1])
    columns, rows = size
    scale = view.GetFieldOfView()[0] / columns
    placed = _matrix(view.GetSliceToRAS())
    x = (np.arange(columns) - (columns - 1) / 2.0) * scale
    y = ((rows - 1) / 2.0 - np.arange(rows)) * scale
    points = placed[:3, 3] + x[None, :, None] * placed[:3, 0] + y[:, None, None] * placed[:3, 1]
    to_ijk = vtk.vtkMatrix4x4()
    volume.GetRASToIJKMatrix(to_ijk)
    inverse = _matrix(to_ijk)
    ijk = points @ inverse[:3, :3].T + inverse[:3, 3]
    values = map_coordinates(voxels, np.moveaxis(ijk[..., ::-1], -1, 0), order=1, cval=-2000, output=np.float32)
    display = volume.GetDisplayNode()
    low = display.GetLevel() - display.GetWindow() / 2.0
    gray = np.ascontiguousarray(np.clip((values - low) / display.GetWindow() * 255.0, 0, 255).astype(np.uint8))
    picture = QtGui.QImage(gray.data, columns, rows, columns, QtGui.QImage.Format_Grayscale8)
    picture = picture.convertToFormat(QtGui.QImage.Format_RGB32)
    painter = QtGui.QPainter(picture)
    painter.setRenderHint(QtGui.QPainter.Antialiasing)
    for model in _nodes("vtkMRMLModelNode"):
        shown = model.GetDisplayNode()
        if shown is not None and shown.GetVisibility() and view.GetID() in (shown.GetViewNodeIDs() or ()):
            pen = QtGui.QPen(QtGui.QColor.fromRgbF(*shown.GetColor()), shown.GetSliceIntersectionThickness())
            painter.setPen(pen)
            for line in _lines(model.GetPolyData()):
                offset = line - placed[:3, 3]
                across, up = offset @ placed[:3, 0] / scale, offset @ placed[:3, 1] / scale
                path = [
                    QtCore.QPointF(a + (columns - 1) / 2.0, (rows - 1) / 2.0 - b)
                    for a, b in zip(across, up, strict=True)
                ]
                painter.drawPolyline(path)
    painter.end()
    return picture


def _lines(data):
    points = vtk_to_numpy(data.GetPoints().GetData()) if data.GetNumberOfPoints() else np.zeros((0, 3))
    cells, line = data.GetLines(), vtk.vtkIdList()
    cells.InitTraversal()
    while cells.GetNextCell(line):
        yield points[[line.GetId(n) for n in range(line.GetNumberOfIds())]]


def three_d_picture(size, labels=True):
    """Return the 3D view: surfaces of the segmentation and the lesions with their labels."""
    renderer = vtk.vtkRenderer()
    renderer.SetBackground(0.45, 0.46, 0.70)
    renderer.SetBackground2(0.75, 0.76, 0.90)
    renderer.GradientBackgroundOn()
    for node in _nodes("vtkMRMLSegmentationNode"):
        segmentation, display = node.GetSegmentation(), node.GetDisplayNode()
        for identifier in segmentation.GetSegmentIDs():
            mapper, actor = vtk.vtkPolyDataMapper(), vtk.vtkActor()
            mapper.SetInputData(node.GetClosedSurfaceInternalRepresentation(identifier))
            mapper.ScalarVisibilityOff()
            actor.SetMapper(mapper)
            actor.GetProperty().SetColor(*segmentation.GetSegment(identifier).GetColor())
            actor.GetProperty().SetOpacity(display.GetSegmentOpacity3D(identifier))
            renderer.AddActor(actor)
    for node in _nodes("vtkMRMLMarkupsFiducialNode"):
        for index in range(node.GetNumberOfControlPoints()):
            if node.GetNthControlPointVisibility(index):
                _add_point(renderer, node, index, labels, max(11, size[1] // 50))
    camera = renderer.GetActiveCamera()
    camera.SetViewUp(0, 0, 1)
    camera.SetPosition(-100, 600, 150)
    camera.SetFocalPoint(0, 0, 0)
    renderer.ResetCamera()
    camera.Zoom(1.15)
    return _rendered(renderer, size)


def _add_point(renderer, node, index, labels, font_size):
    sphere, mapper, actor = vtk.vtkSphereSource(), vtk.vtkPolyDataMapper(), vtk.vtkActor()
    sphere.SetCenter(*node.GetNthControlPointPosition(index))
    sphere.SetRadius(1.0)
    mapper.SetInputConnection(sphere.GetOutputPort())
    actor.SetMapper(mapper)
    actor.GetProperty().SetColor(*node.GetDisplayNode().GetSelectedColor())
    renderer.AddActor(actor)
    if not labels:
        return
    # Over the surfaces, as Slicer writes them.
    label = vtk.vtkTextActor()
    label.SetInput("  " + node.GetNthControlPointLabel(index))
    label.GetPositionCoordinate().SetCoordinateSystemToWorld()
    label.GetPositionCoordinate().SetValue(*node.GetNthControlPointPosition(index))
    label.GetTextProperty().SetFontSize(font_size)
    label.GetTextProperty().SetColor(*node.GetDisplayNode().GetSelectedColor())
    label.GetTextProperty().BoldOn()
    renderer.AddViewProp(label)


def plot_picture(size):
    """Return the plot of the chart that our plot view shows, by the charts of VTK, which Slicer uses too."""
    from StenosisDetectionLib.scene.review_views import plot_view_node

    chart_node = slicer.mrmlScene.GetNodeByID(plot_view_node(slicer.mrmlScene).GetPlotChartNodeID())
    chart = vtk.vtkChartXY()
    for index in range(chart_node.GetNumberOfPlotSeriesNodes()):
        series = chart_node.GetNthPlotSeriesNode(index)
        plot = chart.AddPlot(
            vtk.vtkChart.POINTS if series.GetLineStyle() == series.LineStyleNone else vtk.vtkChart.LINE
        )
        plot.SetInputData(series.GetTableNode().GetTable(), series.GetXColumnName(), series.GetYColumnName())
        plot.SetColorF(*series.GetColor())
        plot.SetWidth(series.GetLineWidth())
        plot.GetPen().SetLineType(series.GetLineStyle())
        if series.GetMarkerStyle() != series.MarkerStyleNone:
            plot.SetMarkerStyle(series.GetMarkerStyle())
            plot.SetMarkerSize(series.GetMarkerSize())
    chart.SetTitle(chart_node.GetTitle())
    chart.GetAxis(vtk.vtkAxis.BOTTOM).SetTitle(chart_node.GetXAxisTitle())
    chart.GetAxis(vtk.vtkAxis.LEFT).SetTitle(chart_node.GetYAxisTitle())
    renderer, scene, actor = vtk.vtkRenderer(), vtk.vtkContextScene(), vtk.vtkContextActor()
    renderer.SetBackground(1, 1, 1)
    scene.AddItem(chart)
    actor.SetScene(scene)
    renderer.AddActor(actor)
    scene.SetRenderer(renderer)
    return _rendered(renderer, size)


def _rendered(renderer, size):
    window, grabber = vtk.vtkRenderWindow(), vtk.vtkWindowToImageFilter()
    window.SetOffScreenRendering(1)
    window.SetMultiSamples(8)
    window.SetSize(*size)
    window.AddRenderer(renderer)
    window.Render()
    grabber.SetInput(window)
    grabber.Update()
    pixels = vtk_to_numpy(grabber.GetOutput().GetPointData().GetScalars()).reshape(size[1], size[0], 3)[::-1]
    pixels = np.ascontiguousarray(pixels)
    return QtGui.QImage(pixels.data, *size, 3 * size[0], QtGui.QImage.Format_RGB888).convertToFormat(
        QtGui.QImage.Format_RGB32
    )

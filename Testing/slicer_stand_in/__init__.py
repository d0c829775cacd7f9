"""A stand-in for 3D Slicer, so that the module's logic and panel run under plain pytest.

MRML is the real one (slicer-core), Qt is the real one (PySide6) behind `pythonqt`, which answers as PythonQt does in
Slicer 5.12.3: properties are attributes, a name that Slicer does not offer is an AttributeError, a wrong signal
signature returns False. What Slicer adds in Python (ScriptedLoadableModule, parameterNodeWrapper, i18n, packaging) is
replaced by the little that the module uses. A pass here is no proof of a pass in Slicer; a failure is one of a failure.
"""

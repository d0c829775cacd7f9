"""The version of the package, the extension and the report."""

__version__ = "0.1.0"

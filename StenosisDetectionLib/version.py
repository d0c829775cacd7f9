"""The version of the package, the extension and the report, and what it may be used for."""

__version__ = "0.1.0"

RESEARCH_USE = "Research use only. Not a medical device. Not for diagnosis or treatment decisions."
"""The sentence on every report, in the panel and in `--version`."""

"""Errors of the product, each of which tells the user in one line what was wrong and what to do."""


class StenosisDetectionError(Exception):
    """Base class of every error this package raises on purpose."""


class InputError(StenosisDetectionError):
    """The request or the input is unusable; the message is one line: what is wrong and what to do (exit status 2)."""


class ModelError(StenosisDetectionError):
    """A segmentation model is unknown, incomplete or cannot run here; the message says what to do (exit status 2)."""


class Cancelled(StenosisDetectionError):
    """The user asked to stop (exit status 130)."""

"""Errors of the product, each of which tells the user in one line what was wrong and what to do."""


class StenosisDetectionError(Exception):
    """Base class of every error this package raises on purpose."""


class InputError(StenosisDetectionError):
    """The request or the input is unusable; the message is one line: what is wrong and what to do (exit status 2)."""


class ModelError(StenosisDetectionError):
    """A segmentation model is unknown, incomplete or cannot run here; the message says what to do (exit status 2)."""


class Cancelled(StenosisDetectionError):
    """The user asked to stop (exit status 130)."""


def error_line(error: BaseException) -> str:
    """Return one line on an error: its own message where it was written for the user, else its kind and message."""
    message = " ".join(str(error).split())
    if isinstance(error, StenosisDetectionError):
        return message
    kind = type(error).__name__
    return f"Unexpected error ({kind}: {message})" if message else f"Unexpected error ({kind})"

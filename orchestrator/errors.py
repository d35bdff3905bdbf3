"""The errors a person sees, each a line or a few and no traceback."""

from __future__ import annotations


class RequestError(Exception):
    """The request is wrong: what was found, where, and what is expected; exit code 2."""


class FailedError(Exception):
    """The request is right and the work failed: what failed, and what is kept; exit code 1."""

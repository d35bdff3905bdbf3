"""The error a person sees."""

from __future__ import annotations


class RequestError(Exception):
    """The request is wrong: one line that names what was found, where, and what is expected; exit code 2."""

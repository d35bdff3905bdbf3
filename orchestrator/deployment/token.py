"""The token without which nobody joins a cluster; it gives whoever holds it all that its nodes can do."""

from __future__ import annotations

import contextlib
import os
import secrets
from pathlib import Path

from orchestrator.errors import RequestError


def ensure_token() -> tuple[Path, bool]:
    """The file of the token, made with mode 600 if there is none, and whether it was made; its content stays.

    Raises:
        RequestError: the file is empty.
    """
    path = Path.home() / ".ray" / "auth_token"
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    made = False
    with contextlib.suppress(FileExistsError):
        with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:
            file.write(secrets.token_hex(32))
        made = True
    if not path.read_text().strip():
        raise RequestError(
            f"{path}: expected a token, found an empty file; remove it, and 'orch cluster token' makes one"
        )
    path.chmod(0o600)
    return path, made

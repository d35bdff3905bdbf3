"""orch reproduce."""

from __future__ import annotations

from functools import partial
from typing import Annotated

import typer

from orchestrator.evaluation.command import PANEL
from orchestrator.options import Common, Job, job_of, making


def register(app: typer.Typer) -> None:
    def reproduce(
        common: Common,
        paper: Annotated[
            str | None,
            typer.Argument(
                help="A shipped paper: evae-2021, latent-2022 or vae-gan-2023; or a YAML file. Default: none."
            ),
        ] = None,
    ) -> Job:
        """Draw every figure of a paper: run its commands, find what is there, leave one page."""
        return _job(app, common, paper)

    making(app, "reproduce", PANEL)(reproduce)


def _job(app: typer.Typer, common: Common, paper: str | None) -> Job:
    from orchestrator.config import shipped, shipped_file
    from orchestrator.errors import RequestError
    from orchestrator.reproduction import run
    from orchestrator.reproduction.request import Reproduction
    from physics.registry import cut

    if (paper is None) == (common.config is None):
        found = "neither" if paper is None else f"{cut(paper)} and --config {cut(common.config)}"
        raise RequestError(
            f"orch reproduce: expected a paper, {', '.join(shipped('papers'))}, or --config, found {found}"
        )
    config = common.request(Reproduction, source=None if paper is None else shipped_file("papers", paper))
    store, asked = common.target, partial(job_of, app)
    return Job("analyses", store, lambda: run.plan(config, store, asked), lambda: run.run(config, store, asked))

"""The page of a sweep: the metric over the space, what the program shows, every training."""

from __future__ import annotations

import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from orchestrator.data.spectrum import BETA_C
from orchestrator.html import figure_text
from orchestrator.page import Origin, Section, page
from orchestrator.sweeps.program import Finished
from orchestrator.sweeps.request import SweepConfig
from physics.render import figure_of


def sweep_page(config: SweepConfig, finished: Finished, origin: Origin) -> dict[str, bytes]:
    """The page, and the picture of the metric where keys with several numbers were swept."""
    metric, mode = config.objective
    swept = [key for key in config.space if finished.summary[key].nunique() > 1]
    numbers = [key for key in swept if pd.api.types.is_numeric_dtype(finished.summary[key])]
    known = finished.summary.dropna(subset=[metric])
    pictures = []
    if numbers and len(known):
        text = f"{metric} of each trial, to be {'small' if mode == 'min' else 'large'}."
        pictures = [Section("The metric", text, _metric(known, numbers, metric), "metric.png")]
    data = pd.DataFrame(finished.data).T.rename_axis("data set").reset_index()
    columns = [column for column in finished.stages if finished.stages[column].nunique() > 1 or column == "model"]
    sections = [
        Section("Trials", rows=finished.summary),
        *pictures,
        *finished.compared,
        *config.trial.sections(finished),
        *(
            [Section("Trainings", rows=finished.stages[columns])]
            if len(finished.stages) > len(finished.summary)
            else []
        ),
        Section("Data", BETA_C if "beta_c" in data else "", rows=data),
    ]
    return page(f"Sweep {config.name}", _summary(config, known, metric, mode), sections, origin)


def _summary(config: SweepConfig, known: pd.DataFrame, metric: str, mode: str) -> str:
    if known.empty:
        return f"{config.trial.name} of {config.system.name}: no trial has a {metric}."
    best = known.sort_values(metric, ascending=mode == "min").iloc[0]
    point = ", ".join(f"{key} = {figure_text(best[key])}" for key in [*config.space, "seed"])
    span = f"{known[metric].min():.4g} to {known[metric].max():.4g}"
    return f"{config.trial.name} of {config.system.name}: {metric} {span}; {mode} at {point}."


def _metric(known: pd.DataFrame, keys: list[str], metric: str) -> Figure:
    figure, axes = figure_of(1, len(keys), (4.6 * len(keys), 3.6))
    for axis, key in zip(np.atleast_1d(axes), keys, strict=True):
        values = known[key].to_numpy(float)
        axis.plot(values, known[metric], "ko", ms=4)
        if values.min() > 0 and values.max() / values.min() > 20:
            axis.set_xscale("log")
        axis.set(xlabel=key, ylabel=metric)
        axis.grid(alpha=0.3)
    return figure

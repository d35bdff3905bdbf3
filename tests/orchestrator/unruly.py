"""Trial programs that behave badly with one of their seeds, and one whose trainings are told one by one."""

import math
import os
import time
from pathlib import Path
from typing import Literal

import pandas as pd

from orchestrator.sweeps.single import SingleTraining


class Unruly(SingleTraining):
    """A training; with seed 1 it raises, or hangs, before or after it."""

    name: str = "unruly:Unruly"  # type: ignore[assignment]
    fault: Literal["raise", "hang"] = "raise"

    def trainings(self, training):
        if training.seed == 1 and self.fault == "raise":
            raise ZeroDivisionError("a fault of the program")
        yield training
        if training.seed == 1:
            time.sleep(10_000)


class Mortal(SingleTraining):
    """Six trainings; its process dies after each of them, once for each file of ``marks``."""

    name: str = "unruly:Mortal"  # type: ignore[assignment]
    marks: str

    def length(self, training):
        return 6

    def max_steps(self, training):
        return 6 * training.steps

    def trainings(self, training):
        for number in range(6):
            yield training
            training = training.model_copy(update={"parent": training.name})
            mark = Path(self.marks, str(number))
            if not mark.exists():
                mark.touch()
                os._exit(1)


class Ladder(SingleTraining):
    """Three trainings, each from the weights of the one before; what it reports is best at a learning rate of 1e-3."""

    name: str = "unruly:Ladder"  # type: ignore[assignment]

    def length(self, training):
        return 3

    def max_steps(self, training):
        return 3 * training.steps

    def trainings(self, training):
        for _ in range(3):
            yield training
            training = training.model_copy(update={"parent": training.name})

    def report(self, stages: pd.DataFrame):
        return {"validation_reconstruction": abs(math.log10(stages["system.learning_rate"].iloc[-1]) + 3)}

    def sections(self, finished):
        return []

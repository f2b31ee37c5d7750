"""Growth simulations for the gliomas among the tumors that were looked up."""

from collections.abc import Callable
from pathlib import Path

from TumorRetrievalLib.engine.growth import GrowthOptions, grow_tumor, load_simulations
from TumorRetrievalLib.engine.outline import Outline, merge
from TumorRetrievalLib.engine.patient import Patient, StopWatch
from TumorRetrievalLib.errors import Cancelled, TumorRetrievalError

GROWS = "glioma"
"""The model is one of infiltrating tumors; the other types push the brain aside."""


def grow_gliomas(
    patient: Patient,
    tumors: list[tuple[dict[str, float], Outline]],
    out: Path,
    notes: list[str],
    progress: Callable[[float, str], None],
) -> list[dict | None]:
    """Fit a growth simulation to every tumor that is most likely a glioma, with the network's own masks.

    :param tumors: for each, the probabilities of its types and its outline.
    :param out: folder; the simulation of tumor 1 goes to `growth_1` in it.
    :param notes: gets a sentence for each tumor that could not be simulated.
    :returns: for each tumor the folder, and the parameters and overlaps of `growth_result.describe`; None where there
        is no simulation.
    """
    if patient.alignment is None:
        notes.append("No growth was simulated, because the scan could not be brought to the atlas.")
        return [None] * len(tumors)
    found: list[dict | None] = []
    for number, (types, outline) in enumerate(tumors, start=1):
        found.append(None)
        if not types or max(types, key=types.get) != GROWS:
            continue
        folder = f"growth_{number}"
        core, whole = merge([outline], patient.t1c.grid)
        try:
            result = grow_tumor(
                patient,
                core,
                whole,
                out / folder,
                GrowthOptions(),
                database=load_simulations(),
                watch=StopWatch(),
                masks_from="network",
                progress=lambda f, m, done=number - 1: progress((done + f) / len(tumors), m),
            )
        except Cancelled:
            raise
        except TumorRetrievalError as error:
            notes.append(f"The growth of tumor {number} was not simulated: {error}")
            continue
        found[-1] = {"folder": folder, "parameters": result["parameters"], "dice": result["dice"]}
    if not any(found):
        notes.append("No growth was simulated: it is for tumors that are most likely gliomas.")
    return found

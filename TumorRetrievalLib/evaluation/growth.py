"""How well simulated tumors overlap with real ones, and how often each search finds the one that overlaps best.

Table 1 and Figure 9 of Rosier (2022) on masks of one's own; `growth_table` has the simulated queries and the training.
"""

import json
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np

from TumorRetrievalLib.engine.growth import load_simulations
from TumorRetrievalLib.engine.growth_fit import STARTS
from TumorRetrievalLib.evaluation.growth_table import PUBLISHED, Query, compare, load_all, make_searches, real_queries
from TumorRetrievalLib.growth.database import SimulationDatabase
from TumorRetrievalLib.growth.refine import refine
from TumorRetrievalLib.imaging.atomic import atomic_file

Progress = Callable[[float, str], None]


def evaluate_growth(
    masks: Path,
    database: Path | None = None,
    *,
    models: Sequence[Path] = (),
    limit: int | None = None,
    refined: bool = True,
    json_path: Path | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> dict:
    """Look for real masks among simulated tumors.

    :param masks: see `growth.expert_masks.read_expert_masks`.
    :param database: file of simulated tumors; the bundled one when None.
    :param models: folders that `train growth-...` left; their searches are compared too.
    :param limit: at most so many masks.
    :param refined: whether a simulation is also fitted around the best matches of every mask.
    :param json_path: also write the result there.
    :returns: `masks` (their number), `database_size`, `methods` (see `growth_table.evaluate_growth_table`),
        `equal_to_brute_force`, `combined_dice` with `retrieval` and, if asked for, `refined`, each with `mean` (of the
        sums of both Dice coefficients), `core` and `whole`; and `published`, the thesis' figures.
    """
    report = progress or (lambda fraction, message: None)
    report(0.0, "Reading the simulated tumors")
    stored = load_simulations(database)
    queries = real_queries(masks, stored, limit)
    searches = make_searches(stored, load_all(models, device), lambda f, m: report(0.3 * f, m))
    compared = compare(stored.search, searches, queries, lambda f, m: report(0.3 + 0.3 * f, m))
    if refined:
        compared["combined_dice"]["refined"] = _refined(stored, queries, lambda f, m: report(0.6 + 0.4 * f, m))
    result = {"database_size": len(stored), **compared, "published": PUBLISHED}
    if json_path is not None:
        with atomic_file(json_path) as temporary:
            temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def _refined(stored: SimulationDatabase, queries: list[Query], progress: Progress) -> dict[str, float]:
    """Mean Dice after the refinement that `growth` does."""
    atlas = stored.growth_atlas
    overlaps = []
    for number, query in enumerate(queries):
        progress(number / len(queries), f"Fitting mask {number + 1} of {len(queries)}")
        matches = stored.search.search(query.whole, query.core, STARTS)
        starts = [stored.parameters_of(int(index)) for index in matches.indices]
        fit = refine(atlas, query.whole, query.core, starts, coarse_atlas=atlas.coarse)
        overlaps.append((fit.core_dice, fit.whole_dice))
    core, whole = np.mean(overlaps, axis=0)
    return {"mean": round(float(core + whole), 4), "core": round(float(core), 4), "whole": round(float(whole), 4)}

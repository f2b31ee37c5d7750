"""Table 1 of Rosier 2022: how often each search finds the tumor that comparing with everything finds, and how fast.

The searches: the thesis' baseline, the exact one, two that look at fewer voxels, and the autoencoders that were
trained. Those who ask are tumors simulated for it, with a seed of their own, and real masks.
"""

import json
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from TumorRetrievalLib.errors import UnreadableFile, WeightsError
from TumorRetrievalLib.growth.atlas import GrowthAtlas
from TumorRetrievalLib.growth.build import BuildPlan, simulate_shard
from TumorRetrievalLib.growth.database import SimulationDatabase, read_database
from TumorRetrievalLib.growth.expert_masks import read_expert_masks
from TumorRetrievalLib.growth.latent_search import LatentModels, LatentSearch
from TumorRetrievalLib.growth.overlap_search import Matches, OverlapSearch
from TumorRetrievalLib.growth.thesis_search import DownsampledSearch, baseline_scores
from TumorRetrievalLib.imaging.atomic import atomic_file

TOPS = (1, 5, 15)
QUERY_PLAN = BuildPlan(seed=62, snapshots=1)
RECIPES = {"ae": "growth-ae", "vae1024": "growth-vae1024", "vae8": "growth-vae8"}
PUBLISHED = {
    "database_size": 50_000,
    "masks": 62,
    "methods": {
        "baseline": {"median_ms": 340_000},
        "ds64": {"top1": 0.887, "top5": 1.0, "top15": 1.0, "median_ms": 130_000},
        "ds32": {"top1": 0.661, "top5": 0.967, "top15": 1.0, "median_ms": 116_000},
        "ae": {"top1": 0.338, "top5": 0.645, "top15": 0.774, "median_ms": 22_000},
        "vae1024": {"top1": 0.419, "top5": 0.612, "top15": 0.806, "median_ms": 34_000},
        "vae8": {"top1": 0.193, "top5": 0.483, "top15": 0.677, "median_ms": 7_000},
    },
    "combined_dice": {"retrieval": {"mean": 1.072, "core": 0.522, "whole": 0.549}},
}
"""Table 1 and Figure 9 of the thesis, on its own patients and 32 processes (mean times): to be read beside ours."""

# The baseline is slow and takes as long for every tumor: it is timed on some of them and scaled up.
_BASELINE_TUMORS, _BASELINE_QUERIES = 100, 3

Progress = Callable[[float, str], None]
Search = Callable[[np.ndarray, np.ndarray], int]


@dataclass(frozen=True, eq=False)
class Query:
    """A tumor that asks: its two masks, bool on the simulation grid."""

    whole: np.ndarray
    core: np.ndarray


def evaluate_growth_table(
    database: Path,
    *,
    models: Sequence[Path] = (),
    masks: Path | None = None,
    tumors: int | None = None,
    limit: int = 120,
    json_path: Path | None = None,
    device: str | None = None,
    progress: Progress | None = None,
) -> dict:
    """Measures every search on simulated tumors that are in no database, and on real masks if there are any.

    :param database: file of simulated tumors.
    :param models: folders that `train growth-...` left.
    :param masks: see `read_expert_masks`; patients without a core in the atlas are left out.
    :param tumors: only the first so many of the database.
    :param limit: at most so many queries of each kind.
    :param json_path: also write the result there.
    :returns: `database_size`; `baseline_scaled_up_from` (the tumors that the baseline was timed on); `synthetic` with
        `masks` (their number), `methods`, `equal_to_brute_force` and `combined_dice`; the same four beside it for the
        real masks; `trained` (what each autoencoder was trained on and for how long), `not_run` (method -> reason) and
        `published`. A method has `top1`, `top5`, `top15` (shares of the queries whose best match is among the
        baseline's best 1, 5, 15), `dice` (mean combined Dice of its best match), `relative_mean` and `relative_median`
        (that Dice as a share of the baseline's), `median_ms` and `max_ms`.
    :raises WeightsError: if there is no pair of autoencoders in a folder, or two of one kind.
    """
    report = progress or (lambda fraction, message: None)
    stored = read_database(database)
    atlas = stored.growth_atlas
    stored = stored.first(tumors) if tumors else stored
    loaded = load_all(models, device)
    searches = make_searches(stored, loaded, lambda f, m: report(0.6 * f, m))

    report(0.6, "Simulating queries")
    simulated = simulated_queries(atlas, limit)
    result = {
        "database_size": len(stored),
        "baseline_scaled_up_from": min(_BASELINE_TUMORS, len(stored)),
        "synthetic": compare(stored.search, searches, simulated, lambda f, m: report(0.65 + 0.15 * f, m)),
        "trained": {name: _training_of(pair) for name, pair in loaded.items()},
        "not_run": {
            name: f"no weights were given; train them with `tumor-retrieval train {recipe} --out DIR`"
            for name, recipe in RECIPES.items()
            if name not in loaded
        },
        "published": PUBLISHED,
    }
    if masks is not None:
        real = real_queries(masks, stored, limit)
        result |= compare(stored.search, searches, real, lambda f, m: report(0.8 + 0.2 * f, m))
    if json_path is not None:
        with atomic_file(json_path) as temporary:
            temporary.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")
    return result


def load_all(folders: Sequence[Path], device: str | None = None) -> dict[str, LatentModels]:
    """The pairs of autoencoders by the name of their column: ae, vae1024, vae8.

    :raises WeightsError: if there is none in a folder, or two are of one kind.
    """
    loaded = {}
    for folder in folders:
        pair = LatentModels.load(folder, device)
        arguments = pair.whole.contract["arguments"]
        name = f"{'vae' if arguments['variational'] else 'ae'}{arguments['latent']}"
        name = "ae" if name == "ae1024" else name
        if name in loaded:
            raise WeightsError(f"{folder} holds a second {name}; name one of them.")
        loaded[name] = pair
    return loaded


def make_searches(
    database: SimulationDatabase, models: dict[str, LatentModels], progress: Progress
) -> dict[str, Search]:
    """Name of a method -> a function from two masks to the index of the best match."""
    exact = database.search
    progress(0.0, "Sampling the database at 64^3 and 32^3")
    coarse = {edge: DownsampledSearch(exact, edge) for edge in (64, 32)}
    latent = {}
    for number, (name, pair) in enumerate(models.items()):
        latent[name] = LatentSearch(
            database, pair, progress=lambda f, m, done=number: progress(0.2 + 0.8 * (done + f) / len(models), m)
        )
    return {
        "exact": lambda whole, core: int(exact.search(whole, core, max(TOPS)).indices[0]),
        **{f"ds{edge}": lambda whole, core, s=s: int(s.search(whole, core, 1)[0]) for edge, s in coarse.items()},
        **{name: lambda whole, core, s=s: int(s.search(whole, core, 1).indices[0]) for name, s in latent.items()},
    }


def simulated_queries(atlas: GrowthAtlas, count: int) -> list[Query]:
    """Tumors of a seed of their own."""
    queries, shard = [], 0
    while len(queries) < count:
        made = simulate_shard(atlas, QUERY_PLAN, shard)
        shard += 1
        edge = made.grid.shape[0]
        queries += [Query(made.whole.unpack(n, edge), made.core.unpack(n, edge)) for n in range(len(made))]
    return queries[:count]


def real_queries(path: Path, database: SimulationDatabase, count: int) -> list[Query]:
    """Expert masks, in the atlas.

    :raises UnreadableFile: if the file holds none that can be searched with.
    """
    masks = read_expert_masks(path, database.grid, count)
    queries = [Query(mask.whole, mask.core) for mask in masks if mask.core.any()]
    if not queries:
        raise UnreadableFile(f"No mask in {path} has a tumor core that lies in the atlas.")
    return queries


def compare(truth: OverlapSearch, searches: dict[str, Search], queries: list[Query], progress: Progress) -> dict:
    """What every method finds for every query, beside what comparing with everything finds."""
    rankings: list[Matches] = []
    found: dict[str, list[int]] = {name: [] for name in searches}
    milliseconds: dict[str, list[float]] = {name: [] for name in searches}
    equal = True
    for search in searches.values():
        search(queries[0].whole, queries[0].core)  # the first call compiles and allocates
    for number, query in enumerate(queries):
        progress(number / len(queries), f"Query {number + 1} of {len(queries)}")
        rankings.append(truth.search_everything(query.whole, query.core, len(truth)))
        equal &= _same(truth.search(query.whole, query.core, max(TOPS)), rankings[-1])
        for name, search in searches.items():
            start = time.perf_counter()
            found[name].append(search(query.whole, query.core))
            milliseconds[name].append(1e3 * (time.perf_counter() - start))
    baseline_ms, baseline_agrees = time_baseline(truth, queries, rankings)
    found["baseline"] = [int(ranking.indices[0]) for ranking in rankings]
    milliseconds["baseline"] = baseline_ms
    best = [np.mean([getattr(ranking, name)[0] for ranking in rankings]) for name in ("whole_dice", "core_dice")]
    return {
        "masks": len(queries),
        "methods": {name: score_of(found[name], rankings, milliseconds[name]) for name in ("baseline", *searches)},
        "equal_to_brute_force": bool(equal and baseline_agrees),
        "combined_dice": {
            "retrieval": {"mean": _rounded(sum(best)), "whole": _rounded(best[0]), "core": _rounded(best[1])}
        },
    }


def score_of(found: list[int], rankings: list[Matches], milliseconds: list[float]) -> dict[str, float]:
    """The row of one method: see `evaluate_growth_table`. Tumors of equal Dice share the better rank."""
    best = np.array([ranking.scores[0] for ranking in rankings])
    reached = np.array([r.scores[r.indices == index][0] for r, index in zip(rankings, found, strict=True)])
    rank = np.array([np.count_nonzero(r.scores > score) + 1 for r, score in zip(rankings, reached, strict=True)])
    share = reached / np.maximum(best, np.finfo(float).tiny)
    return {
        **{f"top{top}": _rounded(np.mean(rank <= top)) for top in TOPS},
        "dice": _rounded(reached.mean()),
        "relative_mean": _rounded(share.mean()),
        "relative_median": _rounded(np.median(share)),
        "median_ms": _rounded(np.median(milliseconds)),
        "max_ms": _rounded(np.max(milliseconds)),
    }


def time_baseline(truth: OverlapSearch, queries: list[Query], rankings: list[Matches]) -> tuple[list[float], bool]:
    """Milliseconds of the baseline for some queries, scaled up from some tumors; and whether its scores agree."""
    tumors = np.linspace(0, len(truth) - 1, min(_BASELINE_TUMORS, len(truth))).astype(int)
    milliseconds, agrees = [], True
    for query, ranking in list(zip(queries, rankings, strict=True))[:_BASELINE_QUERIES]:
        start = time.perf_counter()
        scores = baseline_scores(truth, query.whole, query.core, tumors)
        milliseconds.append(1e3 * (time.perf_counter() - start) * len(truth) / len(tumors))
        by_index = np.empty(len(truth))
        by_index[ranking.indices] = ranking.scores
        agrees &= np.allclose(scores, by_index[tumors], rtol=0, atol=1e-12)
    return milliseconds, agrees


def _same(matches: Matches, ranking: Matches) -> bool:
    count = len(matches.indices)
    same_indices = np.array_equal(matches.indices, ranking.indices[:count])
    return same_indices and np.array_equal(matches.scores, ranking.scores[:count])


def _training_of(pair: LatentModels) -> dict:
    """What the contracts of a pair say, in a few words."""
    kept = ("steps", "minutes")
    return {
        mask: {
            "edge": model.contract.get("edge"),
            "trained_on": model.contract.get("trained_on"),
            **{name: model.contract.get("training", {}).get(name) for name in kept},
            **model.contract.get("quality", {}),
        }
        for mask, model in (("whole", pair.whole), ("core", pair.core))
    }


def _rounded(value: float) -> float:
    return round(float(value), 4)

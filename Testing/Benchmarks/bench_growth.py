"""How fast tumors are simulated, found and fitted, and how well the best ones fit masks that experts drew.

    python Testing/Benchmarks/bench_growth.py [--database FILE] [--masks FILE.npz] [--refine N] [--json FILE]

Simulation: thesis parameters, 128^3, until 250 ml, on one core, and its volumes against steps a tenth as long.
Search: the exact best 15 for every mask, packing included, each compared with comparing everything; in the same run
NumPy, MONAI's Dice, packed bits in NumPy, and FAISS, on a part of the database and scaled up.
Fit: held-out simulated tumors and, with --refine, expert masks.
"""

import argparse
import json
import os
import time
from pathlib import Path

import numpy as np

from TumorRetrievalLib.errors import InvalidGrowth
from TumorRetrievalLib.growth import growth as growth_module
from TumorRetrievalLib.growth.atlas import load_growth_atlas
from TumorRetrievalLib.growth.build import BuildPlan, draw, simulate_shard
from TumorRetrievalLib.growth.database import bundled_database, read_database
from TumorRetrievalLib.growth.expert_masks import ExpertMasks, read_expert_masks
from TumorRetrievalLib.growth.overlap_search import OverlapSearch
from TumorRetrievalLib.growth.refine import refine
from TumorRetrievalLib.growth.solver import simulate_to_times, simulate_to_volumes
from TumorRetrievalLib.growth.thesis_search import baseline_scores
from TumorRetrievalLib.resources import LIBRARY

MASKS = LIBRARY.parents[1] / "shared" / "data" / "tumor_masks" / "brats20_seg_128.npz"
K = 15
HELD_OUT = BuildPlan(seed=987654, snapshots=1)
PEER_TUMORS = 200


def bench_simulation(count: int, checked: int) -> dict:
    """Milliseconds of a simulation to 250 ml, and the volumes' errors."""
    atlas, milliseconds, errors, number = load_growth_atlas(), [], [], 0
    while len(milliseconds) < count + 1:
        origin, spread, _ = draw(atlas, HELD_OUT, number)
        number += 1
        start = time.perf_counter()
        try:
            tumors = list(simulate_to_volumes(atlas, origin, spread, [250.0]))
        except InvalidGrowth:
            continue
        if not tumors:
            continue
        milliseconds.append((time.perf_counter() - start) * 1e3)
        if len(errors) < checked:
            errors.append(volume_error(atlas, origin, spread))
    milliseconds = milliseconds[1:]  # the first one waits for the compiler
    return {
        "simulations": count,
        "median_ms": float(np.median(milliseconds)),
        "p90_ms": float(np.percentile(milliseconds, 90)),
        "volume_error_percent_median": float(np.median(errors)),
        "volume_error_percent_max": float(np.max(errors)),
    }


def volume_error(atlas, origin, spread) -> float:
    """Percent, at the time at which fine steps reach 80 ml."""
    usual = growth_module._LONGEST_STEP, growth_module._EARLY_FRACTION
    try:
        growth_module._LONGEST_STEP, growth_module._EARLY_FRACTION = (value / 10 for value in usual)
        (fine,) = simulate_to_volumes(atlas, origin, spread, [80.0])
    finally:
        growth_module._LONGEST_STEP, growth_module._EARLY_FRACTION = usual
    (tumor,) = simulate_to_times(atlas, origin, spread, [fine.parameters.tau])
    return 100 * abs(tumor.whole.volume_ml() / fine.whole.volume_ml() - 1)


def bench_search(search: OverlapSearch, masks: list[ExpertMasks]) -> dict:
    """Milliseconds for the best 15, with masks in both memory orders."""
    result = {"tumors": len(search), "masks": len(masks), "megabytes": search_megabytes(search)}
    equal = True
    for order in "CF":
        queries = [tuple(np.array(mask, order=order) for mask in (m.whole, m.core)) for m in masks]
        search.search(*queries[0], K)
        best = []
        for query in queries:
            runs = []
            for _ in range(5):
                start = time.perf_counter()
                found = search.search(*query, K)
                runs.append((time.perf_counter() - start) * 1e3)
            best.append(min(runs))
            everything = search.search_everything(*query, K)
            equal &= np.array_equal(found.indices, everything.indices)
            equal &= np.array_equal(found.scores, everything.scores)
        result[f"order_{order}"] = {"median_ms": float(np.median(best)), "max_ms": float(np.max(best))}
    start = time.perf_counter()
    search.search_everything(*queries[0], K)
    result["everything_ms"] = (time.perf_counter() - start) * 1e3
    result["equal_to_brute_force"] = bool(equal)
    return result


def search_megabytes(search: OverlapSearch) -> float:
    """Memory of everything that a search reads."""
    arrays = [array for masks in (search.whole, search.core) for array in vars(masks).values()]
    return sum(array.nbytes for array in (*arrays, *search._blocks)) / 2**20


def bench_peers(search: OverlapSearch, masks: list[ExpertMasks]) -> dict:
    """Milliseconds that others need for one query among as many tumors, scaled up from a few."""
    import faiss
    import torch
    from monai.metrics import compute_dice

    count = min(PEER_TUMORS, len(search))
    stored = [np.stack([sparse.unpack(n, search.edge) for n in range(count)]) for sparse in (search.whole, search.core)]
    query = (masks[0].whole, masks[0].core)
    packed = [np.packbits(cube.reshape(count, -1), axis=1) for cube in stored]
    packed_query = [np.packbits(mask.ravel()) for mask in query]
    tensors = [torch.from_numpy(cube[:, None]) for cube in stored]
    query_tensors = [torch.from_numpy(mask[None, None]).expand(count, -1, -1, -1, -1) for mask in query]
    faiss.omp_set_num_threads(1)
    torch.set_num_threads(1)
    flat = [faiss.IndexBinaryFlat(bits.shape[1] * 8) for bits in packed]
    for index, bits in zip(flat, packed, strict=True):
        index.add(bits)

    def bits_in_numpy():
        return [np.bitwise_count(bits & asked).sum(axis=1) for bits, asked in zip(packed, packed_query, strict=True)]

    def numpy_bool():
        return [(cube & mask).sum(axis=(1, 2, 3)) for cube, mask in zip(stored, query, strict=True)]

    peers = {
        "thesis (unpack, compare)": lambda: baseline_scores(search, *query, range(count)),
        "NumPy, bool in memory": numpy_bool,
        "MONAI compute_dice": lambda: [compute_dice(a, b) for a, b in zip(query_tensors, tensors, strict=True)],
        "NumPy, packed bits": bits_in_numpy,
        "FAISS IndexBinaryFlat": lambda: [i.search(q[None], K) for i, q in zip(flat, packed_query, strict=True)],
    }
    times = {}
    for name, work in peers.items():
        work()
        start = time.perf_counter()
        work()
        times[name] = (time.perf_counter() - start) * 1e3 * len(search) / count
    return {"scaled_from_tumors": count, "ms": times}


def bench_fit(database, queries) -> dict:
    """The best match and the fit that starts from it, for masks on the database's grid."""
    atlas = database.growth_atlas
    seconds, found, fitted = [], [], []
    for whole, core in queries:
        match = database.search.search(whole, core, 3)
        start = time.perf_counter()
        starts = [database.parameters_of(int(index)) for index in match.indices]
        fit = refine(atlas, whole, core, starts, coarse_atlas=atlas.coarse)
        seconds.append(time.perf_counter() - start)
        found.append((match.whole_dice[0], match.core_dice[0]))
        fitted.append((fit.whole_dice, fit.core_dice))
    return {
        "masks": len(seconds),
        "median_s": float(np.median(seconds)),
        "max_s": float(np.max(seconds)),
        "retrieval": means(found),
        "refined": means(fitted),
    }


def means(pairs) -> dict:
    """Mean Dice of the two masks, and of their sum."""
    whole, core = np.mean(pairs, axis=0)
    return {"mean": float(whole + core), "whole": float(whole), "core": float(core)}


def retrieved(search: OverlapSearch, masks: list[ExpertMasks]) -> dict:
    """Mean Dice of the best match over all masks."""
    matches = [search.search(m.whole, m.core, 1) for m in masks]
    return means([(match.whole_dice[0], match.core_dice[0]) for match in matches])


def main(argv=None):
    """Runs everything, prints and writes the figures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--database", type=Path, help="a database of simulated tumors; the bundled one if absent")
    parser.add_argument("--masks", type=Path, default=MASKS, help="expert masks, .npz with seg and id")
    parser.add_argument("--limit", type=int, help="only so many masks")
    parser.add_argument("--simulations", type=int, default=60, help="simulations to time")
    parser.add_argument("--refine", type=int, default=0, help="expert masks to fit, each a few seconds")
    parser.add_argument("--json", type=Path)
    options = parser.parse_args(argv)

    database = read_database(options.database) if options.database else bundled_database()
    atlas = load_growth_atlas()
    database.require_atlas(atlas)
    result = {"cores": os.cpu_count(), "simulation": bench_simulation(options.simulations, checked=12)}
    held_out = simulate_shard(atlas, HELD_OUT, 0)
    own = [(held_out.whole.unpack(n, 128), held_out.core.unpack(n, 128)) for n in range(min(8, len(held_out)))]
    result["fit_simulated"] = bench_fit(database, own)
    if options.masks.is_file():
        masks = read_expert_masks(options.masks, database.grid, options.limit)
        result["search"] = bench_search(database.search, masks)
        result["peers"] = bench_peers(database.search, masks)
        result["combined_dice"] = retrieved(database.search, masks)
        if options.refine:
            chosen = masks[:: max(1, len(masks) // options.refine)][: options.refine]
            result["fit_expert"] = bench_fit(database, [(m.whole, m.core) for m in chosen])
    print(json.dumps(result, indent=2))
    if options.json:
        options.json.write_text(json.dumps(result, indent=2) + "\n", encoding="utf-8")


if __name__ == "__main__":
    main()

"""Pediatric low-grade gliomas whose genetic marker is tied to shape and place: a stand-in, not biology.

No cohort of such patients is public. So that a network which reads a marker from FLAIR can be trained and measured at
all, markers are drawn here by this rule, loosely after what is reported of these tumors:

- BRAF V600E (30 %): in a hemisphere, at least 18 mm off the midline and above the cerebellum; of several lobes, rough
  and oblong, and its signal runs out along white matter for 3 to 10 mm;
- BRAF fusion (40 %): in the cerebellum, or low in the brain within 10 mm of the midline; one lobe, smooth, round and
  sharply bounded, half of them with cysts;
- other (30 %): anywhere in the brain, of a shape between the two.

In `LABEL_NOISE` of the patients the recorded marker is one of the other two, drawn evenly: nobody can be right more
often than 90 %. How well a network does here says that it works, and nothing about patients.
"""

import numpy as np
import torch

from TumorRetrievalLib.synthesis.anatomy import Anatomy, HeadMaps, head_maps
from TumorRetrievalLib.synthesis.fields import streams
from TumorRetrievalLib.synthesis.lesions import CasePlan, Lesion, Places

SHARES = {"BRAF V600E": 0.3, "BRAF fusion": 0.4, "other": 0.3}
LABEL_NOISE = 0.1
RADIUS_MM = (7.0, 22.0)


def plan_marker_case(seed: int) -> tuple[CasePlan, str]:
    """A patient with one low-grade glioma, before it is drawn, and the marker that is on record.

    :param seed: the whole patient; the same seed gives the same plan and marker.
    """
    rng, generator = streams(seed, "head")
    anatomy = Anatomy(rng, generator)
    head = head_maps(anatomy)
    rng, _ = streams(seed, "marker")
    names = list(SHARES)
    marker = str(rng.choice(names, p=list(SHARES.values())))
    lesion = _LESIONS[marker](head, rng)
    if rng.random() < LABEL_NOISE:
        marker = str(rng.choice([name for name in names if name != marker]))
    return CasePlan(seed, "glioma", anatomy, head, (lesion,)), marker


def _v600e(head: HeadMaps, rng: np.random.Generator) -> Lesion:
    x, _, z = head.atlas_points
    center, radius = _place(head, (x.abs() > 18) & (z > -10), rng)
    lobes = [(center, radius)]
    for _ in range(rng.integers(2, 5)):
        lobes.append((center + rng.normal(size=3) * radius * 0.6, radius * rng.uniform(0.4, 0.8)))
    kind = str(rng.choice(["nonenhancing", "patchy"], p=[0.8, 0.2]))
    return Lesion(tuple(lobes), kind, rng.uniform(0.35, 0.6), 0.35, rng.uniform(3, 10), rng.uniform(0, 0.2), False)


def _fusion(head: HeadMaps, rng: np.random.Generator) -> Lesion:
    x, y, z = head.atlas_points
    cerebellum = (z < -18) & (y < -42)
    midline = (x.abs() < 10) & (z < 5)
    center, radius = _place(head, cerebellum if rng.random() < 0.7 else midline, rng)
    kind = "cystic" if rng.random() < 0.5 else "homogeneous"
    return Lesion(((center, radius),), kind, rng.uniform(0.03, 0.12), 0.1, 0.0, rng.uniform(0.3, 0.6), False)


def _other(head: HeadMaps, rng: np.random.Generator) -> Lesion:
    center, radius = _place(head, torch.ones_like(head.depth, dtype=torch.bool), rng)
    lobes = [(center, radius)]
    if rng.random() < 0.5:
        lobes.append((center + rng.normal(size=3) * radius * 0.6, radius * rng.uniform(0.4, 0.7)))
    kind = str(rng.choice(["nonenhancing", "homogeneous"]))
    return Lesion(tuple(lobes), kind, rng.uniform(0.15, 0.35), 0.25, rng.uniform(0, 4), rng.uniform(0, 0.5), False)


def _place(head: HeadMaps, allowed: torch.Tensor, rng: np.random.Generator) -> tuple[np.ndarray, float]:
    """A point in brain tissue (patient RAS mm) where `allowed`, and a radius in mm."""
    tissue = (head.tissue[0] + head.tissue[1] > 0.5) & (head.depth > 4)
    center = Places(head, rng).anywhere(allowed & tissue)
    return center, float(np.exp(rng.uniform(*np.log(RADIUS_MM))))


_LESIONS = {"BRAF V600E": _v600e, "BRAF fusion": _fusion, "other": _other}

"""Which trainings the tables of Pisov et al. 2018 compare: numbers of channels, solved tasks, and how large all is."""

from dataclasses import replace

from TumorRetrievalLib.errors import UnknownLabel
from TumorRetrievalLib.training.recipes import PISOV, Recipe

SEGMENTATION = "segmentation"
TASKS = (SEGMENTATION, *PISOV.task_weights)
CHANNELS = (32, 64, 96)
SPACING_MM = {"published": 1.0, "small": 3.0}

# The field of view of the published patches at a third of their resolution, and minutes instead of days, for a machine
# without a GPU. Within a thousand steps a class whose weight is 1e-3 would not change what the segmentation makes of
# the shared features, and the published SGD would hardly change anything: so the classes weigh more, and Adam's steps
# are as long for small gradients as for large ones.
SMALL = replace(
    PISOV,
    crop=40,
    task_weights=dict.fromkeys(PISOV.task_weights, 0.1),
    optimizer="adamw",
    learning_rate=2e-3,
    schedule="cosine",
    drops=(),
    warmup_steps=10,
    clip_norm=2.0,
    max_steps=None,
    max_minutes=20,
)


def pisov_recipe(size: str, channels: int, tasks: tuple[str, ...]) -> Recipe:
    """The recipe of one row of Table 2 or 3.

    :param size: "published" or "small".
    :param channels: of the feature map; any number trains, the paper's are `CHANNELS`.
    :param tasks: some of `TASKS`.
    :raises UnknownLabel: if a task is unknown or none is named, or there are no channels.
    """
    unknown = [task for task in tasks if task not in TASKS]
    if unknown or not tasks:
        raise UnknownLabel(f"Name at least one task of {', '.join(TASKS)}; not known: {', '.join(unknown) or 'none'}.")
    if channels < 1:
        raise UnknownLabel(f"A network needs channels, not {channels}. The paper has {', '.join(map(str, CHANNELS))}.")
    recipe = SMALL if size == "small" else PISOV
    weights = {task: weight for task, weight in recipe.task_weights.items() if task in tasks}
    # Without a weight of its own the segmentation has the paper's.
    return replace(recipe, task_weights=weights if SEGMENTATION in tasks else {SEGMENTATION: 0.0, **weights})

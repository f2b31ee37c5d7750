"""The trainer: one loop for all networks and recipes."""

import copy
import json
import math
import time
from collections.abc import Callable, Iterable, Mapping
from contextlib import nullcontext
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import nn

from TumorRetrievalLib.errors import Cancelled, NotEnoughMemory, TrainingFailed
from TumorRetrievalLib.imaging.atomic import make_folder
from TumorRetrievalLib.networks.batch import Batch, Output
from TumorRetrievalLib.networks.device import half_precision, is_out_of_memory, mixed_precision
from TumorRetrievalLib.networks.losses import LOSSES, Parts
from TumorRetrievalLib.training.checkpoint import FILE_NAME as CHECKPOINT_NAME
from TumorRetrievalLib.training.checkpoint import load_into, read_checkpoint, require_same_recipe, write_checkpoint
from TumorRetrievalLib.training.log import TrainingLog, draw_curves
from TumorRetrievalLib.training.recipes import Recipe
from TumorRetrievalLib.training.team import this_team

LOG_EVERY_STEPS = 25
MOST_BAD_STEPS_IN_A_ROW = 20

Batches = Iterable[Batch] | Callable[[int], Iterable[Batch]]
Loss = Callable[[Output, Batch, Mapping[str, float]], tuple[torch.Tensor, Parts]]
Progress = Callable[[float, str], None]


@dataclass(frozen=True)
class TrainingRun:
    """What a training led to.

    :param network: the averaged weights, in eval mode, on the CPU.
    :param steps: weight updates, including those before a resume.
    :param seconds: spent in training, including before a resume, without the time in between.
    :param crops: seen in training.
    :param log: the rows of `log.jsonl`.
    :param recipe: what it was trained by; of a smaller batch or crop than asked for where memory was short.
    :param device: where it was trained: the name of the GPU, or "CPU", and how many of them.
    """

    network: nn.Module
    steps: int
    seconds: float
    crops: int
    log: list[dict]
    recipe: Recipe
    device: str = "CPU"

    def provenance(self) -> dict:
        """What belongs into a model's contract about how it was trained, as plain JSON values."""
        last = self.log[-1] if self.log else {}
        return {
            "recipe": self.recipe.to_json(),
            "steps": self.steps,
            "crops": self.crops,
            "minutes": round(self.seconds / 60, 1),
            "device": self.device,
            "crops_per_second": round(self.crops / self.seconds, 2) if self.seconds else None,
            "final": last,
        }


def train(
    network: nn.Module,
    batches: Batches,
    recipe: Recipe,
    folder: Path | str,
    *,
    resume: bool = True,
    progress: Progress | None = None,
    device: torch.device | None = None,
    loss: Loss | None = None,
) -> TrainingRun:
    """Trains a network until the recipe's budget is used up.

    The folder receives `checkpoint.pt`, `log.jsonl`, `curves.png` and, where that package is installed, `tensorboard/`.
    A training that was interrupted, even by a power cut, goes on at its last checkpoint when it is started again with
    the same folder.

    :param network: changed in place; its weights at the start are what the caller made them.
    :param batches: endless; or a function that, given the number of steps already taken, returns the batches from
        there on. Only the latter lets a resumed training see exactly the batches that an uninterrupted one had seen.
    :param folder: made if it is not there.
    :param resume: go on at the checkpoint in `folder` if there is one; else start again and replace it.
    :param progress: called with (share of the budget, message); it may raise Cancelled, which ends the training after
        a checkpoint was written.
    :param device: CUDA if there is one, else the CPU.
    :param loss: what is minimised, instead of the loss that the recipe names: where it needs to know the data.
    :raises WeightsError: if the checkpoint is damaged or of another network or recipe.
    :raises TrainingFailed: if the loss or its gradient stays infinite or NaN, or the batches end too early. In the
        first case the checkpoint holds the last good weights.
    :raises NotEnoughMemory: if a step does not fit into memory.
    :raises CannotWrite: if the folder cannot be written to.
    """
    folder = Path(folder)
    make_folder(folder)
    trainer = _Trainer(network, recipe, device or this_team().device(), loss or LOSSES[recipe.loss])
    state = read_checkpoint(folder) if resume else None
    if state is not None:
        require_same_recipe(state, recipe, folder)
        trainer.restore(state, folder)
    log = TrainingLog(folder, trainer.step)
    source = iter(batches(trainer.step) if callable(batches) else batches)
    try:
        _loop(trainer, source, log, folder, progress)
        _save(trainer, log, folder)
    except (Cancelled, KeyboardInterrupt):
        _save(trainer, log, folder)
        raise
    except (RuntimeError, MemoryError) as error:
        if not is_out_of_memory(error):
            raise
        raise NotEnoughMemory(
            f"The memory of {_name_of(trainer.device)} is too small for batches of {recipe.batch_size} crops of "
            f"{' x '.join(map(str, recipe.edges))} voxels. Train on a larger GPU, or with a smaller recipe."
        ) from None
    finally:
        log.close()
    trainer.called = trainer.network
    this_team().dissolve()
    result = trainer.averaged.cpu().eval()
    where = _name_of(trainer.device) + (f" x {this_team().size}" if this_team().size > 1 else "")
    return TrainingRun(result, trainer.step, trainer.seconds, trainer.crops, log.rows, recipe, where)


def train_within_memory(
    network: nn.Module,
    batches: Callable[[Recipe], Batches],
    recipe: Recipe,
    folder: Path | str,
    *,
    progress: Progress | None = None,
    loss: Loss | None = None,
) -> TrainingRun:
    """:func:`train`, with a smaller batch, and then with smaller crops, where memory is too short for the recipe's.

    The rule is `Recipe.smaller`, and each time it is used `progress` says so. A team does not shrink: its processes
    would have to agree on it.

    :param batches: makes batches of a recipe's size.
    :raises NotEnoughMemory: if the smallest does not fit either.
    """
    told = progress or (lambda fraction, message: None)
    start = copy.deepcopy(network.state_dict())
    while True:
        try:
            return train(network, batches(recipe), recipe, folder, progress=progress, loss=loss)
        except NotEnoughMemory as error:
            smaller = recipe.smaller()
            if smaller is None or this_team().size > 1:
                raise
            told(0.0, f"{error} Going on with {smaller.batch_size} x {' x '.join(map(str, smaller.edges))}.")
        recipe = smaller
        network.cpu().load_state_dict(start)
        torch.cuda.empty_cache()


def _loop(trainer: "_Trainer", source, log: TrainingLog, folder: Path, progress: Progress | None) -> None:
    saved_at = clock = time.monotonic()
    while trainer.share < 1:
        batch = next(source, None)
        if batch is None:
            raise TrainingFailed(f"The batches ended after {trainer.step} steps, before the training did.")
        waited = time.monotonic() - clock
        try:
            measured = trainer.take_step(batch)
        except TrainingFailed as failure:
            raise TrainingFailed(f"{failure} {_keep_good_weights(trainer, log, folder)}") from None
        now = time.monotonic()
        trainer.seconds = this_team().agreed(trainer.seconds + now - clock, trainer.device)
        log.add({**measured, "seconds_waiting": waited, "seconds_per_step": now - clock})
        clock = now
        if trainer.step % LOG_EVERY_STEPS == 0:
            row = log.flush(trainer.step, trainer.facts())
            if progress is not None and this_team().leads:
                progress(trainer.share, f"step {trainer.step}, loss {row['loss']:.3f}")
        if now - saved_at > 60 * trainer.recipe.checkpoint_minutes:
            _save(trainer, log, folder)
            saved_at = time.monotonic()


def _save(trainer: "_Trainer", log: TrainingLog, folder: Path) -> None:
    log.flush(trainer.step, trainer.facts())
    if this_team().leads:
        write_checkpoint(folder, trainer.state())
        draw_curves(folder, log.rows)


def _keep_good_weights(trainer: "_Trainer", log: TrainingLog, folder: Path) -> str:
    """Saves the weights of a training that is lost if they are still finite, and says where the last good ones are."""
    if all(bool(weight.isfinite().all()) for weight in trainer.network.state_dict().values()):
        _save(trainer, log, folder)
    path = folder / CHECKPOINT_NAME
    return f"The last good weights are in {path}." if path.exists() else "No weights were saved before."


def _nothing_of(output: Output) -> torch.Tensor:
    """Zero, with a zero gradient for every layer: a team waits for the gradient of each that has said something.

    One's own cases may know no type at all, and a batch may hold no tumor.
    """
    said = (output.masks, output.embedding, *output.labels.values())
    return 0.0 * sum(part.float().sum() for part in said)


def _name_of(device: torch.device) -> str:
    return torch.cuda.get_device_name(device) if device.type == "cuda" else "CPU"


class _Trainer:
    """A network, its running average and its optimizer, and how far they are."""

    def __init__(self, network: nn.Module, recipe: Recipe, device: torch.device, loss: Loss):
        torch.manual_seed(recipe.seed)
        self.recipe, self.device, self.loss = recipe, device, loss
        self.network = network.to(device, memory_format=torch.channels_last_3d).train()
        self.averaged = copy.deepcopy(network).requires_grad_(False)
        self.optimizer = _optimizer(network, recipe)
        self.called = this_team().shared(self.network, device)
        # Gradients in float16 vanish unless they are scaled up; in bfloat16 and float32 this does nothing.
        short = recipe.mixed_precision and half_precision(device) == torch.float16
        self.scaler = torch.amp.GradScaler(device.type, enabled=short)
        self.step = self.crops = self.bad_steps_in_a_row = 0
        self.seconds = 0.0

    @property
    def share(self) -> float:
        """The used-up part of the budget, 0 to 1."""
        return self.recipe.share(self.step, self.seconds)

    def facts(self) -> dict[str, float]:
        """What the log tells besides averages."""
        rate = self.recipe.rate(self.step, self.share)
        return {"seconds": self.seconds, "share": self.share, "learning_rate": rate}

    def take_step(self, batch: Batch) -> dict[str, float]:
        """One update of the weights; returns the loss, its parts and the length of the gradient."""
        batch = batch.to(self.device)
        with mixed_precision(self.device) if self.recipe.mixed_precision else nullcontext():
            output = self.called(batch.image, batch.boxes)
        loss, parts = self.loss(output, batch, self.recipe.task_weights)
        if this_team().size > 1:
            loss = loss + _nothing_of(output)
        self.optimizer.zero_grad(set_to_none=True)
        self.scaler.scale(loss).backward()
        self.scaler.unscale_(self.optimizer)
        limit = self.recipe.clip_norm if self.recipe.clip_norm is not None else math.inf
        length = float(nn.utils.clip_grad_norm_(self.network.parameters(), limit))
        good = math.isfinite(length)
        if good:
            rate = self.recipe.rate(self.step, self.share)
            for group in self.optimizer.param_groups:
                group["lr"] = rate
            self.scaler.step(self.optimizer)
        self.scaler.update()
        if not good:
            self._forget_statistics()
        self._watch(length)
        self.step += 1
        self.crops += len(batch) * this_team().size
        if good:
            self._average()
        measured = {"loss": loss.detach(), **parts}
        return {"gradient": length, **{name: float(value) for name, value in measured.items()}}

    def _watch(self, gradient: float) -> None:
        """A single infinite gradient costs one step; a row of them means that the training is lost."""
        self.bad_steps_in_a_row = 0 if math.isfinite(gradient) else self.bad_steps_in_a_row + 1
        if self.bad_steps_in_a_row > MOST_BAD_STEPS_IN_A_ROW:
            first = self.step - self.bad_steps_in_a_row + 1
            raise TrainingFailed(
                f"The loss was not a finite number in {self.bad_steps_in_a_row} steps in a row, from step {first} on. "
                f"Lower the learning rate or check the training data."
            )

    @torch.no_grad()
    def _forget_statistics(self) -> None:
        """What a bad batch has done to the running means of batch norm is undone."""
        for average, current in zip(self.averaged.buffers(), self.network.buffers(), strict=True):
            current.copy_(average)

    @torch.no_grad()
    def _average(self) -> None:
        # The average is young at first: a decay that starts low forgets the random initial weights.
        decay = min(self.recipe.ema_decay, (1 + self.step) / (10 + self.step))
        torch._foreach_lerp_(list(self.averaged.parameters()), list(self.network.parameters()), 1 - decay)
        for average, current in zip(self.averaged.buffers(), self.network.buffers(), strict=True):
            average.copy_(current)

    def state(self) -> dict:
        """Everything that a continuation needs."""
        return {
            "recipe": json.dumps(self.recipe.to_json()),
            "network": self.network.state_dict(),
            "averaged": self.averaged.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "crops": self.crops,
            "seconds": self.seconds,
            "random": torch.get_rng_state(),
            "scaler": self.scaler.state_dict(),
        }

    def restore(self, state: dict, folder: Path) -> None:
        """Goes back to where `state`, read from `folder`, was taken."""
        load_into(self.network, state["network"], folder)
        load_into(self.averaged, state["averaged"], folder)
        self.optimizer.load_state_dict(state["optimizer"])
        self.step, self.crops, self.seconds = state["step"], state["crops"], state["seconds"]
        torch.set_rng_state(state["random"])
        # A scaler that is off has nothing to keep, and a checkpoint may come from a device that needs none.
        if state.get("scaler") and self.scaler.is_enabled():
            self.scaler.load_state_dict(state["scaler"])


def _optimizer(network: nn.Module, recipe: Recipe) -> torch.optim.Optimizer:
    weights = [weight for weight in network.parameters() if weight.requires_grad]
    if recipe.optimizer == "sgd":
        return torch.optim.SGD(
            weights, recipe.learning_rate, momentum=0.9, nesterov=True, weight_decay=recipe.weight_decay
        )
    return torch.optim.AdamW(weights, recipe.learning_rate, weight_decay=recipe.weight_decay, fused=True)

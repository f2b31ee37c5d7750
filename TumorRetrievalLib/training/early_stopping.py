"""Training by epochs that stops when a validation loss no longer falls, as Keras' callbacks do it."""

import json
import math
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path

import torch
from torch import nn

from TumorRetrievalLib.errors import TrainingFailed, WeightsError
from TumorRetrievalLib.imaging.atomic import make_folder
from TumorRetrievalLib.networks.batch import Batch
from TumorRetrievalLib.networks.device import choose_device, mixed_precision
from TumorRetrievalLib.networks.losses import LOSSES
from TumorRetrievalLib.training.checkpoint import load_into, read_checkpoint, write_checkpoint
from TumorRetrievalLib.training.log import TrainingLog, draw_curves

_DRAW_EVERY_S = 30

Progress = Callable[[float, str], None]


@dataclass(frozen=True, kw_only=True)
class EpochRecipe:
    """RMSProp, early stopping, and a learning rate that is halved on a plateau.

    :param loss: a name in `networks.losses.LOSSES`.
    :param patience: epochs without a lower validation loss after which training ends.
    :param plateau: epochs without a lower validation loss after which the learning rate is halved.
    """

    name: str
    loss: str
    batch_size: int = 32
    max_epochs: int = 50
    patience: int = 10
    plateau: int = 3
    learning_rate: float = 1e-3
    seed: int = 0


@dataclass(frozen=True)
class EpochRun:
    """What such a training led to.

    :param network: the weights of the epoch with the lowest validation loss, in eval mode, on the CPU.
    :param log: one row per epoch.
    """

    network: nn.Module
    epochs: int
    best_epoch: int
    seconds: float
    log: list[dict]
    recipe: EpochRecipe
    device: str

    def provenance(self) -> dict:
        """What belongs into a model's contract about how it was trained, as plain JSON values."""
        return {
            "recipe": asdict(self.recipe),
            "epochs": self.epochs,
            "best_epoch": self.best_epoch,
            "minutes": round(self.seconds / 60, 1),
            "device": self.device,
            "final": self.log[-1] if self.log else {},
        }


def train_until_no_better(
    network: nn.Module,
    batches: Callable[[int], list[Batch]],
    validation: list[Batch],
    recipe: EpochRecipe,
    folder: Path | str,
    *,
    progress: Progress | None = None,
) -> EpochRun:
    """Trains a network until the validation loss has not fallen for `recipe.patience` epochs.

    `folder` receives `checkpoint.pt` after every epoch, `log.jsonl` and `curves.png`. An interrupted training goes on
    after its last whole epoch when it is started again with the same folder, and ends with the same weights as one
    that was not interrupted.

    :param network: changed in place.
    :param batches: number of the epoch -> its batches.
    :param progress: called with (share of the epochs, message); what it raises ends the training, which can go on.
    :raises TrainingFailed: if the loss is no number; the checkpoint then holds the epochs before.
    :raises WeightsError: if the checkpoint is damaged or of another network or recipe.
    """
    folder = Path(folder)
    make_folder(folder)
    training = _EpochTraining(network, recipe)
    state = read_checkpoint(folder)
    if state is not None:
        training.restore(state, folder)
    log = TrainingLog(folder, training.epoch)
    drawn_at = time.monotonic()
    while not training.over:
        log.add(training.run_epoch(batches(training.epoch), validation))
        row = log.flush(training.epoch, {"learning_rate": training.rate, "seconds": training.seconds})
        write_checkpoint(folder, training.state())
        if time.monotonic() - drawn_at > _DRAW_EVERY_S:
            draw_curves(folder, log.rows)
            drawn_at = time.monotonic()
        if progress is not None:
            progress(training.epoch / recipe.max_epochs, f"epoch {training.epoch}, loss {row['validation_loss']:.3f}")
    draw_curves(folder, log.rows)
    network.load_state_dict(training.best)
    return EpochRun(
        network.cpu().eval(), training.epoch, training.best_epoch, training.seconds, log.rows, recipe,
        str(training.device),
    )  # fmt: skip


class _EpochTraining:
    """A network, its optimizer, the best weights so far, and how far they are."""

    def __init__(self, network: nn.Module, recipe: EpochRecipe):
        torch.manual_seed(recipe.seed)
        self.recipe, self.device, self.loss = recipe, choose_device(), LOSSES[recipe.loss]
        self.network = network.to(self.device, memory_format=torch.channels_last)
        # Keras' defaults for RMSProp.
        self.optimizer = torch.optim.RMSprop(network.parameters(), recipe.learning_rate, alpha=0.9, eps=1e-7)
        self.best = self._weights()
        self.best_loss, self.best_epoch, self.epoch, self.waiting = math.inf, 0, 0, 0
        self.seconds = 0.0

    @property
    def rate(self) -> float:
        """The learning rate now."""
        return self.optimizer.param_groups[0]["lr"]

    @property
    def over(self) -> bool:
        """Whether another epoch would be one too many."""
        return self.epoch >= self.recipe.max_epochs or self.epoch - self.best_epoch >= self.recipe.patience

    def run_epoch(self, batches: list[Batch], validation: list[Batch]) -> dict[str, float]:
        """One pass over the training data and one over the validation data; returns the mean losses."""
        began = time.monotonic()
        self.network.train()
        trained = self._pass(batches, learn=True)
        self.network.eval()
        with torch.no_grad():
            validated = self._pass(validation, learn=False)
        self.epoch += 1
        self.seconds += time.monotonic() - began
        self._judge(validated["loss"])
        return trained | {f"validation_{name}": value for name, value in validated.items()}

    def _pass(self, batches: list[Batch], learn: bool) -> dict[str, float]:
        sums: dict[str, float] = {}
        count = 0
        for batch in batches:
            batch = batch.to(self.device)
            with mixed_precision(self.device):
                output = self.network(batch.image, batch.boxes)
            loss, parts = self.loss(output, batch, {})
            if not math.isfinite(loss.detach()):
                raise TrainingFailed(
                    f"The loss is not a finite number in epoch {self.epoch + 1}. Lower the learning rate or check the "
                    f"training data; the epochs before are in the run's folder."
                )
            if learn:
                self.optimizer.zero_grad(set_to_none=True)
                loss.backward()
                self.optimizer.step()
            for name, value in {"loss": loss.detach(), **parts}.items():
                sums[name] = sums.get(name, 0.0) + float(value) * len(batch)
            count += len(batch)
        return {name: value / count for name, value in sums.items()}

    def _judge(self, loss: float) -> None:
        """Keeps the best weights, and halves the rate after `plateau` epochs that were not better."""
        if loss < self.best_loss:
            self.best, self.best_loss, self.best_epoch, self.waiting = self._weights(), loss, self.epoch, 0
            return
        self.waiting += 1
        if self.waiting >= self.recipe.plateau:
            self.waiting = 0
            for group in self.optimizer.param_groups:
                group["lr"] *= 0.5

    def _weights(self) -> dict[str, torch.Tensor]:
        return {name: tensor.detach().cpu().clone() for name, tensor in self.network.state_dict().items()}

    def state(self) -> dict:
        """Everything that a continuation needs."""
        return {
            "recipe": json.dumps(asdict(self.recipe)),
            "network": self.network.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "random": torch.get_rng_state(),
            **{name: getattr(self, name) for name in _PLAIN},
        }

    def restore(self, state: dict, folder: Path) -> None:
        """Goes back to where `state`, read from `folder`, was taken."""
        stored = json.loads(state["recipe"])
        asked = asdict(self.recipe)
        changed = [key for key in asked if key != "max_epochs" and stored.get(key) != asked[key]]
        if changed:
            raise WeightsError(
                f"The training in {folder} was started with another recipe (different: {', '.join(changed)}). "
                f"Use another folder."
            )
        load_into(self.network, state["network"], folder)
        self.optimizer.load_state_dict(state["optimizer"])
        torch.set_rng_state(state["random"])
        for name in _PLAIN:
            setattr(self, name, state[name])


_PLAIN = ("best", "best_loss", "best_epoch", "epoch", "waiting", "seconds")

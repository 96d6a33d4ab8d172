"""Training of one patch: first noise around soft rounding, then rounding; at last the networks' quantization steps."""

import copy
import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any, Literal

import torch
from torch import Tensor, nn
from torch.nn import functional

from rdbench.errors import RdbenchError

from ..pieces.decoder import PieceRun
from ..recipes.plateau import Plateau, PlateauRule
from .context import best_box, start_boxes
from .latents import Quantizer, noisy, straight_through
from .model import PatchDesign, PatchModel
from .quantization import STEPS, StepPair, estimated_bits, every_pair, set_rounded

TEMPERATURES = (0.3, 0.1)
"""Soft rounding's temperature at the beginning and the end of the first phase, linear between."""
NOISE_SHAPES = (1.75, 1.0)
"""Kumaraswamy's `a` at the beginning and the end of the first phase, linear between."""
LAST_TEMPERATURE = 1e-4
"""Soft rounding's temperature in the gradient of the second phase."""
PLATEAU = PlateauRule(start=1e-4, patience=20, factor=0.8, stop=1e-8)
"""The learning rate of the second phase."""

FIRST_BIASES = STEPS.index(1e-3)
"""The step of biases while steps of weights are tried alone (our choice)."""


@dataclass(frozen=True)
class Plan:
    """The lengths and rates of a patch's training."""

    noise_steps: int
    rounding_steps: int
    """Most steps of the second phase."""
    lr: float
    clip_norm: float
    """Largest norm of a gradient."""
    mask_steps: int
    """Steps after which the place of variant c's window is chosen, and training begins anew."""
    mask_window: int
    """Side of the window in which the place is learned."""
    search: Literal["pairs", "axes"]
    """Whether all pairs of steps are tried, or steps of weights, then of biases."""


@dataclass(frozen=True)
class Task:
    """A patch to train: its samples `[T, 3, h, w]` in 0..1, the weight of its rate, and the plan."""

    target: Tensor
    weight: float
    """Lambda, which multiplies the bits per pixel beside the mean squared error of samples in 0..1."""
    plan: Plan
    from_mean: bool
    """Whether the last bias starts at the mean color."""

    @property
    def pixels(self) -> int:
        """Pixels of all frames."""
        return self.target.numel() // 3

    def new_model(self, design: PatchDesign) -> PatchModel:
        """A model before training, on the target's device."""
        model = PatchModel(design)
        if self.from_mean:
            model.synthesis.start_at(self.target.mean((0, 2, 3)).cpu())
        return model.to(self.target.device)


@dataclass(frozen=True)
class TrainedPatch:
    """A trained patch, its networks rounded."""

    model: PatchModel
    steps: StepPair
    cost: float
    """Squared error + lambda * bits of latents and networks, per pixel."""


class PatchTraining:
    """The training of one candidate for a patch; it resumes from the state that the engine keeps."""

    def __init__(self, task: Task, design: PatchDesign, run: PieceRun) -> None:
        self._task, self._run = task, run
        self._plan = task.plan
        self._target = task.target.contiguous(memory_format=torch.channels_last)  # as the frames of the model are
        self._total = task.plan.noise_steps + task.plan.rounding_steps + self._mask_steps(design)
        self._done = 0
        saved = run.saved
        if saved is not None:
            design = replace(design, boxes=_boxes(saved["boxes"]), window=int(saved["window"]))
        self._design = design
        self._saved: Mapping[str, Any] | None = saved

    def _mask_steps(self, design: PatchDesign) -> int:
        return self._plan.mask_steps if design.variant.learned_grids else 0

    def train(self) -> TrainedPatch:
        """All phases. Raises RdbenchError where the loss diverges."""
        phase = "mask" if self._mask_steps(self._design) else "noise"
        if self._saved is not None:
            phase = str(self._saved["phase"])
        if phase == "mask":
            self._design = self._learn_boxes()
            phase = "noise"
        model = self._new_model(self._design)
        optimizer = torch.optim.Adam(model.parameters(), self._plan.lr)
        if phase == "noise":
            self._noise_phase(model, optimizer, "noise", self._plan.noise_steps)
        self._rounding_phase(model, optimizer)
        return search_steps(model, self._task)

    def _new_model(self, design: PatchDesign) -> PatchModel:
        """A model before training; one whose state is about to be restored takes nothing from torch's generator."""
        if self._saved is None:
            return self._task.new_model(design)
        with torch.random.fork_rng(devices=[]):
            return self._task.new_model(design)

    def _learn_boxes(self) -> PatchDesign:
        """Variant c's windows, at the places where a wide window's weights are largest after a short training."""
        variant, window = self._design.variant, self._plan.mask_window
        wide = replace(self._design, boxes=tuple(start_boxes(variant, window)), window=window)
        model = self._new_model(wide)
        self._design = wide
        self._noise_phase(model, torch.optim.Adam(model.parameters(), self._plan.lr), "mask", self._plan.mask_steps)
        grids = range(variant.networks)
        boxes = [best_box(model.context(i), variant.window) if wide.boxes[i] is not None else None for i in grids]
        return replace(wide, boxes=tuple(boxes), window=variant.window)

    def _noise_phase(self, model: PatchModel, optimizer: torch.optim.Adam, phase: str, steps: int) -> None:
        """Soft rounding with noise; while windows are learned too, schedules have the length of the whole phase."""
        first = self._restore(model, optimizer)
        length = self._plan.noise_steps
        for step in range(first, steps):
            share = min(1.0, step / length)
            quantizer = noisy(_between(TEMPERATURES, share), _between(NOISE_SHAPES, share))
            optimizer.param_groups[0]["lr"] = self._plan.lr * 0.5 * (1 + math.cos(math.pi * share))
            _, error = self._step(model, optimizer, quantizer)
            self._after(phase, step, model, optimizer, error, {})

    def _rounding_phase(self, model: PatchModel, optimizer: torch.optim.Adam) -> None:
        """Rounding with soft rounding's gradient; ends with the parameters of the lowest loss."""
        plateau = self._plateau(model)
        first = self._restore(model, optimizer)
        for step in range(first, self._plan.rounding_steps):
            if plateau.ended:
                break
            optimizer.param_groups[0]["lr"] = plateau.lr
            before = copy.deepcopy(model.state_dict())
            loss, error = self._step(model, optimizer, straight_through(LAST_TEMPERATURE))
            plateau.observe(loss, before)
            more = {"plateau": [plateau.lr, plateau.loss, plateau.waited], "best": plateau.best}
            self._after("rounding", step, model, optimizer, error, more)
        model.load_state_dict(plateau.best)

    def _plateau(self, model: PatchModel) -> Plateau[dict[str, Any]]:
        """The reactive schedule, where it was or at its beginning."""
        if self._saved is not None and self._saved["phase"] == "rounding":
            plateau = Plateau(PLATEAU, math.inf, dict(self._saved["best"]))
            plateau.lr, plateau.loss, plateau.waited = self._saved["plateau"]
            return plateau
        return Plateau(PLATEAU, math.inf, copy.deepcopy(model.state_dict()))

    def _step(self, model: PatchModel, optimizer: torch.optim.Adam, quantizer: Quantizer) -> tuple[float, float]:
        """One step on the whole patch; the loss and the squared error before it."""
        frames, bits = model(quantizer)
        error = functional.mse_loss(frames, self._target)
        loss = error + self._task.weight / self._task.pixels * bits
        optimizer.zero_grad(set_to_none=True)
        loss.backward()
        nn.utils.clip_grad_norm_(model.parameters(), self._plan.clip_norm)
        optimizer.step()
        return float(loss.detach()), float(error.detach())

    def _after(
        self, phase: str, step: int, model: PatchModel, optimizer: torch.optim.Adam, error: float, more: dict[str, Any]
    ) -> None:
        """Reports a step, and saves the state where it is due. Raises RdbenchError where the training diverged."""
        if not math.isfinite(error):
            raise RdbenchError(f"C3's training diverged in step {step + 1}; try another --seed or a lower lr.")
        self._done += 1
        self._run.report(self._done / self._total, -10 * math.log10(max(error, 1e-10)))
        if self._run.due:
            boxes = [list(box) if box is not None else [] for box in self._design.boxes]
            self._run.save({
                "phase": phase, "step": step + 1, "done": self._done, "boxes": boxes, "window": self._design.window,
                "model": model.state_dict(), "optimizer": optimizer.state_dict(), **more,
            })  # fmt: skip

    def _restore(self, model: PatchModel, optimizer: torch.optim.Adam) -> int:
        """Continues from the saved state, if there is one that is not used yet; the number of its steps."""
        saved, self._saved = self._saved, None
        if saved is None:
            return 0
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        self._done = int(saved["done"])
        return int(saved["step"])


def _boxes(saved: list[list[int]]) -> tuple[tuple[int, int] | None, ...]:
    return tuple((box[0], box[1]) if box else None for box in saved)


def _between(ends: tuple[float, float], share: float) -> float:
    return ends[0] + (ends[1] - ends[0]) * share


@torch.no_grad()
def evaluate(model: PatchModel, task: Task) -> tuple[float, float]:
    """The squared error of frames that are rounded to 8 bit, and the bits of the latents."""
    frames, bits = model(torch.round)
    return float(((frames * 255).round() / 255 - task.target).square().mean()), float(bits)


@torch.no_grad()
def _transmitted(model: PatchModel) -> list[nn.Module]:
    """The entropy networks of grids that are not all zero; the others are not transmitted."""
    used = [model.context(i) for i, grid in enumerate(model.integers(torch.round)) if grid.any()]
    return list({id(network): network for network in used}.values())


def search_steps(model: PatchModel, task: Task) -> TrainedPatch:
    """The steps of least cost, and the model with its networks rounded by them."""
    exact = copy.deepcopy(model.state_dict())
    contexts = _transmitted(model)
    networks: list[nn.Module] = [model.synthesis, *contexts]
    costs: dict[StepPair, float] = {}

    def cost(pair: StepPair) -> float:
        if pair not in costs:
            model.load_state_dict(exact)
            bits = estimated_bits([model.synthesis], pair) + estimated_bits(contexts, pair)
            set_rounded(networks, pair)
            error, latents = evaluate(model, task)
            costs[pair] = error + task.weight * (bits + latents) / task.pixels
        return costs[pair]

    if task.plan.search == "pairs":
        best = min(every_pair(), key=cost)
    else:
        best = min((StepPair(at, FIRST_BIASES) for at in range(len(STEPS))), key=cost)
        best = min((StepPair(best.weights, at) for at in range(len(STEPS))), key=cost)
    if not math.isfinite(cost(best)):
        raise RdbenchError("C3's training gave weights beyond all bounds; try another --seed or a lower lr.")
    model.load_state_dict(exact)
    set_rounded(networks, best)
    return TrainedPatch(model, best, costs[best])

"""Patches as pieces of a clip: what is in the bytes of one, and how it is trained, written, read and rendered."""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import product

import torch
from torch import Tensor, nn

from rdbench.errors import BitstreamError

from ..bitstream import pack_integers, unpack_integers
from ..clip_header import ClipHeader
from ..entropy.ans import DAMAGED_SYMBOLS
from ..entropy.integers import unzigzag, zigzag
from ..pieces.decoder import PieceDecoder, PieceEncoder, PieceRun, Trained
from ..pieces.layout import Piece, boxes
from ..pieces.stream import Parts
from .coding import decode_latents, encode_latents
from .context import START_WINDOW, VARIANTS, Box, ContextNetwork, Variant, start_boxes
from .latents import Q_STEP, Shape, grid_shapes
from .model import PatchDesign, PatchModel
from .quantization import STEPS, StepPair, read_networks, set_rounded, write_networks
from .training import PatchTraining, Plan, Task

KINDS = ("patch", "synthesis", "entropy", "latents")
"""The parts of a patch: choices, two kinds of networks, latents."""
LETTERS = tuple(VARIANTS)
SMALLEST: Shape = (1, 1, 1)
"""The volume of models that are made for their networks alone."""
MOST_PIXELS = 1 << 26
"""Pixels of all frames of the largest patch; those of our encoder stay far below."""
MOST_CANDIDATES = 16
FARTHEST = START_WINDOW
"""Bound of a window's place in rows and columns."""


@dataclass(frozen=True)
class Candidate:
    """One of the models that are trained for a patch."""

    variant: str
    per_frame: bool
    from_mean: bool

    def design(self, volume: Shape) -> PatchDesign:
        """The model of a volume, before the places of its windows are learned."""
        variant = VARIANTS[self.variant]
        return PatchDesign(volume, variant, self.per_frame, tuple(start_boxes(variant, variant.window)), variant.window)

    @property
    def number(self) -> int:
        """The candidate as a number."""
        return LETTERS.index(self.variant) * 4 + self.per_frame * 2 + self.from_mean

    @classmethod
    def numbered(cls, number: int) -> "Candidate":
        """The candidate of a number. Raises BitstreamError."""
        if number >= 4 * len(LETTERS):
            raise BitstreamError(DAMAGED_SYMBOLS)
        return cls(LETTERS[number // 4], bool(number & 2), bool(number & 1))


@dataclass(frozen=True)
class PatchHeader:
    """The choices of a patch."""

    candidate: Candidate
    steps: StepPair
    coded: tuple[bool, ...]
    """Whether each grid has a value other than zero; the others take no bits, nor do networks of theirs alone."""
    boxes: tuple[Box | None, ...]
    """The places of the windows in the frame before."""

    def pack(self) -> bytes:
        """The header as integers: candidate, steps, coded grids; places of learned windows."""
        coded = sum(1 << grid for grid, used in enumerate(self.coded) if used)
        learned = self.boxes[: VARIANTS[self.candidate.variant].learned_grids]
        places = [zigzag(side) for box in learned if box is not None for side in box]
        return pack_integers(
            [self.candidate.number, self.steps.weights * len(STEPS) + self.steps.biases, coded, *places]
        )

    @classmethod
    def unpack(cls, data: bytes) -> "PatchHeader":
        """The header. Raises BitstreamError."""
        numbers = unpack_integers(data)
        if len(numbers) < 3 or numbers[1] >= len(STEPS) ** 2:
            raise BitstreamError(DAMAGED_SYMBOLS)
        candidate = Candidate.numbered(numbers[0])
        variant, places = VARIANTS[candidate.variant], [unzigzag(number) for number in numbers[3:]]
        far = any(abs(side) > FARTHEST for side in places)
        if numbers[2] >> variant.grids or len(places) != 2 * variant.learned_grids or far:
            raise BitstreamError(DAMAGED_SYMBOLS)
        found: list[Box | None] = list(zip(places[::2], places[1::2], strict=True))
        found += start_boxes(variant, variant.window)[len(found) :]
        coded = tuple(bool(numbers[2] >> grid & 1) for grid in range(variant.grids))
        return cls(candidate, StepPair(*divmod(numbers[1], len(STEPS))), coded, tuple(found))

    def model(self, volume: Shape) -> PatchModel:
        """The model of this patch on the CPU, without latents."""
        design = replace(self.candidate.design(SMALLEST), boxes=self.boxes)
        model = PatchModel(design)
        model.design, model.latents = replace(design, volume=volume), nn.ParameterList()
        return model

    def grid_networks(self, model: PatchModel) -> list[ContextNetwork]:
        """The network of each coded grid."""
        return [model.context(grid) for grid, used in enumerate(self.coded) if used]

    def entropy_networks(self, model: PatchModel) -> list[ContextNetwork]:
        """The networks that are transmitted."""
        return list({id(network): network for network in self.grid_networks(model)}.values())


@dataclass(frozen=True)
class Patch:
    """A decoded patch: its model, on the device, and its quantized grids."""

    model: PatchModel
    grids: list[Tensor]


def volume_of(piece: Piece) -> Shape:
    """The frames, rows and columns of a piece."""
    return piece.frames, piece.height, piece.width


class PatchDecoder(PieceDecoder[Patch]):
    """Reads and renders patches."""

    kinds = KINDS

    def __init__(self, clip: ClipHeader, sides: Shape, candidates: Sequence[Candidate], device: str) -> None:
        """`sides`: frames, rows and columns of a patch; those at the end and the edges may be smaller."""
        self.pieces = boxes(clip, *sides)
        self._candidates, self._device = candidates, torch.device(device)
        self._models = [PatchModel(candidate.design(SMALLEST)) for candidate in candidates]
        """Models of all candidates, for counts that do not depend on the patch's size."""

    @classmethod
    def from_numbers(cls, clip: ClipHeader, numbers: Sequence[int], device: str) -> "PatchDecoder":
        """The decoder for a file's `header_numbers`. Raises BitstreamError."""
        sides, others = numbers[:3], numbers[3:]
        known = 0 < len(others) <= MOST_CANDIDATES and min(sides) > 0
        if not known or any(a > b for a, b in zip(sides, _sides(clip), strict=True)) or math.prod(sides) > MOST_PIXELS:
            raise BitstreamError("The bitstream's patches do not fit its clip; encode it again.")
        return cls(clip, (sides[0], sides[1], sides[2]), [Candidate.numbered(n) for n in others], device)

    def read(self, piece: Piece, parts: Parts, reference: Patch | None) -> Patch:
        """The networks, then the latents, which they steer; all on the CPU, so that every machine reads the same."""
        header = PatchHeader.unpack(parts["patch"])
        if header.candidate not in self._candidates:
            raise BitstreamError(DAMAGED_SYMBOLS)
        volume = volume_of(piece)
        model = header.model(volume)
        read_networks(parts["synthesis"], [model.synthesis], header.steps)
        read_networks(parts["entropy"], header.entropy_networks(model), header.steps)
        shapes = grid_shapes(volume, len(header.coded))
        used = [shape for shape, coded in zip(shapes, header.coded, strict=True) if coded]
        decoded = iter(decode_latents(parts["latents"], used, header.grid_networks(model)))
        pairs = zip(shapes, header.coded, strict=True)
        grids = [next(decoded).float() * Q_STEP if coded else torch.zeros(shape) for shape, coded in pairs]
        return Patch(model.to(self._device), [grid.to(self._device) for grid in grids])

    def render(self, piece: Piece, state: Patch) -> Tensor:
        """The patch in 0..1, `[T, 3, h, w]`."""
        return state.model.render(state.grids)

    def parameters(self, piece: Piece) -> int:
        """Latents and weights of the candidate that has the most."""
        return max(
            sum(math.prod(shape) for shape in grid_shapes(volume_of(piece), model.design.variant.grids))
            + sum(p.numel() for network in (model.synthesis, model.contexts) for p in network.parameters())
            for model in self._models
        )

    def macs(self, piece: Piece) -> int:
        """Multiply-accumulates of the candidate that needs the most, as the released counter counts them."""
        return max(sum(model.macs_per_pixel) for model in self._models) * math.prod(volume_of(piece))


class PatchEncoder(PieceEncoder[Patch]):
    """Trains and writes patches."""

    def __init__(self, sides: Shape, candidates: Sequence[Candidate], weight: float, plan: Plan) -> None:
        """`weight`: lambda."""
        self.numbers = [*sides, *(candidate.number for candidate in candidates)]
        self._candidates, self._weight, self._plan = candidates, weight, plan

    def candidates(self, piece: Piece) -> int:
        """All are trained; the cheapest is kept ("adaptive")."""
        return len(self._candidates)

    def train(
        self, piece: Piece, frames: Tensor, reference: Patch | None, before: Trained | None, run: PieceRun
    ) -> Trained:
        """Trains one candidate, from scratch."""
        candidate = self._candidates[run.candidate]
        task = Task(frames.float() / 255, self._weight, self._plan, candidate.from_mean)
        patch = PatchTraining(task, candidate.design(volume_of(piece)), run).train()
        return _trained(patch.model, candidate, patch.steps, patch.cost)

    def write(self, piece: Piece, trained: Trained, reference: Patch | None) -> Parts:
        """The bytes of a patch. Raises RdbenchError for values beyond all bounds."""
        count = sum(name.startswith("grid") for name in trained.tensors)
        grids = [trained.tensors[f"grid{i}"].cpu() for i in range(count)]
        header = _header(trained, grids)
        model = header.model(volume_of(piece))
        own = {name: tensor.cpu() for name, tensor in trained.tensors.items() if not name.startswith("grid")}
        model.load_state_dict(own)
        set_rounded([model.synthesis, *model.contexts], header.steps)  # what a decoder has
        coded = [grid for grid, used in zip(grids, header.coded, strict=True) if used]
        return {
            "patch": header.pack(),
            "synthesis": write_networks([model.synthesis], header.steps),
            "entropy": write_networks(header.entropy_networks(model), header.steps),
            "latents": encode_latents(coded, header.grid_networks(model)),
        }

    def sample(self, piece: Piece, reference: Patch | None) -> Trained:
        """Untrained networks, and latents of which about a tenth are not zero."""
        candidate = self._candidates[0]
        model = PatchModel(candidate.design(volume_of(piece)))
        with torch.no_grad():
            for i, grid in enumerate(model.latents):
                grid.copy_(torch.randn(grid.shape) * (0.3 * Q_STEP / 2**i))
            for i in range(len(model.latents)):
                model.context(i).biases[-1][1] = -5.0  # scales of about a latent's step
        return _trained(model, candidate, StepPair(3, 3), 0.0)


def _trained(model: PatchModel, candidate: Candidate, steps: StepPair, cost: float) -> Trained:
    """A model as the engine keeps it: integers of the grids, and the networks."""
    with torch.no_grad():
        grids = {f"grid{i}": grid.to(torch.int32) for i, grid in enumerate(model.integers(torch.round))}
    own = {name: tensor.detach() for name, tensor in model.state_dict().items() if not name.startswith("latents")}
    places = [list(box) if box is not None else [] for box in model.design.boxes]
    notes: Mapping[str, object] = {
        "candidate": candidate.number, "weights": steps.weights, "biases": steps.biases, "boxes": places,
    }  # fmt: skip
    return Trained({**grids, **own}, cost, notes)


def _header(trained: Trained, grids: Sequence[Tensor]) -> PatchHeader:
    """The choices of a trained patch."""
    notes = trained.notes
    places = tuple((box[0], box[1]) if box else None for box in notes["boxes"])
    steps = StepPair(notes["weights"], notes["biases"])
    return PatchHeader(Candidate.numbered(notes["candidate"]), steps, tuple(bool(g.any()) for g in grids), places)


def _sides(clip: ClipHeader) -> Shape:
    return clip.frames, clip.height, clip.width


def even_sides(clip: ClipHeader, wished: Shape) -> Shape:
    """Sides of patches close to the wished ones, that cut the clip into (nearly) equal parts."""
    counts = [max(1, round(side / wish)) for side, wish in zip(_sides(clip), wished, strict=True)]
    frames, height, width = (-(-side // count) for side, count in zip(_sides(clip), counts, strict=True))
    return frames, height, width


def candidates_of(variants: Sequence[Variant], pairs: Sequence[tuple[bool, bool]]) -> list[Candidate]:
    """All combinations of variants with pairs of per-frame convolution and start at the mean color."""
    return [Candidate(variant.name, *pair) for variant, pair in product(variants, pairs)]

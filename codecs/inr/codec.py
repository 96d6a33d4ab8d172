"""InrCodec: solve the size, train, compress, write; read, rebuild, render."""

import math
import re
import time
from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import astuple, fields
from functools import partial
from pathlib import Path
from typing import ClassVar

import torch
import torch.utils._device  # imported by the first `with torch.device(...)`, which must not be inside a clock

from rdbench.codec import Clip, RatePoint, SettingsBase, Source, Timing, Workspace
from rdbench.errors import BitstreamError, UsageError
from rdbench.video import Video

from .bitstream import pack_integers, read_stream, section_bytes, unpack_integers, write_stream
from .clip_header import ClipHeader as ClipHeader  # the files of codecs import it from here
from .compression.scheme import Scheme
from .networks.encoder import Encoder
from .networks.network import (
    Network,
    NetworkConfig,
    build_without_memory,
    count_macs,
    count_parameters,
    to_device,
)
from .networks.sizing import TOLERANCE, nearest_to_size, solve_width
from .prepared import Prepared, stacked
from .recipes.stage import Stage
from .rendering import RenderedVideo, synchronize
from .switches import describe_switches, set_switches
from .trained import TrainedCodec
from .training.execution import Log
from .training.memory import expected_memory_mb
from .training.objectives import objective_for, scheme_class, scheme_number
from .training.precision import resolve
from .training.rate_distortion import (
    PAPER,
    InrSettings,
    RateObjective,
    lambda_label,
    pretraining_key,
    share_pretraining,
    split_label,
)
from .training.timing import time_stages

MOST_PARAMETERS = 1 << 28
MOST_PADDING = 8
"""Largest ratio of rendered to visible pixels; `choose_geometry` stays far below."""
MACS_PER_SECOND = 1e10
"""Speed of one CPU core, for `rdbench plan` (measured once: 0.8e10 to 1.3e10)."""
LOSS_MACS = 2000
"""Cost of SSIM for each pixel of a step, forward and backward (measured once)."""
NEAREST_SIZES = 8
"""Most sizes that are tried, one after the other, where a size has no network (3 are the most that was seen)."""
SMALLEST_SIZE = 2_000
"""Smallest model size (our choice): smaller networks render nothing recognizable."""


class InrCodec(TrainedCodec):
    """A codec whose bitstream is a network. A subclass defines the network, its training and its compression."""

    revision = 3
    config: ClassVar[type[NetworkConfig]]
    free_width: ClassVar[str] = "stem"
    """The field of the configuration that absorbs the remaining parameter budget."""
    second_width: ClassVar[str] = ""
    """A field that may differ by one or two where that field alone cannot meet a size."""
    scheme: ClassVar[type[Scheme]]
    """The compression scheme of the codec's own paper."""
    Settings: ClassVar[type[SettingsBase]] = InrSettings
    rendering_precisions = ("bfloat16", "float16")

    def __init__(self, settings: SettingsBase) -> None:
        """Raises UsageError for a compression that does not exist, or a rate of an optimizer that is not chosen."""
        super().__init__(settings)
        if self.settings.optimizer == PAPER and self.settings.muon_lr != 1.0:
            raise UsageError(f"muon-lr of {self.name} has no effect without optimizer=muon; add it, or omit muon-lr.")
        self.objective: RateObjective | None = objective_for(self.settings)
        """The rate objective that the settings choose; None where the rate is not part of the loss."""

    def precision(self, device: str) -> str:
        """The number format of most operations of the training, as the setting `precision` resolves on this device."""
        return resolve(self.settings.precision, torch.device(device).type)

    @abstractmethod
    def scaled(self, clip: ClipHeader, share: float) -> NetworkConfig:
        """The paper's network for a clip of this size with all widths times `share`, which the size solver varies."""

    @classmethod
    @abstractmethod
    def build(cls, config: NetworkConfig, clip: ClipHeader) -> Network:
        """The network, allocated on torch's current default device."""

    def encoder(self, network: Network, clip: ClipHeader) -> Encoder | None:
        """The encoder network that is trained with the network and not transmitted; None without one."""
        return None

    @abstractmethod
    def recipe(self) -> Sequence[Stage]:
        """The training stages."""

    @abstractmethod
    def compression(self) -> Scheme:
        """A new instance of the codec's own scheme with the codec's settings."""

    def _recipe_at_unit_lambda(self, objective: RateObjective) -> Sequence[Stage]:
        """The recipe for a lambda of 1."""
        return self.recipe() if objective.scheme is self.scheme else objective.with_rate(self.recipe())

    def stages(self, point: RatePoint) -> Sequence[Stage]:
        """The recipe for a rate point, with the optimizer that the settings choose."""
        stages, s = self._stages_of_paper(point), self.settings
        return stages if s.optimizer == PAPER else [stage.with_muon(s.muon_lr) for stage in stages]

    def _stages_of_paper(self, point: RatePoint) -> Sequence[Stage]:
        """The recipe for a rate point, with the paper's optimizer."""
        objective = self.objective
        if objective is None:
            return self.recipe()
        weight = float(point.settings["lambda"])
        return [objective.at_lambda(stage, weight) for stage in self._recipe_at_unit_lambda(objective)]

    def chosen_compression(self) -> Scheme:
        """A new instance of the scheme that the settings choose."""
        objective = self.objective
        return self.compression() if objective is None else objective.compression()

    def build_for(self, clip: ClipHeader, size: int) -> tuple[Network, NetworkConfig]:
        """The network of about `size` parameters."""
        config = self.solved(clip, size)
        return self.build(config, clip), config

    def solved(self, clip: ClipHeader, size: int) -> NetworkConfig:
        """The configuration of `size` parameters, within the tolerance.

        Raises UsageError, with the nearest size that a network has, where there is none.
        """
        config, nearest = self._nearest(clip, size)
        if nearest != size:
            frames = "1 frame" if clip.frames == 1 else f"{clip.frames} frames"
            what = f"{frames} of {clip.width}x{clip.height}"
            lacking = f"cannot hold {what} in {size}" if nearest > size else f"has no network for {what} with {size}"
            raise UsageError(f"{self.name} {lacking} parameters; the nearest size is {size_label(nearest)}.")
        return config

    def meets(self, clip: ClipHeader, size: int) -> bool:
        """Whether a network has `size` parameters, within the tolerance."""
        return self._nearest(clip, size)[1] == size

    def _nearest(self, clip: ClipHeader, size: int) -> tuple[NetworkConfig, int]:
        """The nearest size to this that a network meets, after its configuration."""
        widths, tolerance = (self.free_width, self.second_width), self.tolerance(clip)
        for _ in range(NEAREST_SIZES):
            config, count = nearest_to_size(
                size, self._solved(clip, size), partial(self._scaled_to, clip, size),
                lambda config: self.build(config, clip), widths, tolerance,
            )  # fmt: skip
            if abs(count - size) <= tolerance * size:
                return config, size
            # of another size other embeddings may follow, and no label names one below the smallest
            size = count if count >= SMALLEST_SIZE else size * 5 // 4
        return config, size

    def tolerance(self, clip: ClipHeader) -> float:
        """Largest relative error of a size."""
        return TOLERANCE

    def _scaled_to(self, clip: ClipHeader, size: int, share: float) -> NetworkConfig:
        """As `scaled`; some codecs derive more than the widths from the size that is to be met."""
        return self.scaled(clip, share)

    def _solved(self, clip: ClipHeader, size: int) -> NetworkConfig:
        """The configuration that `solved` takes where it meets the size."""
        return solve_width(size, partial(self._scaled_to, clip, size), lambda c: self.build(c, clip), self.free_width)

    @classmethod
    def rebuild(cls, clip: ClipHeader, numbers: Sequence[int]) -> Network:
        """The network on the meta device, without memory. Raises BitstreamError for numbers that describe none."""
        config = cls.config.from_numbers(numbers)
        network = build_without_memory(lambda: cls.build(config, clip))
        sides = zip(network.patch_size, network.grid, (clip.height, clip.width), strict=True)
        covered = [(patch * cells, side, config.step * cells) for patch, cells, side in sides]
        area = math.prod(whole for whole, _, _ in covered)
        if not all(0 <= whole - side < step for whole, side, step in covered) or area > MOST_PADDING * clip.pixels:
            raise BitstreamError("The bitstream's network does not fit the size of its clip; encode it again.")
        if count_parameters(network) > MOST_PARAMETERS:
            raise BitstreamError(f"The bitstream describes more than {MOST_PARAMETERS} parameters; encode again.")
        return network

    def rate_points(self, clip: Clip) -> Sequence[RatePoint]:
        """The model sizes of the clip's manifest, or four that give about 0.02 to 0.2 bit a pixel (our choice).

        Where the rate is part of the loss, pairs of a size and lambda.
        """
        sizes, objective = sorted(clip.sizes) or self._derived_sizes(clip), self.objective
        if objective is None:
            return [RatePoint(size_label(size), {"size": size}) for size in sizes]
        pairs = objective.default_pairs(sizes, self._recipe_at_unit_lambda(objective)[-1].loss)
        return [self.rate_point(lambda_label(size_label(size), weight), clip) for size, weight in pairs]

    def _derived_sizes(self, clip: Clip) -> list[int]:
        """Sizes in proportion to the pixels of the clip; where no network has one, the nearest instead."""
        header, pixels = ClipHeader.of(clip), clip.frames * clip.format.width * clip.format.height
        wanted = {_two_digits(max(SMALLEST_SIZE, pixels * share // 1000)) for share in (3, 6, 12, 24)}
        return sorted({self._nearest(header, size)[1] for size in wanted})

    def rate_point(self, label: str, clip: Clip) -> RatePoint:
        """Any size, as `100K` or `1.5M`; with the rate in the loss, `100K-lambda0.5` too. Raises UsageError."""
        objective = self.objective
        if objective is None:
            return RatePoint(size_label(self._size(label)), {"size": self._size(label)})
        text, given = split_label(label)
        size = self._size(text)
        loss = self._recipe_at_unit_lambda(objective)[-1].loss
        weight = objective.lambda_for(size, clip, loss) if given is None else given
        return RatePoint(lambda_label(size_label(size), given), {"size": size, "lambda": weight})

    def _size(self, label: str) -> int:
        match = re.fullmatch(r"(\d{1,9}(?:\.\d{1,9})?)([KM])", label)
        size = round(float(match[1]) * (1e6 if match[2] == "M" else 1e3)) if match else 0
        if not SMALLEST_SIZE <= size <= MOST_PARAMETERS:
            raise UsageError(f"{label!r} is no model size of {self.name}; write it as 100K or 1.5M (2K to 268M).")
        return size

    def estimate_seconds(self, clip: Clip, point: RatePoint, device: str) -> float | None:
        """The multiply-accumulates of all steps, three passes each, at MACS_PER_SECOND; None on a GPU."""
        if device.startswith("cuda"):
            return None
        pixels = clip.frames * clip.format.width * clip.format.height * sum(s.epochs for s in self.stages(point))
        return (self.encode_macs(clip, point) + LOSS_MACS * pixels) / MACS_PER_SECOND

    def encode_macs(self, clip: Clip, point: RatePoint) -> float:
        """The multiply-accumulates of all steps, three passes each."""
        header = ClipHeader.of(clip)
        with torch.device("meta"):
            network = self.build(self.solved(header, int(point.settings["size"])), header)
        return 3.0 * count_macs(network) * clip.frames * sum(stage.epochs for stage in self.stages(point))

    def expected_gpu_memory_mb(self, clip: Clip, point: RatePoint) -> float | None:
        """The activations of a step, the weights with all that belongs to them, and the frames."""
        header = ClipHeader.of(clip)
        with torch.device("meta"):
            network = self.build(self.solved(header, int(point.settings["size"])), header)
            encoder = self.encoder(network, header)
        return expected_memory_mb(network, encoder, self.stages(point), clip.frames, header.height, header.width)

    def shared_artifact(self, point: RatePoint) -> str | None:
        """The size, where the stages before the rate are trained once for all lambdas."""
        return pretraining_key(self.stages(point), point) if self.objective is not None else None

    def prepare(self, source: Source, point: RatePoint, workspace: Workspace) -> Prepared:
        """The frames and the untrained network on the device."""
        set_switches()
        frames = stacked(source.rgb).to(workspace.device)
        fmt = source.rgb.format
        rate = fmt.frame_rate
        clip = ClipHeader(fmt.width, fmt.height, len(frames), rate.numerator, rate.denominator).check()
        torch.manual_seed(workspace.seed)
        network, config = self.build_for(clip, int(point.settings["size"]))
        workspace.report["parameters"] = count_parameters(network)
        macs = count_macs(self.rebuild(clip, config.numbers()))
        workspace.report["kmacs_per_pixel"] = macs / (1000 * clip.pixels)
        to_device(network, workspace.device)
        encoder = self.encoder(network, clip)
        if encoder is not None:
            to_device(encoder, workspace.device)
        return Prepared(frames, clip, network, config, macs, encoder, self.settings.precision, self.settings.compile)

    def encode(self, source: Source, point: RatePoint, bitstream: Path, workspace: Workspace) -> None:
        """Trains a network of the rate point's size and writes it."""
        ready = self.prepare(source, point, workspace)
        scheme, stages = self.chosen_compression(), self.stages(point)

        def pretrain(own: Workspace, before: Sequence[Stage]) -> None:
            ready.trainer(self.chosen_compression(), own, before).run()

        with workspace.stopwatch.part("fit"):
            started = time.perf_counter()
            if self.objective is not None:
                share_pretraining(stages, point, workspace, pretrain)
            waited = time.perf_counter() - started
            trainer = ready.trainer(scheme, workspace, stages)
            trainer.run()
            synchronize(ready.frames.device)
        # the seconds of the checkpoint replace those spent waiting for it
        workspace.stopwatch.borrow("fit", trainer.inherited - waited if trainer.inherited else 0.0)
        _report_execution(workspace, trainer.log)
        with workspace.stopwatch.part("compress"):
            self._write(ready, scheme, bitstream)

    def _write(self, ready: Prepared, scheme: Scheme, bitstream: Path) -> None:
        clip, chosen = ready.clip, scheme.numbers()
        header = [*astuple(clip), scheme_number(self.objective), len(chosen), *chosen]
        config = pack_integers([*header, *ready.network.final_config(ready.config).numbers()])
        write_stream(bitstream, self.name, {"config": config, **scheme.write(ready.network)})

    def time_fit(self, source: Source, point: RatePoint, steps: int, workspace: Workspace) -> Sequence[Timing]:
        """Times steps of every stage, one stage after the other, beginning with untrained weights."""
        ready = self.prepare(source, point, workspace)
        return time_stages(ready.trainer(self.chosen_compression(), workspace, self.stages(point)), steps, ready.macs)

    def write_sample(self, source: Source, point: RatePoint, bitstream: Path, workspace: Workspace) -> None:
        """Writes the untrained network as the last stage would leave it."""
        ready, scheme = self.prepare(source, point, workspace), self.chosen_compression()
        for stage in self.stages(point):
            ready.network.enter(stage)
            scheme.enter(ready.network, stage)
        self._write(ready, scheme, bitstream)

    @classmethod
    def decode(cls, bitstream: Path, workspace: Workspace) -> Video:
        """Rebuilds the network from the file; the video renders it. Raises BitstreamError."""
        set_switches()
        with workspace.stopwatch.part("entropy_decode"):
            clip, network = cls._read(bitstream)
        workspace.report["parameters"] = count_parameters(network)
        to_device(network, workspace.device)
        return RenderedVideo(network.eval(), clip, workspace)

    @classmethod
    def read_network(cls, bitstream: Path) -> Network:
        """The network in the file, on the CPU. Raises BitstreamError."""
        return cls._read(bitstream)[1].eval()

    @classmethod
    def _read(cls, bitstream: Path) -> tuple[ClipHeader, Network]:
        """The clip and the network with its weights. Raises BitstreamError."""
        sections = read_stream(bitstream, cls.name)
        clip, scheme, network = cls._read_config(unpack_integers(sections.pop("config", b"")))
        if sections.keys() != scheme.sections:
            raise BitstreamError("The bitstream lacks a section or has one too many; encode the clip again.")
        scheme.read(network, sections)
        return clip, network

    @classmethod
    def _read_config(cls, numbers: Sequence[int]) -> tuple[ClipHeader, Scheme, Network]:
        """The clip, the scheme, and the network on the meta device. Raises BitstreamError."""
        first = len(fields(ClipHeader)) + 2
        if len(numbers) < first or len(numbers) < first + numbers[first - 1]:
            raise BitstreamError("The bitstream's configuration is damaged; encode the clip again.")
        clip, scheme = ClipHeader(*numbers[: first - 2]).check(), scheme_class(numbers[first - 2], cls.scheme)
        end = first + numbers[first - 1]
        return clip, scheme.from_numbers(numbers[first:end]), cls.rebuild(clip, numbers[end:])

    @classmethod
    def ledger(cls, bitstream: Path) -> Mapping[str, int]:
        """Bytes of the sections and of the container."""
        return section_bytes(bitstream, cls.name)


def _report_execution(workspace: Workspace, log: Log) -> None:
    """Makes compiling a part of its own beside `fit`, and reports how the steps were executed."""
    if log.seconds:
        seconds = workspace.stopwatch.seconds
        seconds["fit"] -= log.seconds
        seconds["compile"] = seconds.get("compile", 0.0) + log.seconds
    switches = describe_switches() if workspace.device.startswith("cuda") else ""
    if text := "; ".join(filter(None, (switches, log.text()))):
        workspace.report["execution"] = text


def _two_digits(size: int) -> int:
    unit = 10 ** (len(str(size)) - 2)
    return int(round(size / unit) * unit)


def size_label(size: int) -> str:
    """`1.5M`, `100K`, `1.234K`."""
    value, unit = (size / 1e6, "M") if size >= 1_000_000 else (size / 1e3, "K")
    return f"{value:.6f}".rstrip("0").rstrip(".") + unit

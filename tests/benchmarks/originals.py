"""The training steps of the authors' own programs, for timing beside ours: one function for each original.

A folder holds the authors' repositories: NeRV, HNeRV, E-NeRV, FFNeRV, Boosting-NeRV, DNeRV, HiNeRV. Their networks,
losses, metrics and optimizers are imported from there by path; what their training scripts write inside the loop is
done here in the same order: forward pass, loss, backward pass, optimizer, then the metrics that the loop computes in
every step. Frames are on the device already, so that loading costs the originals nothing. Needed packages besides
ours: einops for E-NeRV. What the modules import and a step never calls (`UNUSED`) is replaced while they are imported.
"""

import importlib
import logging
import sys
from argparse import ArgumentParser
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import MappingProxyType, ModuleType, SimpleNamespace
from typing import Any
from unittest.mock import MagicMock

import torch
from alike import (
    Config,
    as_it_is,
    boost_alike,
    dnerv_alike,
    enerv_alike,
    ffnerv_alike,
    hinerv_alike,
    one_width,
)  # fmt: skip
from torch import Tensor, nn
from torch.nn import functional

from rdbench.codecs.dnerv import difference_strides

UNUSED = (
    "torchvision", "torchvision.transforms", "torchvision.transforms.functional", "torchvision.io",
    "torch.utils.tensorboard", "decord", "pytorchvideo", "pytorchvideo.data", "pytorchvideo.data.encoded_video",
    "tkinter", "tkinter.messagebox", "yaml", "tqdm", "timm", "timm.models",
)  # fmt: skip
"""Modules that originals import and no step uses."""
STOCHASTIC_DEPTH = SimpleNamespace(DropPath=nn.Identity, trunc_normal_=nn.init.trunc_normal_)
"""In place of `timm.models.layers`: the rate of DropPath is zero, and the initialization is torch's own."""


@dataclass(frozen=True)
class Task:
    """What a step computes: the folder of the repository, our configuration, and the clip."""

    folder: Path
    config: Config
    frames: Tensor
    """`[N, 3, H, W]`, float32 in 0..1, on the device."""
    grid: tuple[int, int]
    """Rows and columns of patches in a frame, where the training is by patches."""
    wrap: Callable[[nn.Module], Any] = lambda network: network
    """What is called in place of the network, such as `torch.compile` of it."""

    @property
    def base(self) -> str:
        """Rows, columns and channels of the base grid, as NeRV's scripts write them."""
        return f"{self.config.rows}_{self.config.columns}_{self.config.channels}"

    @property
    def device(self) -> torch.device:
        """Where all is computed."""
        return self.frames.device

    def time(self, chosen: Tensor) -> Tensor:
        """The index of each frame over their number, `[B]`."""
        return chosen / len(self.frames)


Outputs = tuple[Sequence[Tensor], Sequence[Tensor]]
"""Outputs and targets of a step, each a list as the originals have it."""


@dataclass(frozen=True)
class Loop:
    """An original's training."""

    network: nn.Module
    step: Callable[[Tensor], Outputs]
    """Takes a step with the samples `[B]`, whose numbers are those of our own samples."""
    measure: Callable[[Outputs], object]
    """The metrics of the training frames, which the authors' loop computes after every step."""


@dataclass(frozen=True)
class Original:
    """How a codec's original is built, and what of our network has to be so that it can be the same."""

    repository: str
    build: Callable[[Task], Loop]
    alike: Callable[[Config], Config]
    """Our configuration, changed where the original is less general. Raises ValueError where it has no such network."""
    compiles: bool = False
    """Whether the authors' commands compile the network."""


@contextmanager
def importing(folder: Path, **own: Any) -> Iterator[None]:
    """Imports inside find the repository's modules first, and `UNUSED` and `own` replaced; afterwards all is as before.

    Repositories have modules of equal names, so none of them stays behind.
    """
    replaced = {**{name: MagicMock() for name in UNUSED}, "timm.models.layers": STOCHASTIC_DEPTH, **own}
    theirs = {path.stem for path in folder.iterdir()}
    hidden = {
        name: module for name, module in sys.modules.items() if name in replaced or name.partition(".")[0] in theirs
    }
    for name in hidden:
        del sys.modules[name]
    sys.modules.update(replaced)
    sys.path.insert(0, str(folder))
    try:
        yield
    finally:
        sys.path.remove(str(folder))
        for name in [name for name in sys.modules if name in replaced or name.partition(".")[0] in theirs]:
            del sys.modules[name]
        sys.modules.update(hidden)


def adam(network: nn.Module, *betas: float) -> torch.optim.Optimizer:
    """Adam as all originals make it, in torch's default form."""
    trained = [parameter for parameter in network.parameters() if parameter.requires_grad]
    return torch.optim.Adam(trained, lr=1e-4, betas=(betas[0], betas[1]) if betas else (0.9, 0.999))


def descend(optimizer: torch.optim.Optimizer, loss: Tensor) -> None:
    """Backward pass and update."""
    optimizer.zero_grad()
    loss.backward()
    optimizer.step()


def pooled(outputs: Sequence[Tensor], data: Tensor) -> Sequence[Tensor]:
    """The frames at the resolution of each output, as NeRV's loop and its descendants make them."""
    return [functional.adaptive_avg_pool2d(data, (output.shape[-2], output.shape[-1])) for output in outputs]


def both_metrics(utils: ModuleType) -> Callable[[Outputs], object]:
    """PSNR and MS-SSIM by NeRV's functions."""
    return lambda found: (utils.psnr_fn(*found), utils.msssim_fn(*found))


def psnr_alone(utils: ModuleType) -> Callable[[Outputs], object]:
    """PSNR by HNeRV's function, which copies it to the host."""
    return lambda found: utils.psnr_fn_single(found[0][0].detach(), found[1][0])


def nerv(task: Task) -> Loop:
    """NeRV/train_nerv.py with the README's loss, Fusion6."""
    with importing(task.folder):
        model, utils = importlib.import_module("model_nerv"), importlib.import_module("utils")
    c, args = task.config, SimpleNamespace(loss_type="Fusion6", lw=1.0)
    network = model.Generator(
        embed_length=2 * c.frequencies, stem_dim_num=f"{c.stem}_1", fc_hw_dim=task.base, expansion=c.expansion,
        num_blocks=1, norm="none", act=("gelu", "swish")[c.activation], bias=True, reduction=2, conv_type="conv",
        stride_list=list(c.strides), sin_res=True, lower_width=c.lower, sigmoid=False,
    ).to(task.device)  # fmt: skip
    encode = utils.PositionalEncoding(f"1.25_{c.frequencies}")
    called, optimizer = task.wrap(network), adam(network, 0.5, 0.999)

    def step(chosen: Tensor) -> Outputs:
        outputs = called(encode(task.time(chosen)))
        targets = pooled(outputs, task.frames[chosen])
        descend(optimizer, sum(utils.loss_fn(*pair, args) for pair in zip(outputs, targets, strict=True)))
        return outputs, targets

    return Loop(network, step, both_metrics(utils))


def enerv(task: Task) -> Loop:
    """E-NeRV/engine.py with the configuration of its Bunny model."""
    with importing(task.folder):
        model, utils = importlib.import_module("model"), importlib.import_module("utils.misc")
    c = task.config
    encodings = {f"{name}_{part}": value for name in ("pos", "xypos") for part, value in (("b", 1.25), ("l", 80))}
    network = model.E_NeRV_Generator({
        **encodings, "pos_b_tm": 1.25, "pos_l_tm": 80, "stem_dim_num": str(c.stem), "fc_hw_dim": task.base,
        "act": "gelu", "stride_list": list(c.strides), "expansion": c.expansion, "reduction": 2,
        "lower_width": c.lower, "num_blocks": 1, "bias": True, "norm": "none", "conv_type": "conv", "sin_res": True,
        "sigmoid": True, "block_dim": c.block, "mlp_dim": c.hidden,
    }).to(task.device)  # fmt: skip
    called, optimizer = task.wrap(network), adam(network, 0.5, 0.999)

    def step(chosen: Tensor) -> Outputs:
        outputs = called({"img_id": task.time(chosen)})
        targets = pooled(outputs, task.frames[chosen])
        descend(optimizer, sum(utils.loss_compute(outputs, targets, "Fusion6")))
        return outputs, targets

    return Loop(network, step, both_metrics(utils))


def hnerv_arguments(config: Config, **more: Any) -> SimpleNamespace:
    """The options of HNeRV's training script and of Boosting-NeRV's, which derives from it."""
    strides = list(config.strides)
    return SimpleNamespace(
        enc_strds=strides, dec_strds=strides, enc_dim=f"64_{config.embedding}", fc_dim=config.channels, norm="none",
        reduce=1.2, lower_width=config.lower, out_bias="tanh", fc_hw="9_16", **more,
    )  # fmt: skip


def hnerv(task: Task) -> Loop:
    """HNeRV/train_nerv_all.py with the README's loss, L2."""
    with importing(task.folder):
        model, utils = importlib.import_module("model_all"), importlib.import_module("hnerv_utils")
    ks = f"0_{task.config.least_kernel}_{task.config.most_kernel}"
    args = hnerv_arguments(
        task.config, embed="", ks=ks, num_blks="1_1", conv_type=["convnext", "pshuffel"], act="gelu", vid="bunny"
    )
    network = model.HNeRV(args).to(task.device)
    transform, called, optimizer = model.TransformInput(args), task.wrap(network), adam(network)

    def step(chosen: Tensor) -> Outputs:
        data, target, mask = transform(task.frames[chosen])
        output, _, _ = called(data)
        descend(optimizer, utils.loss_fn(output * mask, target * mask, "L2"))
        return [output], [target]

    return Loop(network, step, psnr_alone(utils))


def hnerv_boost(task: Task) -> Loop:
    """Boosting-NeRV/train_nerv_all.py with the options of its HNeRV-Boost, the authors' Adan included."""
    with importing(task.folder):
        model, utils, optimizers = map(importlib.import_module, ("model_hnerv", "hnerv_utils", "optimizer"))
    c = task.config
    args = hnerv_arguments(
        c, embed=f"pe_1.25_{c.frequencies}", ks="0_1_5", enc_blks=1, dec_blks=[1, 1, *[2] * (len(c.strides) - 2)],
        conv_type=["convnext", "pshuffel_3x3"], act="sin", sft_block="res_sft", ch_t=c.code, lfreq="pi", quant=False,
        outf="",
    )  # fmt: skip
    network = model.HNeRV_Boost(args).to(task.device)
    called, optimizer = task.wrap(network), optimizers.Adan(network.parameters(), lr=1e-4)

    def step(chosen: Tensor) -> Outputs:
        target = task.frames[chosen]
        mask = torch.ones_like(target)
        output, _, _ = called(target * mask, norm_idx=task.time(chosen + 1))
        descend(optimizer, utils.loss_fn(output * mask, target * mask, "Fusion10_freq"))
        return [output], [target]

    return Loop(network, step, psnr_alone(utils))


def ffnerv(task: Task) -> Loop:
    """FFNeRV/main.py with the README's options for compression: 8 bits, compact blocks, four neighbors.

    The aggregation is written inside the script's loop; only its warping is a function that can be imported.
    """
    with importing(task.folder):
        model, utils, main = map(importlib.import_module, ("model", "utils", "main"))
    c, args, frames = task.config, SimpleNamespace(loss_type="Fusion6"), task.frames
    offsets, soft = torch.tensor([-2, -1, 1, 2], device=task.device), nn.Softmax(dim=1)
    lengths = [max(1, c.finest >> level) for level in reversed(range(c.levels))]
    width = c.grid_channels * c.levels
    network = model.Generator(
        fc_hw_dim=f"{c.rows}_{c.columns}_{width}", expansion=(c.first + 0.5) / width, num_blocks=1, norm="none",
        act="gelu", bias=True, reduction=2, conv_type="compact", stride_list=list(c.strides), sin_res=False,
        lower_width=c.lower, sigmoid=False, aggs=len(offsets), wbit=8, t_dim=lengths,
    ).to(task.device)  # fmt: skip
    called, optimizer = task.wrap(network), adam(network, 0.5, 0.999)
    buffer = torch.zeros(len(frames) + 1, *frames.shape[1:], dtype=torch.float16, device=task.device)

    def aggregated(motion: Tensor, chosen: Tensor) -> Tensor:
        at = chosen[:, None] + offsets
        at = torch.where((at >= 0) & (at < len(frames)), at, len(frames))
        flows, shares = motion[:, : 2 * len(offsets)], motion[:, 2 * len(offsets) :]
        warped = main.resample(buffer[at].float().flatten(0, 1), flows.reshape(-1, 2, *flows.shape[2:]))
        weights = soft(functional.interpolate(shares, scale_factor=4, mode="nearest"))
        blended: Tensor = (warped.unflatten(0, at.shape) * weights[:, :, None]).sum(1)
        return blended

    def step(chosen: Tensor) -> Outputs:
        motion, image = called(task.time(chosen))
        own = image[:, :3]
        buffer[chosen] = own.detach().clone().half()
        others = aggregated(motion, chosen)
        blended = (torch.stack([own, others], 1) * soft(image[:, 3:])[:, :, None]).sum(1)
        outputs = [others, own, blended]
        targets = pooled(outputs, frames[chosen])
        losses = [utils.loss_fn(*pair, args) for pair in zip(outputs, targets, strict=True)]
        descend(optimizer, 0.1 * losses[0] + 0.1 * losses[1] + losses[2])
        return outputs, targets

    return Loop(network, step, both_metrics(utils))


def dnerv(task: Task) -> Loop:
    """DNeRV/engine.py with the released configuration, its L2 loss and clipped gradients."""
    with importing(task.folder):
        model, utils = importlib.import_module("model"), importlib.import_module("utils.misc")
    c, last = task.config, len(task.frames) - 1
    strides = list(c.strides)
    network = model.D_NeRV_Generator({
        "act": "gelu", "stride_list": strides, "kernel_list": [1, 3, 5, 5, 5], "padding_list": [0, 1, 2, 2, 2],
        "encoder_list": strides, "diff_enc_list": difference_strides(strides, c.fuse), "diff_dec_kernel": [3],
        "diff_dec_stride": strides[2:3], "diff_dec_padding": [1], "conv_type": "conv", "c1": 64, "d": c.embedding,
        "c2": c.channels, "height": task.frames.shape[2], "width": task.frames.shape[3],
    }).to(task.device)  # fmt: skip
    called, optimizer = task.wrap(network), adam(network, 0.5, 0.999)

    def step(chosen: Tensor) -> Outputs:
        near = {"img_gt": chosen, "img_p": (chosen - 1).clamp(min=0), "img_f": (chosen + 1).clamp(max=last)}
        data = {name: task.frames[at] for name, at in near.items()}
        outputs = called(data)
        targets = pooled(outputs, data["img_gt"])
        optimizer.zero_grad()
        sum(utils.loss_compute(outputs, targets, "L2")).backward()
        nn.utils.clip_grad_norm_(network.parameters(), 0.1)
        optimizer.step()
        return outputs, targets

    return Loop(network, step, both_metrics(utils))


def hinerv(task: Task) -> Loop:
    """HiNeRV/hinerv_main.py with the options of its models and of its training, in float16 on a GPU as in the README.

    Without the masks of its pruning, which the program multiplies every weight with from the first step on.
    """
    names = ModuleType("utils")
    vars(names).update(torch=torch, F=functional)  # of which alone `losses.py` makes use
    with importing(task.folder, utils=names):
        models, losses = importlib.import_module("models"), importlib.import_module("losses")
    (rows, columns), (count, _, height, width) = task.grid, task.frames.shape
    size, patch = (count, height, width), (1, height // rows, width // columns)
    network = models.model_cls["HiNeRV"].build_model(
        hinerv_options(models.hinerv, task.config), logging.getLogger(__name__), {"video_size": size}
    ).to(task.device)  # fmt: skip
    called, optimizer, half = task.wrap(network), adam(network), task.device.type == "cuda"
    scaler = torch.amp.GradScaler(task.device.type, enabled=half)
    patches = task.frames.unflatten(2, (rows, -1)).unflatten(4, (columns, -1)).permute(0, 2, 4, 1, 3, 5)
    patches = patches.reshape(-1, 3, 1, *patch[1:]).contiguous()

    def step(chosen: Tensor) -> Outputs:
        cell = chosen % (rows * columns)
        index = torch.stack([chosen // (rows * columns), cell // columns, cell % columns], 1)
        target = patches[chosen]
        with torch.autocast(task.device.type, torch.float16, enabled=half):
            given = {"idx": index, "idx_max": (count, rows, columns), "video_size": size, "patch_size": patch}
            output = called({"x": target, **given}).contiguous()
            loss = 0.7 * losses.compute_loss("l1", output, target) + 0.3 * losses.compute_loss(
                "ms-ssim_5x5", output, target
            )
        optimizer.zero_grad()
        scaler.scale(loss.mean()).backward()
        scaler.unscale_(optimizer)
        nn.utils.clip_grad_norm_(network.parameters(), 1.0)
        scaler.step(optimizer)
        scaler.update()
        return [output], [target]

    network.train()
    return Loop(network, step, lambda found: losses.compute_metric("psnr", found[0][0], found[1][0]).mean())


def hinerv_options(module: ModuleType, config: Config) -> Any:
    """The options of HiNeRV's program for a network, as the authors' configurations give them."""
    numbers = {
        "channels": [config.channels], "channels-reduce": [2], "channels-min": [config.lower],
        "depths": config.depths, "exps": [config.hidden / config.channels, *config.expansions[1:]],
        "stem-kernels": [3], "kernels": [3] * len(config.strides), "scales-t": [1] * len(config.strides),
        "scales-hw": config.strides, "stem-paddings": [-1] * 3, "paddings": [-1] * 3, "base-size": [-1] * 3,
        "base-grid-size": [config.grid_frames, -1, -1, config.grid_channels], "base-grid-level": [2],
        "base-grid-level-scale": [2, 1, 1, 0.5], "enc-grid-size": [-1, config.local_channels], "enc-grid-level": [3],
        "enc-grid-level-scale": [2, 0.5], "enc-grid-depth-scale": [1, 0.5],
    }  # fmt: skip
    words = [word for name, values in numbers.items() for word in (f"--{name}", *map(str, values))]
    parser = ArgumentParser()
    module.set_args(parser)
    return parser.parse_args([*words, "--block-type", "convnext"])


ORIGINALS: Mapping[str, Original] = MappingProxyType(
    {
        "nerv": Original("NeRV", nerv, as_it_is),
        "hnerv": Original("HNeRV", hnerv, one_width),
        "hinerv": Original("HiNeRV", hinerv, hinerv_alike, compiles=True),
        "hnerv-boost": Original("Boosting-NeRV", hnerv_boost, boost_alike),
        "enerv": Original("E-NeRV", enerv, enerv_alike),
        "ffnerv": Original("FFNeRV", ffnerv, ffnerv_alike),
        "dnerv": Original("DNeRV", dnerv, dnerv_alike),
    }
)
"""Our codecs whose authors published the program that trains them."""

"""Optimizers of training stages, and the schedule that sets their learning rate and weight decay."""

import math
from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from .stage import Stage

NO_MATRICES: Mapping[Tensor, int] = MappingProxyType({})
MUON_BUFFER = "momentum_buffer"
"""The name of Muon's momentum in the state of a parameter, which is torch's."""
MOMENTUM, NEWTON_SCHULZ, NEWTON_SCHULZ_STEPS, SMALLEST_NORM = 0.95, (3.4445, -4.7750, 2.0315), 5, 1e-7
"""Muon's defaults: momentum, the coefficients a, b and c, the iterations, and what a norm is at least."""
BFLOAT16_ROWS = 128
"""Length of the shorter side from which bfloat16 takes less time than float32 (measured on a CPU that has it)."""
ADAMS_RMS = 0.2
"""Root mean square of Adam's updates, which Muon's get (Liu et al., section 2.2)."""


def make_optimizer(
    stage: Stage,
    others: Sequence[nn.Parameter],
    decaying: Sequence[nn.Parameter],
    matrices: Mapping[Tensor, int] = NO_MATRICES,
) -> torch.optim.Optimizer:
    """The optimizer of a stage, with weight decay on `decaying` alone; Adam and AdamW in their fused form.

    `matrices`: weights for Muon, as `layer_matrices` returns them; they may include weights that the stage leaves
    alone.
    """
    if stage.optimizer == "muon":
        return Muon(stage, [*others, *decaying], matrices)
    groups = [
        {"params": own, "decays": decays, "weight_decay": stage.weight_decay if decays else 0.0, "lr_share": 1.0}
        for own, decays in ((others, False), (decaying, True))
        if own
    ]
    options: dict[str, Any] = {"lr": stage.lr, "betas": stage.betas}
    if stage.optimizer == "adan":
        from pytorch_optimizer import Adan

        adan: torch.optim.Optimizer = Adan(groups, **options)
        return adan
    make = torch.optim.Adam if stage.optimizer == "adam" else torch.optim.AdamW
    return make(groups, fused=True, eps=stage.epsilon, **options)


def apply_schedule(stage: Stage, optimizer: torch.optim.Optimizer, epoch: float) -> None:
    """Sets the learning rate and the weight decay of an optimizer of `make_optimizer` at a fractional epoch.

    A learning rate that is a tensor, as `hold_rates` makes it, keeps its place in memory.
    """
    for group in optimizer.param_groups:
        rate = stage.learning_rate(epoch) * group["lr_share"]
        if isinstance(group["lr"], Tensor):
            group["lr"].fill_(rate)
        else:
            group["lr"] = rate
        group["weight_decay"] = stage.decay(epoch) if group["decays"] else 0.0


def hold_rates(optimizer: torch.optim.Optimizer, device: torch.device) -> None:
    """Makes the learning rates of Adam or AdamW tensors, which a recorded step reads anew each time that it runs.

    In float32 on a GPU, as its kernels demand; on a CPU in float64, as a number that is no tensor.
    """
    dtype = torch.float64 if device.type == "cpu" else torch.float32
    for group in optimizer.param_groups:
        group["lr"] = torch.tensor(float(group["lr"]), dtype=dtype, device=device)
        group["capturable"] = True


class Muon(torch.optim.Optimizer):
    """Muon (K. Jordan et al., 2024) on matrices and torch's Adam on all other parameters, without weight decay.

    The update of a matrix has orthonormal rows or columns, scaled so that its root mean square is that of Adam's
    updates; so `lr` means the same for both (J. Liu et al., Muon is Scalable for LLM Training, 2025). Matrices of one
    shape are updated together, small ones in float32: torch.optim.Muon, which takes one after the other in bfloat16,
    needs two to three times as long for our networks. A momentum has the shape of its parameter.
    """

    def __init__(self, stage: Stage, parameters: Sequence[nn.Parameter], matrices: Mapping[Tensor, int]) -> None:
        chosen = [parameter for parameter in parameters if parameter in matrices]
        others = [parameter for parameter in parameters if parameter not in matrices]
        shares = ((chosen, stage.muon_lr), (others, 1.0))
        groups = [{"params": own, "lr_share": share, "lr": stage.lr * share} for own, share in shares]
        super().__init__(groups, {"lr": stage.lr, "weight_decay": 0.0, "decays": False})
        self._counts = {parameter: matrices[parameter] for parameter in chosen}
        first, second = stage.betas
        self._adam = torch.optim.Adam([{"params": others}], betas=(first, second), eps=stage.epsilon, fused=True)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Updates all parameters that have a gradient."""
        matrices, others = self.param_groups
        chosen = [parameter for parameter in matrices["params"] if parameter.grad is not None]
        by_shape: dict[torch.Size, list[tuple[Tensor, Tensor]]] = {}
        for parameter, direction in zip(chosen, self._directions(chosen), strict=True):
            count = self._counts[parameter]
            views = (_views(each, parameter, count) for each in (parameter, direction))
            for pair in zip(*views, strict=True):
                by_shape.setdefault(pair[0].shape, []).append(pair)
        for shape, pairs in by_shape.items():
            weights, directions = zip(*pairs, strict=True)
            updates = orthogonalized(torch.stack(directions)) * (matrices["lr"] * ADAMS_RMS * math.sqrt(max(shape)))
            torch._foreach_sub_(weights, updates.unbind())
        self._adam.param_groups[0]["lr"] = others["lr"]
        self._adam.state = self.state
        self._adam.step()

    def _directions(self, parameters: Sequence[nn.Parameter]) -> list[Tensor]:
        """The gradients, mixed with the momentum that they update (Nesterov), in the memory layout of the weights."""
        for parameter in parameters:
            if MUON_BUFFER not in self.state[parameter]:
                self.state[parameter][MUON_BUFFER] = torch.zeros_like(parameter)
        momenta = [self.state[parameter][MUON_BUFFER] for parameter in parameters]
        directions = [torch.empty_like(p).copy_(p.grad) for p in parameters if p.grad is not None]
        if parameters:
            torch._foreach_lerp_(momenta, directions, 1 - MOMENTUM)
            torch._foreach_lerp_(directions, momenta, MOMENTUM)
        return directions


def orthogonalized(matrices: Tensor) -> Tensor:
    """`[B, m, n]` -> matrices with the same singular vectors and singular values near 1 (K. Jordan).

    Five Newton-Schulz iterations a X + b (X X^T) X + c (X X^T)^2 X on matrices divided by their Frobenius norm.
    """
    tall = matrices.shape[1] > matrices.shape[2]
    x = matrices.mT if tall else matrices
    x = x.bfloat16() if x.shape[1] >= BFLOAT16_ROWS else x
    x = x / torch.linalg.matrix_norm(x, keepdim=True).clamp(min=SMALLEST_NORM)
    a, b, c = NEWTON_SCHULZ
    for _ in range(NEWTON_SCHULZ_STEPS):
        gram = x @ x.mT
        x = torch.baddbmm(x, torch.baddbmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return (x.mT if tall else x).to(matrices.dtype)


def layer_matrices(networks: Iterable[nn.Module]) -> dict[Tensor, int]:
    """The weights of linear layers and convolutions, each with its number of matrices; no depthwise kernels.

    A kernel `[outputs, inputs, h, w]` is the matrix `[outputs, inputs h w]`; one of a grouped convolution has a matrix
    for each group.
    """
    found: dict[Tensor, int] = {}
    for layer in (module for network in networks for module in network.modules()):
        if isinstance(layer, nn.Linear):
            found[layer.weight] = 1
        elif isinstance(layer, nn.Conv2d) and (layer.groups == 1 or layer.groups < layer.in_channels):
            found[layer.weight] = layer.groups
    return found


def _views(tensor: Tensor, weight: Tensor, count: int) -> tuple[Tensor, ...]:
    """The matrices of a weight, or of a tensor of its shape and memory layout, as views.

    The order of their columns is that of the layout; no order changes an update.
    """
    channels_last = weight.dim() == 4 and weight.is_contiguous(memory_format=torch.channels_last)
    rows = tensor.permute(0, 2, 3, 1) if channels_last else tensor
    return rows.view(len(tensor), -1).chunk(count)

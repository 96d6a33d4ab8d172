"""Optimizers of training stages, and the schedule that sets their learning rate and weight decay."""

from collections.abc import Iterable, Mapping, Sequence
from types import MappingProxyType
from typing import Any

import torch
from torch import Tensor, nn

from .stage import Stage

NO_MATRICES: Mapping[Tensor, int] = MappingProxyType({})
MUON_BUFFER = "momentum_buffer"
"""The name of the momentum in the state of `torch.optim.Muon`."""


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
    """Muon (K. Jordan et al., 2024) on matrices and Adam on all other parameters, both torch's, without weight decay.

    The update of a matrix has orthonormal rows or columns, scaled so that its root mean square is that of Adam's
    updates; so `lr` means the same for both (J. Liu et al., Muon is Scalable for LLM Training, 2025). The state is that
    of one optimizer, by parameter: Muon's momentum has the parameter's shape.
    """

    def __init__(self, stage: Stage, parameters: Sequence[nn.Parameter], matrices: Mapping[Tensor, int]) -> None:
        chosen = [parameter for parameter in parameters if parameter in matrices]
        others = [parameter for parameter in parameters if parameter not in matrices]
        shares = ((chosen, stage.muon_lr), (others, 1.0))
        groups = [{"params": own, "lr_share": share, "lr": stage.lr * share} for own, share in shares]
        super().__init__(groups, {"lr": stage.lr, "weight_decay": 0.0, "decays": False})
        self._counts = [matrices[parameter] for parameter in chosen]
        self._views = [_views(p.detach(), p, count) for p, count in zip(chosen, self._counts, strict=True)]
        views = [view for each in self._views for view in each]
        self._muon = torch.optim.Muon([{"params": views}], weight_decay=0.0, adjust_lr_fn="match_rms_adamw")
        first, second = stage.betas
        self._adam = torch.optim.Adam([{"params": others}], betas=(first, second), eps=stage.epsilon, fused=True)

    @torch.no_grad()
    def step(self, closure: None = None) -> None:  # type: ignore[override]
        """Updates all parameters that have a gradient."""
        matrices, others = self.param_groups
        for parameter, views, count in zip(matrices["params"], self._views, self._counts, strict=True):
            self._link(parameter, views, count)
        for optimizer, group in ((self._muon, matrices), (self._adam, others)):
            optimizer.param_groups[0]["lr"] = group["lr"]
        self._muon.step()
        self._adam.state = self.state
        self._adam.step()

    def _link(self, parameter: nn.Parameter, views: Sequence[Tensor], count: int) -> None:
        """Gives the views of a parameter their parts of its gradient and of its momentum."""
        if parameter.grad is None:
            for view in views:
                view.grad = None
            return
        state = self.state[parameter]
        if MUON_BUFFER not in state:
            state[MUON_BUFFER] = torch.zeros_like(parameter)
        gradient = torch.empty_like(parameter).copy_(parameter.grad)  # in the parameter's own memory layout
        gradients, momenta = (_views(each, parameter, count) for each in (gradient, state[MUON_BUFFER]))
        for view, own, momentum in zip(views, gradients, momenta, strict=True):
            view.grad = own
            self._muon.state[view][MUON_BUFFER] = momentum


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

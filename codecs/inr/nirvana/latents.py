"""Weights as rounded latents, W = z / div * scale, and the learned distribution that gives their rate."""

import math

import torch
from torch import Tensor, nn
from torch.nn import functional

LEAST_PROBABILITY = 1e-10
MOST_BITS = 50.0
"""Most bits of a latent in the loss."""
PARAMETERS = 3
"""Parameters of a stage of the distribution: slope, shift, and the weight of its tanh."""


def rounded(latents: Tensor) -> Tensor:
    """The latents rounded to integers, with a straight-through gradient."""
    return latents + (latents.round() - latents).detach()


class LatentLinear(nn.Module):
    """A linear layer whose weight is z / div * scale, with one latent per weight and one learned scale.

    div is max |round(z)|. When it changes, the scale changes with it, so that the weights stay (our choice: in the
    released code they jump).
    """

    div: Tensor

    def __init__(self, inputs: int, outputs: int, bound: float, latent_bound: float) -> None:
        """`bound`: initial bound of weights and biases, SIREN's; `latent_bound`: that of the latents."""
        super().__init__()
        self.latents = nn.Parameter(torch.empty(outputs, inputs).uniform_(-latent_bound, latent_bound))
        self.bias = nn.Parameter(torch.empty(outputs).uniform_(-bound, bound))
        self.scale = nn.Parameter(torch.full((), bound))
        self.register_buffer("div", torch.full((), latent_bound))

    def forward(self, x: Tensor) -> Tensor:
        """`[N, inputs]` -> `[N, outputs]`."""
        return functional.linear(x, rounded(self.latents) * (self.scale / self.div), self.bias)

    @torch.no_grad()
    def refresh(self) -> None:
        """Sets div to the largest magnitude of a rounded latent, at least 1."""
        largest = self.latents.abs().max().round().clamp(min=1)
        self.scale.mul_(largest / self.div)
        self.div.copy_(largest)


class Distribution(nn.Module):
    """The cumulative distribution function of a layer's latents: a chain of monotone stages and a sigmoid.

    With one stage it is a logistic distribution. Stages are x -> s x + b, all but the last followed by
    x -> x + tanh(a) tanh(x); s = softplus(h) (Ballé et al., ICLR 2018, with a width of 1).
    """

    def __init__(self, stages: int, slope: float) -> None:
        """`slope`: about that of all stages together, at first."""
        super().__init__()
        raw = torch.randn(stages, PARAMETERS) * 0.01
        raw[:, 0] += math.log(math.expm1(slope ** (1 / stages)))
        self.raw = nn.Parameter(raw)

    def stages(self) -> Tensor:
        """softplus(h), b and tanh(a) of every stage: `[stages, PARAMETERS]`."""
        slopes, shifts, gates = self.raw.unbind(1)
        return torch.stack([functional.softplus(slopes), shifts, gates.tanh()], dim=1)

    def bits(self, latents: Tensor) -> Tensor:
        """The bits of all latents together, each with uniform noise in place of rounding."""
        noisy = latents + torch.rand_like(latents) - 0.5
        stages = self.stages()
        upper, lower = (chain(noisy + shift, stages).sigmoid() for shift in (0.5, -0.5))
        return (-(upper - lower + LEAST_PROBABILITY).log2()).clamp(0, MOST_BITS).sum()


def chain(x: Tensor, stages: Tensor) -> Tensor:
    """The logit of the cumulative distribution function at x."""
    for number, (slope, shift, gate) in enumerate(stages.unbind(0)):
        x = x * slope + shift
        if number + 1 < len(stages):
            x = x + gate * x.tanh()
    return x


def siren_bound(inputs: int, w0: float) -> float:
    """SIREN's bound of initial weights after the first layer."""
    return math.sqrt(6 / inputs) / w0

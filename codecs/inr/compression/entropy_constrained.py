"""Entropy-constrained training: L = D + lambda R (C-NeRV, Gomes et al., CVPR 2023; T-NeRV, CVPR 2024, section 4.4).

Every tensor, and every frame's embedding, has a learned scale and offset; the forward pass uses rounded values, with a
straight-through gradient. Learned densities (`entropy/density.py`) give the bits of every rounded symbol, and the
tables of the entropy coder come from them, so the rate in the loss is that of the file. Embeddings and grids are coded
along time instead where that is smaller (`entropy/latent_choice.py`; T-NeRV's DeepCABAC adapts too), so for them it is
an upper bound. Our choice: the gradient of the rate is the expectation of the gradient under uniform noise (the papers'
surrogate) in closed form; weights too small for their own table share a density (all frames share one, and each grid
has its own, as in T-NeRV); scales are learned as logarithms, offsets in symbols.
"""

from collections.abc import Mapping, Sequence

import numpy as np
import torch
from torch import Tensor, nn

from rdbench.errors import BitstreamError, RdbenchError

from ..entropy.ans import Counts
from ..entropy.density import LARGEST_SYMBOL, SYMBOLS, Densities, model_of, pack_tables, table_of, unpack_tables
from ..entropy.latent_choice import decode_latents, encode_latents
from ..entropy.tensor_models import Values, decode_under, encode_under
from ..networks.network import Network, allocate_parameters
from ..recipes.stage import Stage
from .limits import DAMAGED_SECTIONS, DIVERGED, check_network_size
from .scheme import Scheme

LEVELS = 63
"""Levels that span a tensor's range when its quantization begins."""
LOG_LEARNING_RATE = 0.01
"""Least mean learning rate of densities and of the logarithms of scales (our choice)."""
LOG_LEARNING_RATE_EPOCHS = 0.2
"""Least product of that mean learning rate and the epochs of the stage, so that densities and scales converge in short
stages too (our choice)."""
SMALL = 1024
"""Number of elements below which weights share a density (our choice)."""
WARMUP_STEPS = 100
"""Warm-up steps that train the densities on the initial symbols."""
WARMUP_RATE = 0.04
"""Learning rate of the warm-up steps."""
SHARED = "shared"
"""Key of the density that small tensors share."""
PAYLOADS = ("weights", "grids", "embeddings")
"""Sections with symbols."""
LATENTS = PAYLOADS[1:]
"""Sections whose symbols are coded along time (`entropy/latent_choice.py`) where that is smaller."""
NO_TABLE = (0, np.zeros(1, np.int64))
"""Lowest symbol and table of a density that no symbol is coded under."""


class EntropyConstrained(Scheme):
    """Scheme that adds lambda * R to the training stages with a `rate_weight`; earlier stages quantize nothing."""

    sections = frozenset({"scales", "ranges", "table_model", "tables", *PAYLOADS})

    def __init__(self) -> None:
        self._rows: dict[str, int] = {}
        self._groups: list[int] = []
        self._scales, self._offsets = nn.Parameter(torch.zeros(0)), nn.Parameter(torch.zeros(0))
        self._sizes: list[int] = []
        self._tables = torch.zeros(0)
        self._densities: Densities | None = None
        self._gain, self._log_lr_scale = 1.0, 1.0
        self._step: tuple[Mapping[str, Tensor], list[Tensor]] | None = None  # tensors of a step, and their codes

    def enter(self, network: Network, stage: Stage) -> None:
        """Initializes quantizers and densities for a stage with a `rate_weight`."""
        if stage.rate_weight:
            learning_rate = max(LOG_LEARNING_RATE, LOG_LEARNING_RATE_EPOCHS / stage.epochs)
            self._set_up(network, stage.batch, learning_rate / stage.mean_learning_rate)

    def _set_up(self, network: Network, batch: int = 1, log_lr_scale: float = 1.0) -> None:
        self._log_lr_scale = log_lr_scale
        tensors = {name: parameter.detach() for name, parameter in network.named_parameters()}
        self._rows, self._groups = rows_of(network), list(groups_of(network))
        peaks = torch.cat([(part.amax(1) - part.amin(1)) / LEVELS for part in self._parts(tensors)])
        whole = torch.cat([(t.amax() - t.amin()).expand(n) / LEVELS for t, n in self._counted(tensors)])
        # an embedding that is still constant gets a tenth of the scale for all frames together
        self._scales = nn.Parameter(torch.maximum(peaks, 0.1 * whole).clamp(min=1e-8).log() / log_lr_scale)
        self._offsets = nn.Parameter(torch.zeros_like(self._scales))
        self._sizes = [t.numel() for t in tensors.values()]
        middles = torch.tensor(self._groups) * SYMBOLS + LARGEST_SYMBOL
        # made once: a step must not wait for the host
        self._tables = middles.repeat_interleave(torch.tensor(self._sizes)).to(peaks.device)
        # an encoder computes `batch` embeddings per step; the gradient of their rate is scaled up to all frames
        self._gain = max((self._rows[name] for name in network.per_frame), default=1) / batch
        self._initialize_densities(tensors)

    def _counted(self, tensors: Mapping[str, Tensor]) -> list[tuple[Tensor, int]]:
        return [(tensors[name], rows) for name, rows in self._rows.items()]

    def _parts(self, tensors: Mapping[str, Tensor]) -> list[Tensor]:
        """Each tensor as `[rows, elements]`, a quantizer for each row."""
        return [tensor.reshape(rows, -1) for tensor, rows in self._counted(tensors)]

    def _initialize_densities(self, tensors: Mapping[str, Tensor]) -> None:
        """Trains densities on the initial symbols."""
        with torch.no_grad():
            codes = self._codes(tensors)
            places = self._places(codes.round())
            counts = _counted_symbols(places, self._models).float()
        symbols = torch.arange(SYMBOLS, device=codes.device) - LARGEST_SYMBOL
        deviations = ((counts * symbols**2).sum(1) / counts.sum(1)).sqrt()
        self._densities = Densities(deviations, self._log_lr_scale).to(codes.device)
        optimizer = torch.optim.Adam(self._densities.parameters(), lr=WARMUP_RATE / self._log_lr_scale)
        for _ in range(WARMUP_STEPS):
            optimizer.zero_grad()
            ((counts * self._densities.bits()).sum(1) / counts.sum(1)).sum().backward()
            optimizer.step()

    @property
    def _models(self) -> int:
        return max(self._groups) + 1

    def parameters(self) -> Sequence[nn.Parameter]:
        """Scales, offsets and densities, from the first stage with a `rate_weight` on."""
        return [self._scales, self._offsets, *self._densities.parameters()] if self._densities is not None else []

    def state(self) -> dict[str, Tensor]:
        """Scales, offsets and densities."""
        return {str(number): parameter.detach() for number, parameter in enumerate(self.parameters())}

    def load_state(self, state: Mapping[str, Tensor]) -> None:
        """Restores scales, offsets and densities of a checkpoint."""
        with torch.no_grad():
            for number, parameter in enumerate(self.parameters()):
                parameter.copy_(state[str(number)])

    def _quantizers(self) -> tuple[Sequence[Tensor], Sequence[Tensor]]:
        """Scale and offset of each tensor's rows, `[rows, 1]`."""
        rows = list(self._rows.values())
        return (self._scales * self._log_lr_scale).exp()[:, None].split(rows), self._offsets[:, None].split(rows)

    def substitute(self, tensors: Mapping[str, Tensor]) -> Mapping[str, Tensor]:
        """All tensors, quantized; `rate` uses their codes again."""
        if self._densities is None:
            return {}
        quantized = {}
        self._step = (tensors, self._coded_parts(tensors))
        for name, codes, scale, offset in zip(self._rows, self._step[1], *self._quantizers(), strict=True):
            symbols = codes + (codes.round().clamp(-LARGEST_SYMBOL, LARGEST_SYMBOL) - codes).detach()
            quantized[name] = ((symbols - offset) * scale).view_as(tensors[name])
        return quantized

    def _coded_parts(self, tensors: Mapping[str, Tensor]) -> list[Tensor]:
        """Each tensor in units of its scales, before it is rounded, `[rows, elements]`."""
        parts = zip(self._parts(tensors), *self._quantizers(), strict=True)
        return [part / scale + offset for part, scale, offset in parts]

    def _codes(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """All elements in units of their scale, before they are rounded."""
        return torch.cat([codes.flatten() for codes in self._coded_parts(tensors)])

    def _codes_of_step(self, tensors: Mapping[str, Tensor]) -> Tensor:
        """The codes that `substitute` computed for these tensors, with amplified gradients of embeddings."""
        step, self._step = self._step, None  # its graph is needed no longer
        coded = self._coded_parts(tensors) if step is None or step[0] is not tensors else step[1]
        parts = []
        for (name, rows), codes, scale in zip(self._rows.items(), coded, self._quantizers()[0], strict=True):
            if rows > 1:
                part = tensors[name].reshape(rows, -1)
                codes = codes + (self._gain - 1) * (part - part.detach()) / scale.detach()
            parts.append(codes.flatten())
        return torch.cat(parts)

    def _places(self, rounded: Tensor) -> Tensor:
        """Indices of these symbols in the tables of all densities, one after the other."""
        return rounded.clamp(-LARGEST_SYMBOL, LARGEST_SYMBOL).long() + self._tables

    def rate(self, tensors: Mapping[str, Tensor]) -> Tensor | None:
        """The bits of all rounded symbols under the densities.

        The bits are taken as linear in the code x between symbols. Under uniform noise in -1/2..1/2 the expected
        gradient is then a mean of their slopes on both sides of x, weighted by its distance from the symbol.
        """
        if self._densities is None:
            return None
        codes, bits = self._codes_of_step(tensors), self._densities.bits()
        with torch.no_grad():
            rounded = codes.round()
            places = self._places(rounded)
            counts = _counted_symbols(places, len(bits))
            slopes = torch.diff(bits.flatten(), prepend=bits[0, :1], append=bits[-1, -1:])
            slopes[::SYMBOLS] = 0  # not from one table to the next
            beyond = (codes - rounded).clamp(-0.5, 0.5)
            slope = (0.5 - beyond) * slopes[places] + (0.5 + beyond) * slopes[places + 1]
            occurring = (counts.cumsum(1) > 0) & (counts.flip(1).cumsum(1).flip(1) > 0)
        # a table ends with the last symbol that occurs
        inside = torch.where(occurring, torch.exp2(-bits), 0.0).sum(1, keepdim=True)
        return (counts * (bits + inside.log2())).sum() + (slope * (codes - codes.detach())).sum()

    def estimate(self, network: Network) -> float:
        """The bits of the network as in the loss."""
        with torch.no_grad():
            bits = self.rate(dict(network.named_parameters()))
        return 0.0 if bits is None else float(bits)

    @torch.no_grad()
    def write(self, network: Network) -> dict[str, bytes]:
        """Scales and offsets as float32, tables, and the symbols of weights, grids and embeddings."""
        if self._densities is None:
            self._set_up(network)
        assert self._densities is not None
        tensors = dict(network.named_parameters())
        codes = self._codes(tensors).cpu()
        if not bool(codes.isfinite().all()):
            raise RdbenchError(DIVERGED)
        rounded = codes.round().clamp(-LARGEST_SYMBOL, LARGEST_SYMBOL).to(torch.int32)
        parts = zip(rounded.split(self._sizes), tensors.values(), strict=True)
        symbols = [part.view(tensor.shape).numpy() for part, tensor in parts]
        tables = self._symbol_tables(symbols)
        models = [model_of(*table) for table in tables]
        payloads, used = {}, set[int]()
        for payload, places in payloads_of(network).items():
            groups = [self._groups[place] for place in places]
            chosen, own = [symbols[place] for place in places], [models[group] for group in groups]
            if payload in LATENTS:
                payloads[payload], adaptive = encode_latents(chosen, own)
            else:
                payloads[payload], adaptive = encode_under([one.ravel() for one in chosen], own), (False,) * len(own)
            used |= {group for group, other in zip(groups, adaptive, strict=True) if not other}
        sent = [table if number in used else NO_TABLE for number, table in enumerate(tables)]
        return {"scales": self._scale_bytes(), **pack_tables(sent), **payloads}

    def _symbol_tables(self, symbols: Sequence[Values]) -> list[tuple[int, Counts]]:
        """The lowest symbol and the table of each density."""
        assert self._densities is not None
        tables = []
        for number, bits in enumerate(self._densities.bits().double().cpu().numpy()):
            members = [part for part, group in zip(symbols, self._groups, strict=True) if group == number]
            low, high = min(int(part.min()) for part in members), max(int(part.max()) for part in members)
            tables.append((low, table_of(bits, low, high)))
        return tables

    def _scale_bytes(self) -> bytes:
        scales = (self._scales * self._log_lr_scale).exp()
        return torch.stack([scales, self._offsets]).cpu().numpy().astype("<f4").tobytes()

    def read(self, network: Network, sections: Mapping[str, bytes]) -> None:
        """Sets the weights to those of the sections. Raises BitstreamError."""
        check_network_size(network, sections)
        rows, groups = rows_of(network), list(groups_of(network))
        count = sum(rows.values())
        scales = np.frombuffer(sections["scales"] if len(sections["scales"]) == 8 * count else b"", "<f4")
        if len(scales) != 2 * count or not np.isfinite(scales).all():
            raise BitstreamError(DAMAGED_SECTIONS)
        models = list(unpack_tables(sections, max(groups) + 1))
        shapes = [parameter.shape for parameter in network.parameters()]
        symbols: dict[int, Values] = {}
        for payload, places in payloads_of(network).items():
            own, data = [models[groups[place]] for place in places], sections[payload]
            if payload in LATENTS:
                decoded = decode_latents(data, [shapes[place] for place in places], own, LARGEST_SYMBOL)
            else:
                decoded = decode_under(data, list(zip([shapes[place].numel() for place in places], own, strict=True)))
            symbols |= zip(places, decoded, strict=True)
        allocate_parameters(network)
        at = 0
        with torch.no_grad():
            for place, (parameter, n) in enumerate(zip(network.parameters(), rows.values(), strict=True)):
                scale, shift = scales[at : at + n, None], scales[count + at : count + at + n, None]
                values = (symbols[place].reshape(n, -1).astype(np.float32) - shift) * scale
                parameter.copy_(torch.from_numpy(values).view(parameter.shape))
                at += n


def _counted_symbols(places: Tensor, models: int) -> Tensor:
    """How often each symbol of each density occurs, `[models, SYMBOLS]`; `bincount` would wait for a GPU."""
    counts = torch.zeros(models * SYMBOLS, dtype=torch.long, device=places.device)
    return counts.index_add_(0, places, torch.ones_like(places)).view(models, SYMBOLS)


def rows_of(network: Network) -> dict[str, int]:
    """The number of each tensor's quantizers, by its name: one, or one for each frame."""
    return {name: len(p) if name in network.per_frame else 1 for name, p in network.named_parameters()}


def groups_of(network: Network) -> Sequence[int]:
    """The index of each tensor's density: small weights share one; embeddings have one for all frames."""
    numbers: dict[str, int] = {}
    keys = [
        SHARED if parameter.numel() < SMALL and name not in network.latents else name
        for name, parameter in network.named_parameters()
    ]
    return [numbers.setdefault(key, len(numbers)) for key in keys]


def payloads_of(network: Network) -> dict[str, list[int]]:
    """The indices of the tensors in each payload, in the network's order."""
    payloads: dict[str, list[int]] = {name: [] for name in PAYLOADS}
    for place, (name, _) in enumerate(network.named_parameters()):
        kind = "embeddings" if name in network.per_frame else "grids" if name in network.latents else "weights"
        payloads[kind].append(place)
    return payloads

"""Triton kernels of `fused_block`: depthwise convolution, normalization, two pointwise layers with a GELU.

A program computes a tile of rows and columns of one image, `[B, h, w, C]` contiguous, with all its channels; the
neighbors under the depthwise kernel come from the cache. Wide features exist in chunks of hidden units, in registers.
Sums are float32. Widths are padded to powers of two by masks; `kernels` is `[1 or B, taps + 1, C]`, the bias last.
"""

# mypy: ignore-errors
# Triton's decorators and pointers have no types.

import triton
import triton.language as tl

ROOT_HALF = tl.constexpr(0.7071067811865476)
INVERSE_ROOT_TWO_PI = tl.constexpr(0.3989422804014327)


@triton.jit
def _gelu(h):
    return 0.5 * h * (1 + tl.math.erf(h * ROOT_HALF))


@triton.jit
def _gelu_slope(h):
    return 0.5 * (1 + tl.math.erf(h * ROOT_HALF)) + h * INVERSE_ROOT_TWO_PI * tl.exp(-0.5 * h * h)


@triton.jit
def _product(a, b, PRECISION: tl.constexpr):
    """The matrix product in float32; `interpreted`: of float32 copies, since the interpreter has none of bfloat16."""
    if PRECISION == "interpreted":
        return tl.dot(a.to(tl.float32), b.to(tl.float32), input_precision="ieee")
    else:
        return tl.dot(a, b, input_precision=PRECISION)


@triton.jit
def _positions(tile, height, width, TILE_H: tl.constexpr, TILE_W: tl.constexpr):
    """Sample, rows and columns of a tile's pixels; some may lie beyond the image."""
    across = tl.cdiv(width, TILE_W)
    area = across * tl.cdiv(height, TILE_H)
    inner = tile % area
    pixel = tl.arange(0, TILE_H * TILE_W)
    rows = inner // across * TILE_H + pixel // TILE_W
    columns = inner % across * TILE_W + pixel % TILE_W
    return tile // area, rows, columns


@triton.jit
def _addresses(sample, rows, columns, height, width, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    """Offsets of pixels' channels, and which of them exist."""
    channel = tl.arange(0, BLOCK)
    inside = (rows >= 0) & (rows < height) & (columns >= 0) & (columns < width)
    pixel = (tl.cast(sample, tl.int64) * height + rows) * width + columns
    return pixel[:, None] * CHANNELS + channel[None, :], inside[:, None] & (channel < CHANNELS)[None, :]


@triton.jit
def _read(x, sample, rows, columns, height, width, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    at, inside = _addresses(sample, rows, columns, height, width, CHANNELS, BLOCK)
    return tl.load(x + at, mask=inside, other=0.0).to(tl.float32)


@triton.jit
def _inside_frame(mask, sample, rows, columns, height, width):
    """The mask's values at pixels, `[M, 1]`."""
    inside = (rows < height) & (columns < width)
    pixel = (tl.cast(sample, tl.int64) * height + rows) * width + columns
    return tl.load(mask + pixel, mask=inside, other=0).to(tl.float32)[:, None]


@triton.jit
def _kernel_row(kernels, number, CHANNELS: tl.constexpr, BLOCK: tl.constexpr):
    channel = tl.arange(0, BLOCK)
    row = tl.load(kernels + number * CHANNELS + channel, mask=channel < CHANNELS, other=0.0)
    return row.to(tl.float32)[None, :]


@triton.jit
def _normalized(
    x, kernels, sample, rows, columns, height, width, epsilon, IN: tl.constexpr, SIDE: tl.constexpr, BLOCK: tl.constexpr
):
    """Depthwise convolution and normalization of a tile's pixels, `[M, BLOCK]`, and the inverse deviations."""
    u = tl.zeros((rows.shape[0], BLOCK), tl.float32) + _kernel_row(kernels, SIDE * SIDE, IN, BLOCK)
    for tap in range(SIDE * SIDE):  # not unrolled: nine tiles of neighbors at once would not be held in registers
        dy, dx = tap // SIDE - SIDE // 2, tap % SIDE - SIDE // 2
        near = _read(x, sample, rows + dy, columns + dx, height, width, IN, BLOCK)
        u += near * _kernel_row(kernels, tap, IN, BLOCK)
    mean = tl.sum(u, 1)[:, None] / IN
    centered = tl.where((tl.arange(0, BLOCK) < IN)[None, :], u - mean, 0.0)
    inverse = 1 / tl.sqrt(tl.sum(centered * centered, 1)[:, None] / IN + epsilon)
    return centered * inverse, inverse


@triton.jit
def _chunk(
    widen, shift, narrow, start, IN: tl.constexpr, HIDDEN: tl.constexpr, OUT: tl.constexpr,
    BLOCK_IN: tl.constexpr, BLOCK_HIDDEN: tl.constexpr, BLOCK_OUT: tl.constexpr,
):  # fmt: skip
    """Weights of a chunk of hidden units: `[units, BLOCK_IN]`, `[1, units]`, `[units, BLOCK_OUT]`."""
    unit, before, after = start + tl.arange(0, BLOCK_HIDDEN), tl.arange(0, BLOCK_IN), tl.arange(0, BLOCK_OUT)
    real = unit < HIDDEN
    w = tl.load(widen + unit[:, None] * IN + before[None, :], mask=real[:, None] & (before < IN)[None, :], other=0.0)
    v = tl.load(
        narrow + after[None, :] * HIDDEN + unit[:, None], mask=real[:, None] & (after < OUT)[None, :], other=0.0
    )
    return w, tl.load(shift + unit, mask=real, other=0.0).to(tl.float32)[None, :], v


@triton.jit
def forward(
    x, kernels, widen, shift, narrow, last, mask, y, height, width, kernel_stride, epsilon,
    IN: tl.constexpr, HIDDEN: tl.constexpr, OUT: tl.constexpr, SIDE: tl.constexpr, MASKED: tl.constexpr,
    RESIDUAL: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr, BLOCK_IN: tl.constexpr,
    BLOCK_HIDDEN: tl.constexpr, BLOCK_OUT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The block of one tile: reads x, writes y."""
    sample, rows, columns = _positions(tl.program_id(0), height, width, TILE_H, TILE_W)
    own = kernels + sample * kernel_stride
    n, _ = _normalized(x, own, sample, rows, columns, height, width, epsilon, IN, SIDE, BLOCK_IN)
    n = n.to(widen.dtype.element_ty)
    after = tl.arange(0, BLOCK_OUT)
    out = tl.zeros((TILE_H * TILE_W, BLOCK_OUT), tl.float32)
    out += tl.load(last + after, mask=after < OUT, other=0.0).to(tl.float32)[None, :]
    for start in range(0, HIDDEN, BLOCK_HIDDEN):
        w, b, v = _chunk(widen, shift, narrow, start, IN, HIDDEN, OUT, BLOCK_IN, BLOCK_HIDDEN, BLOCK_OUT)
        h = _product(n, tl.trans(w), PRECISION) + b
        out += _product(_gelu(h).to(v.dtype), v, PRECISION)
    if MASKED:
        out *= _inside_frame(mask, sample, rows, columns, height, width)
    if RESIDUAL:
        out += _read(x, sample, rows, columns, height, width, OUT, BLOCK_OUT)
    at, inside = _addresses(sample, rows, columns, height, width, OUT, BLOCK_OUT)
    tl.store(y + at, out.to(y.dtype.element_ty), mask=inside)


@triton.jit
def backward_pixels(
    x, kernels, widen, shift, narrow, mask, given, normalized, to_u, height, width, kernel_stride, epsilon,
    IN: tl.constexpr, HIDDEN: tl.constexpr, OUT: tl.constexpr, SIDE: tl.constexpr, MASKED: tl.constexpr,
    TILE_H: tl.constexpr, TILE_W: tl.constexpr, BLOCK_IN: tl.constexpr, BLOCK_HIDDEN: tl.constexpr,
    BLOCK_OUT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """The gradient of the depthwise convolution's output in one tile: reads x and given, writes n and the gradient."""
    sample, rows, columns = _positions(tl.program_id(0), height, width, TILE_H, TILE_W)
    own = kernels + sample * kernel_stride
    n, inverse = _normalized(x, own, sample, rows, columns, height, width, epsilon, IN, SIDE, BLOCK_IN)
    rounded = n.to(widen.dtype.element_ty)
    g = _read(given, sample, rows, columns, height, width, OUT, BLOCK_OUT)
    if MASKED:
        g *= _inside_frame(mask, sample, rows, columns, height, width)
    g = g.to(rounded.dtype)
    to_n = tl.zeros((TILE_H * TILE_W, BLOCK_IN), tl.float32)
    for start in range(0, HIDDEN, BLOCK_HIDDEN):
        w, b, v = _chunk(widen, shift, narrow, start, IN, HIDDEN, OUT, BLOCK_IN, BLOCK_HIDDEN, BLOCK_OUT)
        h = _product(rounded, tl.trans(w), PRECISION) + b
        to_h = _product(g, tl.trans(v), PRECISION) * _gelu_slope(h)
        to_n += _product(to_h.to(w.dtype), w, PRECISION)
    average = tl.sum(to_n, 1)[:, None] / IN
    along = tl.sum(to_n * n, 1)[:, None] / IN
    at, inside = _addresses(sample, rows, columns, height, width, IN, BLOCK_IN)
    tl.store(normalized + at, rounded, mask=inside)
    tl.store(to_u + at, (inverse * (to_n - average - n * along)).to(to_u.dtype.element_ty), mask=inside)


@triton.jit
def backward_weights(
    normalized, widen, shift, narrow, mask, given, to_widen, to_shift, to_narrow, to_last, pixels,
    IN: tl.constexpr, HIDDEN: tl.constexpr, OUT: tl.constexpr, MASKED: tl.constexpr, TILE: tl.constexpr,
    BLOCK_IN: tl.constexpr, BLOCK_HIDDEN: tl.constexpr, BLOCK_OUT: tl.constexpr, PRECISION: tl.constexpr,
):  # fmt: skip
    """Sums over a part of the pixels for one chunk of hidden units; reads n and given, writes one sum per part."""
    part, start = tl.program_id(0), tl.program_id(1) * BLOCK_HIDDEN
    w, b, v = _chunk(widen, shift, narrow, start, IN, HIDDEN, OUT, BLOCK_IN, BLOCK_HIDDEN, BLOCK_OUT)
    of_w = tl.zeros((BLOCK_HIDDEN, BLOCK_IN), tl.float32)
    of_v = tl.zeros((BLOCK_HIDDEN, BLOCK_OUT), tl.float32)
    of_b, of_last = tl.zeros((BLOCK_HIDDEN,), tl.float32), tl.zeros((BLOCK_OUT,), tl.float32)
    zero = tl.zeros((TILE,), tl.int32)
    for tile in range(part, tl.cdiv(pixels, TILE), tl.num_programs(0)):
        column = tile * TILE + tl.arange(0, TILE)
        n = _read(normalized, 0, zero, column, 1, pixels, IN, BLOCK_IN).to(w.dtype)
        g = _read(given, 0, zero, column, 1, pixels, OUT, BLOCK_OUT)
        if MASKED:
            g *= _inside_frame(mask, 0, zero, column, 1, pixels)
        of_last += tl.sum(g, 0)
        g = g.to(w.dtype)
        h = _product(n, tl.trans(w), PRECISION) + b
        to_h = _product(g, tl.trans(v), PRECISION) * _gelu_slope(h)
        of_b += tl.sum(to_h, 0)
        of_w += _product(tl.trans(to_h.to(w.dtype)), n, PRECISION)
        of_v += _product(tl.trans(_gelu(h).to(w.dtype)), g, PRECISION)
    unit, before, after = start + tl.arange(0, BLOCK_HIDDEN), tl.arange(0, BLOCK_IN), tl.arange(0, BLOCK_OUT)
    real, row = unit < HIDDEN, part * HIDDEN + unit
    tl.store(to_widen + row[:, None] * IN + before[None, :], of_w, mask=real[:, None] & (before < IN)[None, :])
    tl.store(to_narrow + row[:, None] * OUT + after[None, :], of_v, mask=real[:, None] & (after < OUT)[None, :])
    tl.store(to_shift + row, of_b, mask=real)
    tl.store(to_last + part * OUT + after, of_last, mask=(after < OUT) & (start == 0))


@triton.jit
def backward_depthwise(
    x, kernels, given, to_u, to_x, to_kernels, height, width, kernel_stride, parts,
    IN: tl.constexpr, SIDE: tl.constexpr, RESIDUAL: tl.constexpr, TILE_H: tl.constexpr, TILE_W: tl.constexpr,
    BLOCK_IN: tl.constexpr, BLOCK_TAPS: tl.constexpr,
):  # fmt: skip
    """Gradients of x, and of a part of the sums of the kernels; reads x, to_u and given, writes to_x."""
    sample, part = tl.program_id(0) // parts, tl.program_id(0) % parts
    tiles = tl.cdiv(height, TILE_H) * tl.cdiv(width, TILE_W)
    own, tap = kernels + sample * kernel_stride, tl.arange(0, BLOCK_TAPS)[:, None]
    sums = tl.zeros((BLOCK_TAPS, BLOCK_IN), tl.float32)
    for tile in range(part, tiles, parts):
        _, rows, columns = _positions(tile, height, width, TILE_H, TILE_W)
        center = _read(to_u, sample, rows, columns, height, width, IN, BLOCK_IN)
        sums += tl.where(tap == SIDE * SIDE, tl.sum(center, 0)[None, :], 0.0)
        out = tl.zeros((TILE_H * TILE_W, BLOCK_IN), tl.float32)
        for number in range(SIDE * SIDE):
            dy, dx = number // SIDE - SIDE // 2, number % SIDE - SIDE // 2
            near = _read(to_u, sample, rows - dy, columns - dx, height, width, IN, BLOCK_IN)
            out += near * _kernel_row(own, number, IN, BLOCK_IN)
            product = center * _read(x, sample, rows + dy, columns + dx, height, width, IN, BLOCK_IN)
            sums += tl.where(tap == number, tl.sum(product, 0)[None, :], 0.0)
        if RESIDUAL:
            out += _read(given, sample, rows, columns, height, width, IN, BLOCK_IN)
        at, inside = _addresses(sample, rows, columns, height, width, IN, BLOCK_IN)
        tl.store(to_x + at, out.to(to_x.dtype.element_ty), mask=inside)
    channel = tl.arange(0, BLOCK_IN)[None, :]
    first = to_kernels + tl.program_id(0) * (SIDE * SIDE + 1) * IN
    tl.store(first + tap * IN + channel, sums, mask=(tap <= SIDE * SIDE) & (channel < IN))

"""The kernels of facerecon.render.backends.triton_cuda: the same arithmetic as numba_cpu, in the same order."""

import triton
import triton.language as tl

# Values of these decide nothing that is worth compiling a kernel again for.
_SIZES = ["vertex_count", "triangle_count", "width", "height", "pixels", "blocks", "channels", "count", "steps"]


@triton.jit(do_not_specialize=_SIZES)
def draw_small(
    nearest,
    large,
    large_count,
    vertices,
    triangles,
    vertex_count,
    triangle_count,
    height,
    width,
    pixels,
    steps,
    blocks,
    CULL: tl.constexpr,
    LARGEST: tl.constexpr,
    TRIANGLES: tl.constexpr,
):
    """Draws triangles with small boxes, one a lane, and lists the others in `large` as image * triangle_count + f."""
    image = (tl.program_id(0) // blocks).to(tl.int64)
    f = (tl.program_id(0) % blocks) * TRIANGLES + tl.arange(0, TRIANGLES)[:, None]
    nearest += image * pixels
    vertices += image * vertex_count * 3
    mask, entry = f < triangle_count, image * triangle_count + f
    _draw(nearest, large, large_count, vertices, triangles, f, mask, entry, height, width, steps, CULL, LARGEST, 1)


@triton.jit(do_not_specialize=_SIZES)
def draw_large(
    nearest,
    large,
    large_count,
    vertices,
    triangles,
    vertex_count,
    triangle_count,
    height,
    width,
    pixels,
    steps,
    CULL: tl.constexpr,
    PIXELS: tl.constexpr,
):
    """Draws the listed triangles, one a program and step, its lanes side by side."""
    total = tl.load(large_count)
    item = tl.program_id(0).to(tl.int64)
    while item < total:
        entry = tl.load(large + item)
        image = entry // triangle_count
        f = (entry % triangle_count).to(tl.int32) + tl.zeros((1, 1), tl.int32)
        seen, points = nearest + image * pixels, vertices + image * vertex_count * 3
        _draw(seen, large, large_count, points, triangles, f, f >= 0, entry, height, width, steps, CULL, 0, PIXELS)
        item += tl.num_programs(0)


@triton.jit
def _draw(
    nearest,
    large,
    large_count,
    vertices,
    triangles,
    f,
    mask,
    entry,
    height,
    width,
    steps,
    CULL: tl.constexpr,
    LARGEST: tl.constexpr,
    PIXELS: tl.constexpr,
):
    """Draws triangles f (T, 1) of one image, PIXELS of each at a time.

    A pixel's nearest surface is the atomic maximum over triangles of one number: the bits of float32 1/z, which order
    positive numbers as they are ordered, above 2^31 - 1 - f, so that of equal depths the first triangle wins. That is
    what drawing in turn gives that lets a triangle win only if it is nearer than all before it.
    LARGEST: triangles with more pixels in their box are listed instead, by their `entry`; 0 draws them all.
    """
    i, j, k = _corner_indices(triangles, f, mask)
    x0, y0, z0 = _grid_point(vertices, i, mask, steps)
    x1, y1, z1 = _grid_point(vertices, j, mask, steps)
    x2, y2, z2 = _grid_point(vertices, k, mask, steps)
    area = (x2 - x0) * (y1 - y0) - (x1 - x0) * (y2 - y0)
    nearest_z, farthest_z = tl.minimum(tl.minimum(z0, z1), z2), tl.maximum(tl.maximum(z0, z1), z2)
    # Minimum and maximum pass over NaN: z == z does not.
    mask = mask & (z0 == z0) & (z1 == z1) & (z2 == z2) & (nearest_z > 0) & (farthest_z < float("inf"))
    # Neither zero, nor infinite, nor NaN, as follows from coordinates that are not finite.
    mask = mask & (tl.abs(area) > 0) & (tl.abs(area) < float("inf"))
    if CULL:
        mask = mask & (area > 0)
    behind = area < 0
    x1, x2 = tl.where(behind, x2, x1), tl.where(behind, x1, x2)
    y1, y2 = tl.where(behind, y2, y1), tl.where(behind, y1, y2)
    z1, z2 = tl.where(behind, z2, z1), tl.where(behind, z1, z2)
    area = tl.where(mask, tl.abs(area), 1.0)
    # Pixels whose centre lies in the bounding box.
    left = tl.maximum(_first_centre(tl.minimum(tl.minimum(x0, x1), x2), mask), 0)
    top = tl.maximum(_first_centre(tl.minimum(tl.minimum(y0, y1), y2), mask), 0)
    right = tl.minimum(_last_centre(tl.maximum(tl.maximum(x0, x1), x2), mask), width - 1)
    bottom = tl.minimum(_last_centre(tl.maximum(tl.maximum(y0, y1), y2), mask), height - 1)
    mask = mask & (left <= right) & (top <= bottom)
    columns = tl.where(mask, right - left + 1, 1)
    box = tl.where(mask, columns * (bottom - top + 1), 0)
    if LARGEST > 0:
        is_large = box > LARGEST
        slot = tl.atomic_add(large_count + tl.zeros_like(f), is_large.to(tl.int64), mask=is_large, sem="relaxed")
        tl.store(large + slot, entry, mask=is_large)
        box = tl.where(is_large, 0, box)

    ax0, ay0, dx0, dy0, owns0 = _edge(x1, y1, x2, y2)
    ax1, ay1, dx1, dy1, owns1 = _edge(x2, y2, x0, y0)
    ax2, ay2, dx2, dy2, owns2 = _edge(x0, y0, x1, y1)
    weight0 = 1.0 / (area * tl.where(mask, z0, 1.0))
    weight1 = 1.0 / (area * tl.where(mask, z1, 1.0))
    weight2 = 1.0 / (area * tl.where(mask, z2, 1.0))
    first = 0
    most = tl.max(tl.max(box, axis=1), axis=0)
    while first < most:
        place = first + tl.arange(0, PIXELS)[None, :]
        row, column = top + place // columns, left + place % columns
        x, y = column.to(tl.float64) + 0.5, row.to(tl.float64) + 0.5
        e0 = dy0 * (x - ax0) - dx0 * (y - ay0)
        e1 = dy1 * (x - ax1) - dx1 * (y - ay1)
        e2 = dy2 * (x - ax2) - dx2 * (y - ay2)
        inside = (e0 > 0) | ((e0 == 0) & owns0)
        inside = inside & ((e1 > 0) | ((e1 == 0) & owns1))
        inside = inside & ((e2 > 0) | ((e2 == 0) & owns2))
        inverse = (e0 * weight0 + e1 * weight1 + e2 * weight2).to(tl.float32)
        nearness = (inverse.to(tl.int32, bitcast=True).to(tl.int64) << 32) | (0x7FFFFFFF - f).to(tl.int64)
        seen = (place < box) & inside & (inverse > 0)
        tl.atomic_max(nearest + row.to(tl.int64) * width + column, nearness, mask=seen, sem="relaxed")
        first += PIXELS


@triton.jit
def _corner_indices(triangles, f, mask):
    start = triangles + f.to(tl.int64) * 3
    i = tl.load(start, mask=mask, other=0)
    j = tl.load(start + 1, mask=mask, other=0)
    k = tl.load(start + 2, mask=mask, other=0)
    return i.to(tl.int64), j.to(tl.int64), k.to(tl.int64)


@triton.jit
def _grid_point(vertices, index, mask, steps):
    """x and y of a vertex rounded to the grid, and z, in float64."""
    x = tl.load(vertices + index * 3, mask=mask, other=0.0).to(tl.float64)
    y = tl.load(vertices + index * 3 + 1, mask=mask, other=0.0).to(tl.float64)
    z = tl.load(vertices + index * 3 + 2, mask=mask, other=1.0).to(tl.float64)
    step = 1.0 / tl.cast(steps, tl.float64)
    return tl.floor(x * steps + 0.5) * step, tl.floor(y * steps + 0.5) * step, z


@triton.jit
def _first_centre(lowest, mask):
    """First row or column whose centre is not below a coordinate. Casting a huge number or NaN would be undefined."""
    return tl.ceil(tl.minimum(tl.maximum(tl.where(mask, lowest, 0.0) - 0.5, -1.0), 2147483520.0)).to(tl.int32)


@triton.jit
def _last_centre(highest, mask):
    return tl.floor(tl.minimum(tl.maximum(tl.where(mask, highest, 0.0) - 0.5, -1.0), 2147483520.0)).to(tl.int32)


@triton.jit
def _edge(ax, ay, bx, by):
    """Origin and direction of the edge function dy (x - ax) - dx (y - ay) of an edge a to b, and whether 0 is inside.

    Evaluated from the same end by both triangles at the edge: see numba_cpu.
    """
    forward = (ay < by) | ((ay == by) & (ax > bx))
    return tl.where(forward, ax, bx), tl.where(forward, ay, by), bx - ax, by - ay, forward


@triton.jit(do_not_specialize=_SIZES)
def unpack(nearest, triangle_index, depth, count, BLOCK: tl.constexpr):
    """What `_draw` has left in `nearest`, as index and depth."""
    offset = tl.program_id(0).to(tl.int64) * BLOCK + tl.arange(0, BLOCK)
    mask = offset < count
    nearness = tl.load(nearest + offset, mask=mask, other=0)
    seen = nearness > 0
    inverse = (nearness >> 32).to(tl.int32).to(tl.float32, bitcast=True)
    f = 0x7FFFFFFF - (nearness & 0x7FFFFFFF).to(tl.int32)
    tl.store(triangle_index + offset, tl.where(seen, f, -1), mask=mask)
    z = tl.div_rn(1.0, tl.where(seen, inverse, 1.0))
    tl.store(depth + offset, tl.where(seen, z, float("inf")), mask=mask)


@triton.jit
def _inverse(a):
    """1 / a rounded to the nearest: for float32 the plain operator is a faster, less exact one."""
    if a.dtype == tl.float32:
        return tl.div_rn(1.0, a)
    else:
        return 1.0 / a


@triton.jit
def _visible(triangle_index, vertices, triangles, vertex_count, width, pixels, blocks, BLOCK: tl.constexpr):
    """Pixels of a program and the triangles seen in them.

    Returns the image's number; the pixels' offsets in the batch, whether they exist and whether a triangle is seen;
    its corner indices; and the corners' positions relative to the pixel's centre and z, in the vertices' dtype.
    """
    image = (tl.program_id(0) // blocks).to(tl.int64)
    place = (tl.program_id(0) % blocks) * BLOCK + tl.arange(0, BLOCK)
    exists = place < pixels
    offset = image * pixels + place
    f = tl.load(triangle_index + offset, mask=exists, other=-1)
    seen = f >= 0
    i, j, k = _corner_indices(triangles, f, seen)
    dtype = vertices.dtype.element_ty
    x, y = (place % width).to(dtype) + 0.5, (place // width).to(dtype) + 0.5
    start = vertices + image * vertex_count * 3
    x0, y0, z0 = _relative_point(start, i, seen, x, y)
    x1, y1, z1 = _relative_point(start, j, seen, x, y)
    x2, y2, z2 = _relative_point(start, k, seen, x, y)
    return image, offset, exists, seen, i, j, k, x0, y0, z0, x1, y1, z1, x2, y2, z2


@triton.jit
def _relative_point(vertices, index, seen, x, y):
    own_x = tl.load(vertices + index * 3, mask=seen, other=0.0)
    own_y = tl.load(vertices + index * 3 + 1, mask=seen, other=0.0)
    return own_x - x, own_y - y, tl.load(vertices + index * 3 + 2, mask=seen, other=1.0)


@triton.jit
def _weights(x0, y0, z0, x1, y1, z1, x2, y2, z2):
    """Weights, s_i and 1 / sum(u), or zeros: see numba_cpu."""
    s0, s1, s2 = _inverse(z0), _inverse(z1), _inverse(z2)
    u0, u1, u2 = (x1 * y2 - x2 * y1) * s0, (x2 * y0 - x0 * y2) * s1, (x0 * y1 - x1 * y0) * s2
    total = u0 + u1 + u2
    scale = _inverse(total)
    usable = (tl.abs(total) < float("inf")) & (tl.abs(scale) < float("inf"))
    # By selection: a product with zero would keep NaN.
    w0, w1, w2 = tl.where(usable, u0 * scale, 0.0), tl.where(usable, u1 * scale, 0.0), tl.where(usable, u2 * scale, 0.0)
    s0, s1, s2 = tl.where(usable, s0, 0.0), tl.where(usable, s1, 0.0), tl.where(usable, s2, 0.0)
    return w0, w1, w2, s0, s1, s2, tl.where(usable, scale, 0.0)


@triton.jit(do_not_specialize=_SIZES)
def interpolate(
    values,
    triangle_index,
    vertices,
    triangles,
    attributes,
    vertex_count,
    width,
    pixels,
    blocks,
    channels,
    BLOCK: tl.constexpr,
):
    image, offset, exists, seen, i, j, k, x0, y0, z0, x1, y1, z1, x2, y2, z2 = _visible(
        triangle_index, vertices, triangles, vertex_count, width, pixels, blocks, BLOCK
    )
    w0, w1, w2, _, _, _, _ = _weights(x0, y0, z0, x1, y1, z1, x2, y2, z2)
    attributes += image * vertex_count * channels
    channel = 0
    while channel < channels:
        p = tl.load(attributes + i * channels + channel, mask=seen, other=0.0)
        q = tl.load(attributes + j * channels + channel, mask=seen, other=0.0)
        r = tl.load(attributes + k * channels + channel, mask=seen, other=0.0)
        value = tl.where(seen, w0 * p + w1 * q + w2 * r, 0.0)
        tl.store(values + offset * channels + channel, value, mask=exists)
        channel += 1


@triton.jit(do_not_specialize=_SIZES)
def interpolate_backward(
    gradient,
    triangle_index,
    vertices,
    triangles,
    attributes,
    vertices_gradient,
    attributes_gradient,
    vertex_count,
    width,
    pixels,
    blocks,
    channels,
    BLOCK: tl.constexpr,
    TO_VERTICES: tl.constexpr,
    TO_ATTRIBUTES: tl.constexpr,
):
    """Adds to the gradients of vertices if TO_VERTICES, and of attributes if TO_ATTRIBUTES."""
    image, offset, _, seen, i, j, k, x0, y0, z0, x1, y1, z1, x2, y2, z2 = _visible(
        triangle_index, vertices, triangles, vertex_count, width, pixels, blocks, BLOCK
    )
    w0, w1, w2, s0, s1, s2, scale = _weights(x0, y0, z0, x1, y1, z1, x2, y2, z2)
    attributes += image * vertex_count * channels
    attributes_gradient += image * vertex_count * channels
    # h = dL/dw.
    h0, h1, h2 = tl.zeros_like(w0), tl.zeros_like(w0), tl.zeros_like(w0)
    channel = 0
    while channel < channels:
        p, q, r = i * channels + channel, j * channels + channel, k * channels + channel
        g = tl.load(gradient + offset * channels + channel, mask=seen, other=0.0)
        if TO_VERTICES:
            h0 += g * tl.load(attributes + p, mask=seen, other=0.0)
            h1 += g * tl.load(attributes + q, mask=seen, other=0.0)
            h2 += g * tl.load(attributes + r, mask=seen, other=0.0)
        if TO_ATTRIBUTES:
            tl.atomic_add(attributes_gradient + p, g * w0, mask=seen, sem="relaxed")
            tl.atomic_add(attributes_gradient + q, g * w1, mask=seen, sem="relaxed")
            tl.atomic_add(attributes_gradient + r, g * w2, mask=seen, sem="relaxed")
        channel += 1
    if TO_VERTICES:
        # Through w = u / sum(u): h - mean is dL/du times sum(u); e = dL/de.
        mean = h0 * w0 + h1 * w1 + h2 * w2
        h0, h1, h2 = h0 - mean, h1 - mean, h2 - mean
        e0, e1, e2 = h0 * scale * s0, h1 * scale * s1, h2 * scale * s2
        start = vertices_gradient + image * vertex_count * 3
        _add_point(start, i, seen, e2 * y1 - e1 * y2, e1 * x2 - e2 * x1, -h0 * w0 * s0)
        _add_point(start, j, seen, e0 * y2 - e2 * y0, e2 * x0 - e0 * x2, -h1 * w1 * s1)
        _add_point(start, k, seen, e1 * y0 - e0 * y1, e0 * x1 - e1 * x0, -h2 * w2 * s2)


@triton.jit
def _add_point(gradient, index, seen, x, y, z):
    tl.atomic_add(gradient + index * 3, x, mask=seen, sem="relaxed")
    tl.atomic_add(gradient + index * 3 + 1, y, mask=seen, sem="relaxed")
    tl.atomic_add(gradient + index * 3 + 2, z, mask=seen, sem="relaxed")

"""The loss terms that have no original to be held against."""

import numpy as np
import torch

from rdbench.codecs.inr.recipes.losses import loss_of

EDGES = ((1.0, "edges"),)


def test_edges_are_errors_of_differences_between_neighbors() -> None:
    output, target = torch.rand(2, 3, 5, 7), torch.rand(2, 3, 5, 7)
    a, b = (image.double().numpy() for image in (output, target))
    across = np.abs((a[..., 1:] - a[..., :-1]) - (b[..., 1:] - b[..., :-1])).sum()
    down = np.abs((a[..., 1:, :] - a[..., :-1, :]) - (b[..., 1:, :] - b[..., :-1, :])).sum()
    assert np.isclose(float(loss_of(EDGES, output, target)), (across + down) / a.size)


def test_edges_ignore_brightness_and_take_images_of_one_pixel() -> None:
    target = torch.rand(1, 3, 4, 4)
    assert float(loss_of(EDGES, target + 0.25, target)) < 1e-6
    assert float(loss_of(EDGES, torch.zeros(1, 3, 1, 1), torch.ones(1, 3, 1, 1))) == 0

"""Decoding is quick enough for sampling: measured in the processor's time, which other work leaves be."""

import time

import torch

from facerecon.morphable.storage import load_open_model

IDENTITIES, BATCH = 1000, 50


def test_a_thousand_identities_at_level_2_take_under_a_second_and_a_half() -> None:
    model = load_open_model(level=2)
    identity, expression = torch.randn(IDENTITIES, 80), torch.zeros(IDENTITIES, 64)
    taken = []
    with torch.no_grad():
        for _ in range(2):
            start = time.process_time()
            for k in range(0, IDENTITIES, BATCH):
                model.decode(identity[k : k + BATCH], expression[k : k + BATCH])
            taken.append(time.process_time() - start)
    assert min(taken) < 1.5  # s of one core

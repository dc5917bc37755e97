"""Progress of long work: a live line on a terminal, a plain line every few seconds elsewhere."""

import sys
import time
from collections.abc import Iterable, Iterator
from typing import TypeVar

T = TypeVar("T")


class Progress:
    """Counts work done and prints label, done/total, rate and remaining time on stderr.

    interval: seconds between plain lines when stderr is not a terminal (a terminal is refreshed five times a second).
    """

    def __init__(self, label: str, total: int, unit: str = "images", interval: float = 10.0, done: int = 0):
        self.label, self.total, self.unit = label, total, unit
        self.interval = 0.2 if sys.stderr.isatty() else interval
        self.done = self._first = done
        self._start = self._shown = time.monotonic()

    def advance(self, count: int = 1, note: str = "") -> None:
        """Record `count` finished items; print if the interval has passed or all is done."""
        self.done += count
        now = time.monotonic()
        finished = self.done >= self.total
        if not finished and now - self._shown < self.interval:
            return
        self._shown = now
        rate = (self.done - self._first) / max(now - self._start, 1e-9)
        remaining = (self.total - self.done) / rate if rate > 0 else float("inf")
        text = f"{self.label}: {self.done}/{self.total} {self.unit}, {rate:.1f} {self.unit}/s"
        text += f", {now - self._start:.0f} s" if finished else f", ETA {_clock(remaining)}"
        text += f", {note}" if note else ""
        if sys.stderr.isatty():
            print(f"\r\x1b[K{text}", end="\n" if finished else "", file=sys.stderr, flush=True)
        else:
            print(text, file=sys.stderr, flush=True)


def track(items: Iterable[T], label: str, total: int, unit: str = "images") -> Iterator[T]:
    """Iterate over `items`, reporting progress."""
    progress = Progress(label, total, unit)
    for item in items:
        yield item
        progress.advance()


def _clock(seconds: float) -> str:
    if seconds == float("inf"):
        return "unknown"
    minutes, seconds = divmod(int(seconds + 0.5), 60)
    return f"{minutes} min {seconds:02d} s" if minutes else f"{seconds} s"

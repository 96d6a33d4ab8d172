"""Video in and out: files, planes, color, test conditions, ffmpeg. Plugins import `Video` and its parts from here.

The names are imported when they are first used, so that finding ffmpeg needs no numpy.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .video import BATCH, Chroma, Frames, Plane, Video, VideoFormat

__all__ = ["BATCH", "Chroma", "Frames", "Plane", "Video", "VideoFormat"]


def __getattr__(name: str) -> object:
    if name not in __all__:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(".video", __name__), name)

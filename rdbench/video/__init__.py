"""Video in and out: files, planes, color, test conditions, ffmpeg. What plugins import is here: `Video`, its parts."""

from .video import BATCH, Chroma, Frames, Plane, Video, VideoFormat

__all__ = ["BATCH", "Chroma", "Frames", "Plane", "Video", "VideoFormat"]

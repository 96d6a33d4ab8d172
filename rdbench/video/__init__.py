"""Video in and out: files, planes, color, test conditions, ffmpeg. Plugins import `Video` and its parts from here."""

from .video import BATCH, Chroma, Frames, Plane, Video, VideoFormat

__all__ = ["BATCH", "Chroma", "Frames", "Plane", "Video", "VideoFormat"]

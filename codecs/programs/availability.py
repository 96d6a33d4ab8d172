"""Whether this machine's ffmpeg has an encoder; for the cards, so it needs no numpy."""

from rdbench.card import Host
from rdbench.errors import MediaError
from rdbench.video.ffmpeg_program import ffmpeg_encoders, find_ffmpeg


def lacks_encoder(host: Host, encoder: str) -> str | None:
    """None if this machine's ffmpeg has the encoder, else a sentence with the remedy."""
    try:
        program = find_ffmpeg(host.ffmpeg)
        known = ffmpeg_encoders(program)
    except MediaError as error:
        return str(error)
    if encoder in known:
        return None
    return f"{program} was built without {encoder}; leave --ffmpeg out, or give one that has it."

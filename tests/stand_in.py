"""A stand-in for HM: programs that talk, log and fail like it, and code 64x48 pictures by writing them out."""

import stat
import sys
from pathlib import Path

import numpy as np

from rdbench.video import Frames, VideoFormat
from rdbench.video.readers import MemoryVideo

WIDTH, HEIGHT = 64, 48

_COMMON = '''#!{python}
"""HM's stand-in. FAIL in the environment: kill, log, md5, recon, crash, cut."""
import hashlib, os, re, signal, sys
FAIL = os.environ.get("STAND_IN_FAIL", "")
SIZE = 64 * 48 * 3 // 2
# Parameter sets and a flat IDR slice of 64x48, so that ffmpeg can tell the format.
FIRST = bytes.fromhex(
    "0000000140010c08ffff016000000300000300000300000300ba0000bc8a5731262c09000000014201080160000003000003"
    "00000300000300ba0000a02083165bc8a5731262e491b60b384210c23c4f97ecfd7cd9e5fe8f329c97dfe8f3672febc28430"
    "8e2797b640000000014401c1a55811200000012601af0860f195cef78538")
def escape(data): return re.sub(rb"\\x00\\x00(?=[\\x00-\\x03])", b"\\0\\0\\3", data)
def unescape(data): return data.replace(b"\\0\\0\\3", b"\\0\\0")
def header(*codes):
    text = "".join(codes)
    return int(text.ljust(-(-len(text) // 8) * 8, "1"), 2).to_bytes(-(-len(text) // 8), "big")
def sei(picture):
    return b"\\0\\0\\1" + escape(b"\\x50\\x01" + bytes([132, 17, 0]) + hashlib.md5(picture).digest() + b"\\x80")
'''

_ENCODER = (
    _COMMON
    + """
print("HM software: Encoder Version [{version}] (including RExt)[Linux][GCC 12.2.0][64 bit]")
options = dict(a[2:].split("=", 1) for a in sys.argv[1:] if a.startswith("--"))
if not options: sys.exit(1)
if FAIL == "crash": sys.exit("Error: the stand-in broke")
start, count, period = (int(options[k]) for k in ("FrameSkip", "FramesToBeEncoded", "IntraPeriod"))
video = open(options["InputFile"], "rb").read()
assert len(video) % SIZE == 0 and start * SIZE + count * SIZE <= len(video)
pictures = [video[(start + i) * SIZE : (start + i + 1) * SIZE] for i in range(count)]
with open(options["BitstreamFile"], "wb") as stream, open(options["ReconFile"], "wb") as recon:
    for i, picture in enumerate(pictures):
        if FAIL == "kill" and i == 2:
            sys.stdout.flush(); os.kill(os.getpid(), signal.SIGKILL)
        poc = format(i % 256, "08b")
        if i == 0: unit = FIRST + escape(picture) + b"\\x80"
        elif i % period == 0:
            unit = b"\\0\\0\\1" + escape(b"\\x2a\\1" + header("1", "0", "1", "011", poc) + picture + b"\\x80")
        else: unit = b"\\0\\0\\1" + escape(b"\\2\\1" + header("1", "1", "1", poc) + picture + b"\\x80")
        stream.write(unit + sei(picture if FAIL != "md5" or i != 3 else b""))
        recon.write(picture if FAIL != "recon" or i != 3 else picture[::-1])
        if FAIL != "log":
            print("POC %4d TId: 0 ( B-SLICE, nQP 29 QP 29 ) %10d bits [Y 43.8523 dB    U 36.8901 dB    V 37.3816 dB]"
                  " [ET     0 ] [L0 ] [L1 ]" % (i, 8 * len(unit)), flush=True)
print("\\tTotal Frames |   Bitrate     Y-PSNR    U-PSNR    V-PSNR    YUV-PSNR ")
print("\\t %8d    a     28.7556   41.2271   36.9125   35.9418   39.1436" % count)
print(" Total Time:        0.669 sec.")
"""
)

_DECODER = (
    _COMMON
    + """
print("HM software: Decoder Version [{version}] (including RExt)[Linux][GCC 12.2.0][64 bit]")
options = dict(zip(sys.argv[1::2], sys.argv[2::2]))
if not options: sys.exit(1)
assert os.listdir(".") == [], os.listdir(".")
assert options["-d"] == "0"
units = [u for u in re.split(rb"\\x00?\\x00\\x00\\x01", open(options["-b"], "rb").read()) if u]
pictures, wrong = {{}}, 0
for unit in units:
    kind, data = unit[0] >> 1 & 63, unescape(unit)
    if kind < 32:
        skip = len(FIRST.split(b"\\0\\0\\1")[-1]) if kind == 19 else 2 + len(header("1", "0" if kind == 21 else "",
            "1", "011" if kind == 21 else "1", "0" * 8))
        last = data[skip:-1]
        if len(last) != SIZE: sys.exit("ERROR: Exceeded FIFO size")
        bits = format(int.from_bytes(data[2:5], "big"), "024b")
        lsb = 0 if kind == 19 else int(bits[6:14] if kind == 21 else bits[3:11], 2)
        poc = lsb if not pictures else max(pictures) - (max(pictures) - lsb + 128) % 256 + 128
        assert poc not in pictures, poc
        pictures[poc] = last
        verdict = "[:,(unk)]"
    elif kind == 40:
        good = data[5:21] == hashlib.md5(last).digest()
        verdict = "[MD5:%s,(%s)]" % (data[5:21].hex(), "OK" if good else "***ERROR***")
        wrong += not good
    else: continue
    if kind == 40 or unit is units[-1] or (units[units.index(unit) + 1][0] >> 1 & 63) != 40:
        print("POC %4d TId: 0 ( B-SLICE, QP 29 ) [DT  0.000] [L0 ] [L1 ] %s" % (poc, verdict))
with open(options["-o"], "wb") as out:
    for poc in sorted(pictures): out.write(pictures[poc])
sys.exit(1 if wrong else 0)
"""
)


def make_hm(folder: Path, version: str = "18.0", decoder_version: str | None = None) -> Path:
    """`folder`/bin with the two programs and `folder`/cfg with files of our own; returns bin."""
    programs, cfg = folder / "bin", folder / "cfg"
    programs.mkdir(parents=True)
    cfg.mkdir()
    for name in ("randomaccess_main", "randomaccess_main10", "lowdelay_main", "randomaccess_main_rext", "intra_main"):
        gop = 16 if name.startswith("random") else 1
        (cfg / f"encoder_{name}.cfg").write_text(f"#=== ours ===\nGOPSize    : {gop}  # pictures\nIntraPeriod: 32\n")
    write_program(programs / "TAppEncoderStatic", _ENCODER.format(python=sys.executable, version=version))
    version = decoder_version or version
    write_program(programs / "TAppDecoderStatic", _DECODER.format(python=sys.executable, version=version))
    return programs


def write_program(path: Path, text: str) -> Path:
    """A file that can be run."""
    path.write_text(text)
    path.chmod(path.stat().st_mode | stat.S_IXUSR)
    return path


def waves(fmt: VideoFormat, frames: int) -> MemoryVideo:
    """Smooth waves that move; every frame differs from every other."""
    planes = []
    for k, (h, w) in enumerate(fmt.plane_shapes):
        t, y, x = np.mgrid[:frames, :h, :w]
        wave = 0.5 + 0.45 * np.sin((x + 3 * t) / (7 + 3 * k)) * np.cos((y + t) / 9)
        planes.append(np.rint(wave * fmt.peak).astype(fmt.dtype))
    return MemoryVideo(fmt, Frames(tuple(planes)))

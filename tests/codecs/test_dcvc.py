"""DCVC's two sides around networks of ours that keep frames as they are, with the interfaces of the authors' ones."""

import importlib.util
import io
import sys
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType

import numpy as np
import pytest

from rdbench.codecs.programs.declared_programs import SHIPPED

SOURCES = {
    "src/utils/stream_helper.py": """
def get_state_dict(path): return open(path).read()
def get_padding_size(height, width, p): return 0, -width % p, 0, -height % p
""",
    "src/transforms/functional.py": """
import numpy as np
def ycbcr420_to_444(y, uv, order): return np.concatenate((y, uv.repeat(2, 1).repeat(2, 2)))
def ycbcr444_to_420(yuv): return yuv[:1], yuv[1:, ::2, ::2]
""",
    "src/models/net.py": """
import numpy as np
import torch
class Net(torch.nn.Module):
    def __init__(self, inplace):
        super().__init__()
        self.one = torch.nn.Parameter(torch.ones(1))
        self.ready = 0
    def load_state_dict(self, text): self.ready += text == "weights"
    def update(self, force): self.ready += force
    def keep(self, x, *what):  # what was asked for, and the padded frame
        assert self.ready == 2 and x.shape[2] % 16 == x.shape[3] % 16 == 0
        data = repr(what).encode().ljust(64) + (x * 255).round().byte().numpy().tobytes()
        coded = (x * 255).round() / 255
        return {"bit_stream": data, "x_hat": coded + 2 * (coded == 1)}  # white is beyond the range
    def back(self, data, height, width, *what):
        assert data[:64].decode().strip() == repr(what), (data[:64], what)
        shape = 1, 3, height + -height % 16, width + -width % 16
        return torch.from_numpy(np.frombuffer(data[64:], np.uint8).reshape(shape) / 255).float()
    def state(self, frame): return {"ref_frame": frame, "ref_feature": 1}
""",
}
DC = {
    "src/models/image_model.py": """
from .net import Net
class IntraNoAR(Net):
    def compress(self, x, stored, q): return self.keep(x, "I", stored, q)
    def decompress(self, data, height, width, stored, q):
        return {"x_hat": self.back(data, height, width, "I", stored, q)}
""",
    "src/models/video_model.py": """
from .net import Net
class DMC(Net):
    def compress(self, x, dpb, stored, q, index):
        assert dpb["ref_frame"].max() <= 1
        return {**self.keep(x, "P", stored, q, index), "dpb": self.state(x)}
    def decompress(self, dpb, data, height, width, stored, q, index):
        return {"dpb": self.state(self.back(data, height, width, "P", stored, q, index))}
""",
}
FM = {
    "src/models/image_model.py": """
from .net import Net
class DMCI(Net):
    def compress(self, x, q): return self.keep(x, "I", q)
    def decompress(self, data, sps): return {"x_hat": self.back(data, sps["height"], sps["width"], "I", sps["qp"])}
""",
    "src/models/video_model.py": """
from .net import Net
class DMC(Net):
    def compress(self, x, dpb, q, fa): return {**self.keep(x, "P", q, fa, dpb["ref_feature"]), "dpb": self.state(x)}
    def decompress(self, data, dpb, sps):
        what = "P", sps["qp"], sps["fa_idx"], dpb["ref_feature"]
        return {"dpb": self.state(self.back(data, sps["height"], sps["width"], *what))}
""",
}


@pytest.fixture
def dcvc() -> ModuleType:
    """The script as a module."""
    spec = importlib.util.spec_from_file_location("dcvc", SHIPPED / "dcvc.py")
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    sys.modules["dcvc"] = module
    spec.loader.exec_module(module)
    return module


@pytest.fixture(params=["dc", "fm"])
def name(
    request: pytest.FixtureRequest, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, dcvc: ModuleType
) -> Iterator[str]:
    """The codec, with its sources on the path and its checkpoints in place."""
    for path, text in {**SOURCES, **(DC if request.param == "dc" else FM)}.items():
        (tmp_path / path).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / path).write_text(text)
    for checkpoint in dcvc.CODECS[request.param].checkpoints:
        (tmp_path / checkpoint).write_text("weights")
    monkeypatch.syspath_prepend(tmp_path)
    yield request.param
    for module in [module for module in sys.modules if module == "src" or module.startswith("src.")]:
        del sys.modules[module]


def code(dcvc: ModuleType, name: str, folder: Path, frames: int, period: int) -> tuple[bytes, bytes]:
    """A clip of 18x14, and its stream."""
    clip = np.random.default_rng(0).integers(0, 256, frames * 18 * 14 * 3 // 2, np.uint8).tobytes()
    head, out = dcvc.Head(18, 14, frames, 21, period), io.BytesIO()
    dcvc.encode(dcvc.CODECS[name](folder, "cpu", 21), head, io.BytesIO(clip), out)
    return clip, out.getvalue()


@pytest.mark.parametrize("period", [-1, 4])
def test_frames_come_back(
    period: int, dcvc: ModuleType, name: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip, stream = code(dcvc, name, tmp_path, 35, period)
    head = dcvc.Head._make(dcvc.HEADER.unpack(stream[: dcvc.HEADER.size]))
    assert head == (18, 14, 35, 21, period)
    assert capsys.readouterr().out.splitlines()[-1] == "frame 35"
    out, rest = io.BytesIO(), io.BytesIO(stream[dcvc.HEADER.size :])
    dcvc.decode(dcvc.CODECS[name](tmp_path, "cpu", 21), head, rest, out)
    assert out.getvalue() == clip
    assert rest.read() == b""
    kinds = [stream.count(kind) for kind in (b"('I'", b"('P'")]
    assert kinds == ([1, 34] if period < 0 else [9, 26])


def test_the_quality_structure_is_the_authors(dcvc: ModuleType, name: str, tmp_path: Path) -> None:
    stream = code(dcvc, name, tmp_path, 35, -1)[1]
    if name == "dc":
        assert [stream.count(b"('P', False, 21, %d)" % k) for k in range(4)] == [8, 9, 9, 8]
    else:
        assert [stream.count(b"('P', 21, %d, 1)" % k) for k in range(3)] == [17, 3, 12]
        assert stream.count(b"('P', 21, 3, None)") == 2  # frames 1 and 33 start from fresh features


@pytest.mark.parametrize("decoded", [0.5, float("nan")])
def test_a_coder_that_decodes_another_picture_is_refused(
    decoded: float, dcvc: ModuleType, name: str, tmp_path: Path
) -> None:
    """As their C++ part with NumPy 2, whose streams repeat one byte."""
    net = tmp_path / "src/models/net.py"
    net.write_text(net.read_text().replace("/ 255).float()", f"* float('{decoded}')).float()"))
    with pytest.raises(SystemExit, match=r"The first frame decodes to another picture .* pip install 'numpy<2'"):
        code(dcvc, name, tmp_path, 2, -1)


def test_streams_that_end_early(dcvc: ModuleType, name: str, tmp_path: Path) -> None:
    stream = code(dcvc, name, tmp_path, 2, -1)[1]
    head = dcvc.Head._make(dcvc.HEADER.unpack(stream[: dcvc.HEADER.size]))
    for cut in (0, 2, 500, len(stream) - dcvc.HEADER.size - 1):
        part = io.BytesIO(stream[dcvc.HEADER.size :][:cut])
        with pytest.raises(SystemExit, match=r"ends in frame [12] of 2; encode it again"):
            dcvc.decode(dcvc.CODECS[name](tmp_path, "cpu", 21), head, part, io.BytesIO())


def test_version_changes_with_the_weights(dcvc: ModuleType, name: str, tmp_path: Path) -> None:
    (tmp_path / "src" / "models" / "common_model.py").write_text("")
    before = dcvc.version(name, tmp_path, tmp_path)
    assert before.startswith(f"dcvc-{name} ")
    (tmp_path / dcvc.CODECS[name].checkpoints[1]).write_text("better weights")
    assert dcvc.version(name, tmp_path, tmp_path) != before
    (tmp_path / dcvc.CODECS[name].checkpoints[0]).unlink()
    with pytest.raises(
        SystemExit, match=r"There is no .*\.pth\.tar; run python3 download\.py in .*, and give its folder"
    ):
        dcvc.version(name, tmp_path, tmp_path)
    (tmp_path / "src" / "models" / "common_model.py").unlink()
    with pytest.raises(SystemExit, match=r"common_model\.py; give the folder DCVC-family/DCVC-(DC|FM) of github\.com"):
        dcvc.version(name, tmp_path, tmp_path)


def test_what_is_missing_is_named_with_its_page(dcvc: ModuleType, name: str) -> None:
    """The help of the options and the script name the same files and the same page."""
    text = (SHIPPED / f"dcvc-{name}.toml").read_text()
    codec = dcvc.CODECS[name]
    assert all(part in text for part in (*codec.checkpoints, codec.page, f"DCVC-family/DCVC-{name.upper()}"))

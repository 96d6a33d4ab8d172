"""The logs of HM 18.0 and VTM 20.0, as recorded (three frames of 96x64), and logs that are none."""

import pytest

from rdbench.codecs.programs.reference_log import (
    check_verdicts,
    count_pictures,
    describe_time,
    read_summary,
    read_verdicts,
)
from rdbench.errors import BitstreamError

# ruff: noqa: E101, E501
HM_ENCODER = """
HM software: Encoder Version [18.0] (including RExt)[Linux][GCC 12.2.0][64 bit]
POC    0 TId: 0 ( I-SLICE, nQP 29 QP 29 )       8392 bits [Y 34.0476 dB    U 35.7482 dB    V 38.7308 dB] [ET     0 ] [L0 ] [L1 ] [MD5:896999f2f0980d5d6aca54f6cc362c13,9dabcd007e1ea82c98a5506e0f5964c5,6d1230171c13590d7ffd1d2d026ca31a]
POC    2 TId: 3 ( B-SLICE, nQP 40 QP 40 )        304 bits [Y 32.9011 dB    U 35.7614 dB    V 38.7376 dB] [ET     0 ] [L0 0 ] [L1 0 ] [MD5:89b46d800b5a9d3c52eeb9f32109fa29,f070aa820d40ad569312a2d6397a0d89,a2d6701019789e2db27b75fb5f5d1925]
POC    1 TId: 4 ( B-SLICE, nQP 41 QP 41 )        184 bits [Y 33.6012 dB    U 35.7551 dB    V 38.7422 dB] [ET     0 ] [L0 0 2 ] [L1 2 0 ] [MD5:184cafe02d975c3dea664715fb0391c3,a0a741510a8345da5136d83f2c330d9f,ec05902250a6d28c023d62b612508c9d]
SUMMARY --------------------------------------------------------
	Total Frames |   Bitrate     Y-PSNR    U-PSNR    V-PSNR    YUV-PSNR
	        3    a      74.0000   33.5166   35.7549   38.7369   34.3770
I Slices--------------------------------------------------------
	Total Frames |   Bitrate     Y-PSNR    U-PSNR    V-PSNR    YUV-PSNR
	        1    i     209.8000   34.0476   35.7482   38.7308   34.8254
P Slices--------------------------------------------------------
	Total Frames |   Bitrate     Y-PSNR    U-PSNR    V-PSNR    YUV-PSNR
	        0    p         -nan      -nan      -nan      -nan      -nan
	Total Frames |   Bitrate     Y-PSNR    U-PSNR    V-PSNR    YUV-PSNR
	        2    b       6.1000   33.2511   35.7582   38.7399   34.1690
RVM: 0.000
Bytes written to file: 1281 (85.400 kbps)
 Total Time:        0.167 sec.
"""
VTM_ENCODER = """
VVCSoftware: VTM Encoder Version 20.0 [Linux][GCC 12.2.0][64 bit] [SIMD=AVX2]
 started @ Sat Nov 21 07:36:09 2026
POC    0 LId:  0 TId: 0 ( IDR_N_LP, I-SLICE, QP 29 )      10672 bits [Y 35.8870 dB    U 37.6971 dB    V 39.3728 dB] [ET    15 ] [L0] [L1] [MD5:6c05aaf0a7c9285c01f3b35b2eb471c7,4cbd7578837e26cf98b8220f57ab3d77,919fd9ef0a7578f21df6e15c0d8493f0]
POC    2 LId:  0 TId: 4 ( STSA, B-SLICE, QP 40 )        352 bits [Y 33.9431 dB    U 37.5916 dB    V 39.3051 dB] [ET     2 ] [L0 0] [L1 0c] [MD5:8f154a0b07f92d96af7ad55976264213,590d8581a0ad2cd672887f81abc1eb10,006a468083b5d3fcbac44be1dbd6dd2d]
POC    1 LId:  0 TId: 5 ( TRAIL, B-SLICE, QP 41 )        192 bits [Y 34.5582 dB    U 37.6754 dB    V 39.3303 dB] [ET     2 ] [L0 0] [L1 2c 0] [MD5:8e5e79d535cbaea3eb110bc1b211993f,e898464ec261022e752cb6a88a0da3cc,bf533391d951bebbfe2c07be315a91e1]
LayerId  0
	Total Frames |  Bitrate      Y-PSNR   U-PSNR   V-PSNR   YUV-PSNR
	3            a  93.4667      34.7961  37.6547  39.3361  35.6424
 finished @ Sat Nov 21 07:36:30 2026
 Total Time:        5.692 sec. [user]       20.438 sec. [elapsed]
"""
HM_DECODER = """
HM software: Decoder Version [18.0] (including RExt)[Linux][GCC 12.2.0][64 bit]
POC    0 TId: 0 ( I-SLICE, QP 29 ) [DT  0.001] [L0 ] [L1 ] [MD5:896999f2f0980d5d6aca54f6cc362c13,9dabcd007e1ea82c98a5506e0f5964c5,6d1230171c13590d7ffd1d2d026ca31a,(OK)]
POC    2 TId: 3 ( B-SLICE, QP 40 ) [DT  0.000] [L0 0 ] [L1 0 ] [MD5:89b46d800b5a9d3c52eeb9f32109fa29,f070aa820d40ad569312a2d6397a0d89,a2d6701019789e2db27b75fb5f5d1925,(OK)]
POC    1 TId: 4 ( B-SLICE, QP 41 ) [DT  0.000] [L0 0 2 ] [L1 2 0 ] [MD5:184cafe02d975c3dea664715fb0391c3,a0a741510a8345da5136d83f2c330d9f,ec05902250a6d28c023d62b612508c9d,(OK)]
 Total Time:        0.107 sec.
"""
VTM_DECODER = """
VVCSoftware: VTM Decoder Version 20.0 [Linux][GCC 12.2.0][64 bit] [SIMD=AVX2]
POC    0 LId:  0 TId: 0 ( IDR_N_LP, I-SLICE, QP 29 ) [DT  0.003] [L0] [L1] [MD5:6c05aaf0a7c9285c01f3b35b2eb471c7,4cbd7578837e26cf98b8220f57ab3d77,919fd9ef0a7578f21df6e15c0d8493f0,(OK)]
POC    2 LId:  0 TId: 4 ( STSA, B-SLICE, QP 40 ) [DT  0.000] [L0 0] [L1 0c] [MD5:8f154a0b07f92d96af7ad55976264213,590d8581a0ad2cd672887f81abc1eb10,006a468083b5d3fcbac44be1dbd6dd2d,(OK)]
POC    1 LId:  0 TId: 5 ( TRAIL, B-SLICE, QP 41 ) [DT  0.000] [L0 0] [L1 2c 0] [MD5:8e5e79d535cbaea3eb110bc1b211993f,e898464ec261022e752cb6a88a0da3cc,bf533391d951bebbfe2c07be315a91e1,(OK)]
 Total Time:        0.110 sec.
"""


def test_hm() -> None:
    assert count_pictures(HM_ENCODER) == 3
    summary = read_summary(HM_ENCODER)
    assert summary is not None
    assert (summary.frames, summary.kbps, summary.psnr_y, summary.seconds) == (3, 74.0, 33.5166, 0.167)
    assert read_verdicts(HM_DECODER) == ["OK"] * 3


def test_vtm() -> None:
    assert count_pictures(VTM_ENCODER) == 3
    summary = read_summary(VTM_ENCODER)
    assert summary is not None
    assert (summary.frames, summary.kbps, summary.psnr_u, summary.psnr_v) == (3, 93.4667, 37.6547, 39.3361)
    assert summary.seconds == 5.692  # user time, not elapsed
    assert check_verdicts(VTM_DECODER, "VTM") == 3


def test_progress_counts_whole_lines() -> None:
    middle = HM_ENCODER[: HM_ENCODER.index("POC    1") + 20]
    assert count_pictures(middle) == 2
    assert read_summary(middle) is None
    assert count_pictures("") == 0


def test_a_wrong_md5_is_found() -> None:
    broken = HM_DECODER.replace("(OK)", "(***ERROR***)", 1)
    assert broken != HM_DECODER
    with pytest.raises(BitstreamError, match="1 of 3 pictures that HM decoded differ from their MD5"):
        check_verdicts(broken, "HM")


def test_streams_without_md5() -> None:
    line = "POC    0 TId: 0 ( I-SLICE, QP 29 ) [DT  0.000] [L0 ] [L1 ] [:,(unk)]\n"
    assert read_verdicts(2 * line) == ["unk", "unk"]
    assert check_verdicts(2 * line, "HM") == 0


@pytest.mark.parametrize("text", ["", "x265 [info]: encoded 3 frames", "POC: 0 bits: 12", "frame 1 done\n" * 3])
def test_other_logs(text: str) -> None:
    assert count_pictures(text) == 0
    assert read_summary(text) is None
    assert read_verdicts(text) == []


def test_times() -> None:
    assert [describe_time(s) for s in (0, 40.4, 600, 7199, 12600)] == ["0 s", "40 s", "10 min", "120 min", "3.5 h"]

"""The cards of the codecs: their descriptions, without importing torch, numpy or pydantic.

An entry point may also name a codec's class; with a card, `rdbench codecs` need not import the class.
"""

from dataclasses import replace

from rdbench.card import CodecCard, Paper

from .inr.bitstream import signature
from .programs import reference_programs
from .programs.availability import lacks_encoder
from .programs.declared_programs import shipped_card

X264 = CodecCard(
    "x264",
    "conventional",
    "H.264 by x264, preset veryslow, tune psnr",
    "ITU-T H.264 | ISO/IEC 14496-10",
    "crf0-51 or qp0-51; crf42,37,32,27,22,17 by default",
    "rdbench.codecs.ffmpeg:X264Codec",
    (b"\x00\x00\x00\x01\x67", b"\x00\x00\x00\x01\x09"),
    lambda host: lacks_encoder(host, "libx264"),
)
X265 = CodecCard(
    "x265",
    "conventional",
    "H.265 by x265, preset veryslow, tune psnr; x265[bframes=0] is T-NeRV's variant",
    "ITU-T H.265 | ISO/IEC 23008-2",
    "crf0-51 or qp0-51; crf42,37,32,27,22,17 by default",
    "rdbench.codecs.ffmpeg:X265Codec",
    (b"\x00\x00\x00\x01\x40\x01",),
    lambda host: lacks_encoder(host, "libx265"),
)
SVTAV1 = CodecCard(
    "svtav1",
    "conventional",
    "AV1 by SVT-AV1, preset 4, tune psnr",
    "AV1 Bitstream & Decoding Process Specification, AOMedia 2019",
    "crf1-63 or qp1-63; crf60,52,44,36,28,20 by default",
    "rdbench.codecs.ffmpeg:SvtAv1Codec",
    (b"\x12\x00",),
    lambda host: lacks_encoder(host, "libsvtav1"),
)
LIBAOM = CodecCard(
    "libaom",
    "conventional",
    "AV1 by libaom, good quality, cpu-used 4, tune psnr",
    "AV1 Bitstream & Decoding Process Specification, AOMedia 2019",
    "crf0-63; crf60,52,44,36,28,20 by default",
    "rdbench.codecs.ffmpeg:LibaomCodec",
    (),  # the same as svtav1's: one decoder reads both
    lambda host: lacks_encoder(host, "libaom-av1"),
)
VVENC = CodecCard(
    "vvenc",
    "conventional",
    "H.266 by VVenC, preset medium, 10 bit, without perceptual optimization",
    "ITU-T H.266 | ISO/IEC 23090-3",
    "qp0-63; qp47,42,37,32,27,22 by default",
    "rdbench.codecs.ffmpeg:VvencCodec",
    (b"\x00\x00\x00\x01\x00\x79",),
    lambda host: lacks_encoder(host, "libvvenc"),
)
HM = CodecCard(
    "hm",
    "conventional",
    "H.265 by the reference software HM, random access; configuration=ldb, ldp or ai, profile=main or main10",
    "ITU-T H.265 | ISO/IEC 23008-2",
    "qp0-51; qp37,32,27,22 by default, 36 to 16 in steps of 4 with qps=papers",
    "rdbench.codecs.reference_software:HmCodec",
    (),  # the same as x265's: ffmpeg decodes both
    lambda host: reference_programs.lacks(reference_programs.HM, host),
    lambda host: reference_programs.found(reference_programs.HM, host),
)
VTM = CodecCard(
    "vtm",
    "conventional",
    "H.266 by the reference software VTM, random access, main10; configuration=ldb, ldp or ai",
    "ITU-T H.266 | ISO/IEC 23090-3",
    "qp0-63; qp37,32,27,22 by default, 36 to 16 in steps of 4 with qps=papers",
    "rdbench.codecs.reference_software:VtmCodec",
    (),  # the same as vvenc's: ffmpeg decodes both
    lambda host: reference_programs.lacks(reference_programs.VTM, host),
    lambda host: reference_programs.found(reference_programs.VTM, host),
)
KVAZAAR = shipped_card("kvazaar", "rdbench.codecs.declared:KVAZAAR")
DCVC_DC = shipped_card("dcvc-dc", "rdbench.codecs.declared:DCVC_DC")
DCVC_FM = shipped_card("dcvc-fm", "rdbench.codecs.declared:DCVC_FM")
COOL_CHIC = shipped_card("cool-chic", "rdbench.codecs.declared:COOL_CHIC")


SIZES = "model sizes in the bitstream, as 100K or 1.5M; the dataset suggests them"
WITH_LAMBDA = f"{SIZES}; with a lambda as 100K-lambda0.5"


def inr_card(name: str, summary: str, paper: Paper, load: str, rate_points: str = SIZES) -> CodecCard:
    """The card of a codec whose bitstream is a network."""
    source = f"rdbench.codecs.{load}"
    return CodecCard(name, "INR", summary, str(paper), rate_points, source, (signature(name),), paper=paper)


NERV = inr_card(
    "nerv",
    "One network renders the whole frame from its index",
    Paper("Chen et al.", "NeRV: Neural Representations for Videos", "NeurIPS", 2021, "2110.13903"),
    "nerv:NeRVCodec",
)
ENERV = inr_card(
    "enerv",
    "Separate embeddings of time and space, fused by two small transformers; every stage conditioned on time",
    Paper("Li et al.", "E-NeRV: Expedite Neural Video Representation", "ECCV", 2022, "2207.08132"),
    "enerv:ENeRVCodec",
)
PSNERV = inr_card(
    "psnerv",
    "A network renders patches from their position and time; a style code modulates every stage",
    Paper("Bai et al.", "PS-NeRV: Patch-wise Stylized Neural Representations for Videos", "ICIP", 2023, "2208.03742"),
    "psnerv:PSNeRVCodec",
)
NERVPP = inr_card(
    "nervpp",
    "NeRV with separable residual blocks and bilinear skips; nervpp[star] is NeRV*++",
    Paper("Ghorbel et al.", "NeRV++: An Enhanced Implicit Neural Video Representation", "", 2024, "2402.18305"),
    "nervpp:NeRVppCodec",
)
HNERV = inr_card(
    "hnerv",
    "A tiny transmitted embedding of each frame, computed by an encoder network; a decoder renders the frame from it",
    Paper("Chen et al.", "HNeRV: A Hybrid Neural Representation for Videos", "CVPR", 2023, "2304.02633"),
    "hnerv:HNeRVCodec",
)
FFNERV = inr_card(
    "ffnerv",
    "Features from temporal grids; neighboring frames are warped by optical flow and blended in",
    Paper(
        "Lee et al.",
        "FFNeRV: Flow-Guided Frame-Wise Neural Representations for Videos",
        "ACM Multimedia",
        2023,
        "2212.12294",
    ),
    "ffnerv:FFNeRVCodec",
)
HNERV_BOOST = inr_card(
    "hnerv-boost",
    "HNeRV conditioned on time in every stage, with sines; trained to minimize the entropy of what is transmitted",
    Paper(
        "Zhang et al.",
        "Boosting Neural Representations for Videos with a Conditional Decoder",
        "CVPR",
        2024,
        "2402.18152",
    ),
    "hnerv_boost:HNeRVBoostCodec",
)
DNERV = inr_card(
    "dnerv",
    "HNeRV with a second embedding of each frame, from its differences to its neighbors, fused in the decoder",
    Paper(
        "Zhao et al.",
        "DNeRV: Modeling Inherent Dynamics via Difference Neural Representation for Videos",
        "CVPR",
        2023,
        "2304.06544",
    ),
    "dnerv:DNeRVCodec",
)
HINERV = inr_card(
    "hinerv",
    "Learned grids with local encodings, upsampled by ConvNeXt blocks; trained on patches",
    Paper(
        "Kwan et al.",
        "HiNeRV: Video Compression with Hierarchical Encoding-based Neural Representation",
        "NeurIPS",
        2023,
        "2306.09818",
    ),
    "hinerv:HiNeRVCodec",
)
CNERV = inr_card(
    "cnerv",
    "Convolutions on encoded maps of time and position; the rate of the weights is part of the loss",
    Paper("Gomes et al.", "Video Compression With Entropy-Constrained Neural Representations", "CVPR", 2023),
    "cnerv:CNeRVCodec",
    WITH_LAMBDA,
)
TNERV = inr_card(
    "tnerv",
    "Frame embeddings, temporal grids, optical flow, the rate in the loss; patented, this one is for research",
    Paper("Saethre et al.", "Combining Frame and GOP Embeddings for Neural Video Representation", "CVPR", 2024),
    "tnerv:TNeRVCodec",
    WITH_LAMBDA,
)
TENERV = inr_card(
    "tenerv",
    "Temporal grids fused over neighboring frames; groups of pictures by content with own grids and depthwise kernels",
    Paper("Zhu et al.", "Video Compression with Hierarchical Temporal Neural Representation", "", 2026, "2601.17743"),
    "tenerv:TeNeRVCodec",
)
CANERV = replace(
    inr_card(
        "canerv",
        "CANeRV-style, a design of ours after the paper's abstract: profiles of the network compared on the clip, a "
        "code for each frame, skips and losses across scales",
        Paper(
            "Tang et al.",
            "CANeRV: Content Adaptive Neural Representation for Video Compression",
            "",
            2025,
            "2502.06181",
        ),
        "canerv:CANeRVCodec",
    ),
    found=lambda host: "CANeRV-style, a design of ours after the paper's abstract",
)
NVRC = inr_card(
    "nvrc",
    "HiNeRV's stages after large feature grids; network, quantizers and entropy models trained end to end",
    Paper("Kwan et al.", "NVRC: Neural Video Representation Compression", "NeurIPS", 2024, "2409.07414"),
    "nvrc:NVRCCodec",
    WITH_LAMBDA,
)
C3 = inr_card(
    "c3",
    "Latent grids with a tiny decoder and a tiny context model for each spatio-temporal patch; a real bitstream",
    Paper(
        "Kim et al.",
        "C3: High-performance and low-complexity neural compression from a single image or video",
        "CVPR",
        2024,
        "2312.02753",
    ),
    "c3:C3Codec",
    "a lambda, as lambda0.001; eight from 0.02 to 0.0001 by default",
)
NIRVANA = inr_card(
    "nirvana",
    "A small network of patches for every few frames, started from the last one and coded as a difference to it",
    Paper(
        "Maiya et al.",
        "NIRVANA: Neural Implicit Representations of Videos with Adaptive Networks and Autoregressive Patch-wise "
        "Modeling",
        "CVPR",
        2023,
        "2212.14593",
    ),
    "nirvana:NirvanaCodec",
    "a width, as width512 or width64, with a lambda as width64-lambda0.001; four lambdas by default",
)

"""The claims of the paper, and of those who asked about it, as statements over evidence.

`Fig.` and sections are those of Park and Kim (2022). Figures that are no paper's: `static` compares data-specific with
static attention, `shape` shape bias, `SAM` training by sharpness-aware minimisation, `smoothing` spatial smoothing.
"""

from collections.abc import Sequence
from pathlib import Path

from alternet.measurement import Measurement
from alternet.studies import evidence
from alternet.studies.claim import ALL, Claim, Reading, above, alike, as_measurement, below, judge_claims, smaller

VITS = ("ViT", "PiT", "Swin")
SHARE = 0.5
"""Of units: more than half do it."""
ON_PAR = 0.01
"""Accuracies that differ by less are alike; the paper's own networks differ by up to 1.3 points from run to run."""


def _local(kernel: str) -> str:
    return f"Conv ViT {kernel} × {kernel}"


CLAIMS: tuple[Claim, ...] = (
    Claim(
        "attention-low-pass",
        "feature maps",
        "Attention lowers the amplitude of high frequencies",
        "section 3, Fig. 8",
        tuple(below(arm, "8", Reading(arm, "attention_high_step")) for arm in VITS),
    ),
    Claim(
        "attention-low-pass-units",
        "feature maps",
        "Attention does so in most of its units",
        "section 3, Fig. 8: almost always",
        tuple(above(arm, "8", Reading(arm, "attention_high_lowered"), null=SHARE) for arm in VITS),
    ),
    Claim(
        "convolution-high-pass",
        "feature maps",
        "Convolutions raise the amplitude of high frequencies",
        "section 3, Fig. 8",
        (
            above("ResNet", "8", Reading("ResNet", "conv_high_step")),
            above("ResNet, most units", "8", Reading("ResNet", "conv_high_raised"), null=SHARE),
        ),
    ),
    Claim(
        "mlp-high-pass",
        "feature maps",
        "MLPs raise the amplitude of high frequencies",
        "section 3, Fig. 8",
        (
            *(above(arm, "8", Reading(arm, "mlp_high_step")) for arm in VITS),
            *(above(f"{arm}, most units", "8", Reading(arm, "mlp_high_raised"), null=SHARE) for arm in VITS),
        ),
    ),
    Claim(
        "attention-averages",
        "feature maps",
        "Attention lowers the variance of feature maps",
        "section 3, Fig. 9",
        (
            *(below(arm, "9", Reading(arm, "attention_variance_step")) for arm in VITS),
            *(above(f"{arm}, most units", "9", Reading(arm, "attention_variance_lowered"), null=SHARE) for arm in VITS),
        ),
    ),
    Claim(
        "convolution-spreads",
        "feature maps",
        "Convolutions and MLPs raise the variance of feature maps",
        "section 3, Fig. 9",
        (
            above("ResNet, convolutions", "9", Reading("ResNet", "conv_variance_step")),
            *(above(f"{arm}, MLPs", "9", Reading(arm, "mlp_variance_step")) for arm in VITS),
        ),
    ),
    Claim(
        "blocks",
        "feature maps",
        "Networks of several stages show block structure",
        "section 4, Fig. 10a",
        tuple(above(arm, "10a", Reading(arm, "block_structure")) for arm in ("ResNet", "PiT", "Swin")),
    ),
    Claim(
        "attention-at-ends",
        "feature maps",
        "To take out attention hurts most at the end of a stage",
        "section 4, Fig. 10b",
        tuple(
            below(
                f"{arm}, end − start",
                "10b",
                Reading(arm, "lesion_attention_end"),
                Reading(arm, "lesion_attention_start"),
            )
            for arm in ("PiT", "Swin")
        ),
    ),
    Claim(
        "convolution-at-starts",
        "feature maps",
        "To take out a convolution hurts most at the start of a stage",
        "section 4, Fig. 10b",
        (
            below(
                "ResNet, start − end",
                "10b",
                Reading("ResNet", "lesion_conv_start"),
                Reading("ResNet", "lesion_conv_end"),
            ),
        ),
    ),
    Claim(
        "attention-flattens",
        "loss landscape",
        "Attention flattens the loss landscape",
        "section 2, Fig. 1",
        (
            smaller(
                "ViT / ResNet, APE, early", "1c", Reading("ViT", "ape", "first"), Reading("ResNet", "ape", "first")
            ),
            smaller("ViT / ResNet, APE, end", "1c", Reading("ViT", "ape", "last"), Reading("ResNet", "ape", "last")),
            below(
                "ViT − ResNet, NLL at r = 1",
                "1a",
                Reading("ViT", "rise_nll", "edge"),
                Reading("ResNet", "rise_nll", "edge"),
            ),
            below(
                "ViT − ResNet, L2 at r = 1",
                "1a",
                Reading("ViT", "rise_l2", "edge"),
                Reading("ResNet", "rise_l2", "edge"),
            ),
            smaller("AlterNet / ResNet, APE", "12c", Reading("AlterNet", "ape"), Reading("ResNet", "ape")),
        ),
    ),
    Claim(
        "vit-negative",
        "loss landscape",
        "ViTs have negative eigenvalues, more than a CNN",
        "section 2, Fig. 1c, C.4",
        (
            above("ViT − ResNet, early", "1c", Reading("ViT", "nep", "first"), Reading("ResNet", "nep", "first")),
            *(
                above(f"{arm} − ResNet, early", "C.4", Reading(arm, "nep", "first"), Reading("ResNet", "nep", "first"))
                for arm in ("PiT", "Swin")
            ),
        ),
    ),
    Claim(
        "data-convexifies",
        "loss landscape",
        "More data suppresses negative eigenvalues",
        "section 2, Fig. 4",
        (above("ViT on 6 % − on all", "4", Reading("ViT (6 %)", "nep"), Reading("ViT", "nep")),),
    ),
    Claim(
        "gap-convexifies",
        "loss landscape",
        "Global average pooling lowers NEP or APE",
        "section 2, Fig. 6",
        (
            below("GAP − CLS, NEP", "6", Reading("ViT (GAP)", "nep"), Reading("ViT", "nep")),
            smaller("GAP / CLS, APE", "6", Reading("ViT (GAP)", "ape"), Reading("ViT", "ape")),
        ),
    ),
    Claim(
        "sam-smoothing",
        "loss landscape",
        "SAM and spatial smoothing lower NEP or APE",
        "section 2; Park and Kim (2021)",
        (
            below("SAM, NEP", "SAM", Reading("ViT (SAM)", "nep"), Reading("ViT", "nep")),
            smaller("SAM, APE", "SAM", Reading("ViT (SAM)", "ape"), Reading("ViT", "ape")),
            below("smoothing, NEP", "smoothing", Reading("ResNet-18 (smoothing)", "nep"), Reading("ResNet-18", "nep")),
            smaller(
                "smoothing, APE", "smoothing", Reading("ResNet-18 (smoothing)", "ape"), Reading("ResNet-18", "ape")
            ),
        ),
    ),
    Claim(
        "small-patches",
        "loss landscape",
        "Small patches bring negative eigenvalues",
        "appendix C, Fig. C.3",
        (
            above("smallest − largest", "C.3", Reading("ViT", "nep", "first"), Reading("ViT", "nep", "last")),
            above("smallest − next", "C.3", Reading("ViT", "nep", "first"), Reading("ViT", "nep", "second")),
        ),
    ),
    Claim(
        "heads-convexify",
        "loss landscape",
        "More heads lower NEP and APE",
        "appendix C, Fig. C.5",
        (
            below("NEP per doubling", "C.5", Reading("ViT", "nep", "per doubling")),
            below("APE, exponent", "C.5", Reading("ViT", "ape", "exponent")),
        ),
    ),
    Claim(
        "width-convexifies",
        "loss landscape",
        "Wider heads lower NEP and APE",
        "appendix C, Fig. C.6",
        (
            below("NEP per doubling", "C.6", Reading("ViT", "nep", "per doubling")),
            below("APE, exponent", "C.6", Reading("ViT", "ape", "exponent")),
        ),
    ),
    Claim(
        "augmentation-flattens",
        "loss landscape",
        "Strong augmentation flattens the loss",
        "appendix F, Fig. F.1b",
        tuple(
            smaller(f"{arm}, strong / weak", "F.1", Reading(arm, "ape"), Reading(f"{arm} (weak)", "ape"))
            for arm in ("ResNet", "ViT")
        ),
    ),
    Claim(
        "gap-accurate",
        "accuracy and robustness",
        "Global average pooling is more accurate than a class token",
        "section 2",
        (above("GAP − CLS", "6", Reading("ViT (GAP)", "accuracy"), Reading("ViT", "accuracy")),),
    ),
    Claim(
        "locality",
        "accuracy and robustness",
        "Local attention is better than global attention",
        "section 2, Fig. 7",
        tuple(
            below(
                f"{kernel} × {kernel} − global, {what}",
                "7",
                Reading(_local(kernel), quantity),
                Reading(_local("8"), quantity),
            )
            for kernel in ("3", "5")
            for what, quantity in (("test error", "test_error"), ("train NLL", "nll_train"), ("NEP", "nep"))
        ),
    ),
    Claim(
        "kernel-robust",
        "accuracy and robustness",
        "Attention of kernel 5 is more robust than of kernel 3",
        "section 2, in words",
        (
            above(
                "5 × 5 − 3 × 3",
                "7",
                Reading(_local("5"), "corruption_accuracy"),
                Reading(_local("3"), "corruption_accuracy"),
            ),
        ),
    ),
    Claim(
        "no-overfitting",
        "accuracy and robustness",
        "Where the training NLL is lower, so is the test error: weak inductive bias does not overfit",
        "section 2, Fig. 5, C.1",
        (
            above("ViT, share of the data", "5b", Reading("ViT", "test_error", "per nat")),
            above("networks", "5a", Reading(ALL, "test_error", "per nat")),
            above("networks, second data set", "C.1a", Reading(ALL, "test_error", "per nat")),
            above("networks, ImageNet", "C.1b", Reading(ALL, "test_error", "per nat")),
        ),
    ),
    Claim(
        "longer-training",
        "accuracy and robustness",
        "Training longer than usual goes on lowering train NLL and test error",
        "appendix C, Fig. C.2",
        tuple(
            below(f"{arm}, {what}", "C.2", Reading(arm, quantity, "last"), Reading(arm, quantity, "middle"))
            for arm in ("ViT", "ResNet")
            for what, quantity in (("test error", "test_error"), ("train NLL", "nll_train"))
        ),
    ),
    Claim(
        "noise-by-frequency",
        "accuracy and robustness",
        "ViTs are weak against low-frequency noise and CNNs against high-frequency noise",
        "section 1, Fig. 2b",
        (
            below(
                "ViT − ResNet, low", "2b", Reading("ViT", "noise_drop", "low"), Reading("ResNet", "noise_drop", "low")
            ),
            above(
                "ViT − ResNet, high",
                "2b",
                Reading("ViT", "noise_drop", "high"),
                Reading("ResNet", "noise_drop", "high"),
            ),
        ),
    ),
    Claim(
        "shape-bias",
        "accuracy and robustness",
        "Attention is biased towards shape",
        "section 1, Fig. 2",
        (
            above("ViT − ResNet", "shape", Reading("ViT", "shape_bias"), Reading("ResNet", "shape_bias")),
            above("AlterNet − ResNet", "shape", Reading("AlterNet", "shape_bias"), Reading("ResNet", "shape_bias")),
        ),
    ),
    Claim(
        "alternet-small-data",
        "accuracy and robustness",
        "AlterNet beats its CNN on small data",
        "section 4, Fig. 12b",
        tuple(
            above(f"AlterNet − ResNet, {what}", "12b", Reading("AlterNet", quantity), Reading("ResNet", quantity))
            for what, quantity in (("accuracy", "accuracy"), ("robustness", "corruption_accuracy"))
        ),
    ),
    Claim(
        "alternet-swin",
        "accuracy and robustness",
        "AlterNet is on par with Swin on ImageNet",
        "appendix E, Fig. E.1",
        (alike("AlterNet − Swin", "E.1", Reading("AlterNet", "accuracy"), Reading("Swin", "accuracy"), margin=ON_PAR),),
    ),
    Claim(
        "data-specific",
        "accuracy and robustness",
        "Data-specific attention beats static attention of equal reach",
        "section 1",
        (
            above(
                "MSA − static",
                "static",
                Reading("ResNet + MSA", "accuracy"),
                Reading("ResNet + static MSA", "accuracy"),
            ),
        ),
    ),
    Claim(
        "augmentation-confidence",
        "accuracy and robustness",
        "Strong augmentation turns over-confidence into under-confidence",
        "appendix F, Fig. F.1a",
        (
            *(above(f"{arm}, weak", "F.1", Reading(f"{arm} (weak)", "overconfidence")) for arm in ("ResNet", "ViT")),
            *(below(f"{arm}, strong", "F.1", Reading(arm, "overconfidence")) for arm in ("ResNet", "ViT")),
        ),
    ),
)


def judged_claims(paths: Sequence[str | Path] = (), *, published: bool = False) -> list[Measurement]:
    """The verdicts on all claims, of what was measured and of what the paper publishes, each by itself.

    Args:
        paths: Folders that `alternet reproduce` wrote, or CSV files of evidence, taken together; none for none.
        published: Whether to judge the published numbers as well.

    Raises:
        ValueError: There is nothing to judge, or something is no evidence.

    Examples:
        >>> table = judged_claims(published=True)[0].table
        >>> table[table["claim"] == "alternet-swin"]["verdict"].item()
        'supported (one run)'
    """
    bodies = {"measured": evidence.gather_evidence(paths)} if paths else {}
    if published:
        bodies["published"] = evidence.published()
    if not bodies:
        raise ValueError("Nothing to judge: name folders that alternet reproduce wrote, or give --published.")
    return [as_measurement(judge_claims(CLAIMS, rows), name, rows) for name, rows in bodies.items()]

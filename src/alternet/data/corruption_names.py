"""The common corruptions by name, with their families and severities (Hendrycks and Dietterich 2019); no torch."""

STANDARD = {
    "gaussian_noise": "noise",
    "shot_noise": "noise",
    "impulse_noise": "noise",
    "defocus_blur": "blur",
    "glass_blur": "blur",
    "motion_blur": "blur",
    "zoom_blur": "blur",
    "snow": "weather",
    "frost": "weather",
    "fog": "weather",
    "brightness": "weather",
    "contrast": "digital",
    "elastic_transform": "digital",
    "pixelate": "digital",
    "jpeg_compression": "digital",
}
"""The corruptions that results are averaged over, each with its family."""

EXTRA = {"speckle_noise": "noise", "gaussian_blur": "blur", "spatter": "weather", "saturate": "digital"}
"""Those that were set aside for choosing hyperparameters."""

FAMILIES = STANDARD | EXTRA

CLEAN = "clean"
"""No corruption, which is of no family."""

SEVERITIES = (1, 2, 3, 4, 5)

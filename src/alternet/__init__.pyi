# What `import alternet` offers, said once: read by type checkers, by lazy_loader at run time, and by the docs.
from .data.augment import Augmentation as Augmentation
from .data.datasets import batches as batches
from .data.image_batches import Batches as Batches
from .instruments.calibration import Calibration as Calibration
from .instruments.corruption import Corruption as Corruption
from .instruments.during import Measure as Measure
from .instruments.fourier import Fourier as Fourier
from .instruments.fourier_heatmap import FourierHeatmap as FourierHeatmap
from .instruments.frequency_noise import FrequencyNoise as FrequencyNoise
from .instruments.hessian import Hessian as Hessian
from .instruments.interpolation import Interpolation as Interpolation
from .instruments.landscape import Landscape as Landscape
from .instruments.lesion import Lesion as Lesion
from .instruments.shape_bias import ShapeBias as ShapeBias
from .instruments.similarity import Similarity as Similarity
from .instruments.spectral_density import SpectralDensity as SpectralDensity
from .instruments.trajectory import Trajectory as Trajectory
from .instruments.variance import Variance as Variance
from .loss.risk import Risk as Risk
from .measurement import Measurement as Measurement
from .measurement import find_measurements as find_measurements
from .probe.probe import Probe as Probe
from .report import render as render
from .sharing.export import export as export
from .studies.comparison import compare as compare
from .subject.loading import load as load
from .subject.recalibration import recalibrate as recalibrate
from .subject.subject import Subject as Subject
from .subject.transplant import transplant as transplant
from .taps.find import Tap as Tap
from .training import Recipe as Recipe
from .training import train as train

__version__: str

"""Pooling from file to file, in steps of bounded memory, resumable after a kill."""

from ._errors import MIB, FileError, reason
from .compare import Comparison, compare, largest_step
from .features import is_folder, open_features, open_photographs
from .images import SUFFIXES, open_image
from .job import Job, pool
from .npy import read_npy
from .rois import read_boxes

__all__ = [
    "MIB",
    "SUFFIXES",
    "Comparison",
    "FileError",
    "Job",
    "compare",
    "is_folder",
    "largest_step",
    "open_features",
    "open_image",
    "open_photographs",
    "pool",
    "read_boxes",
    "read_npy",
    "reason",
]

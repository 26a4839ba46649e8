"""Text to weak labels: radiology reports to states of observations. Stands alone; imports nothing of `medclip`."""

from labelers.labeler import Labeler, load_labeler
from labelers.observations import CHEXPERT14, LabelPolicy

__all__ = ["CHEXPERT14", "LabelPolicy", "Labeler", "load_labeler"]

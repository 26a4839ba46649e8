"""The model: two towers into one space. Knows no loss, no data and no device."""

from medclip.models.config import MedCLIPConfig
from medclip.models.model import MedCLIPModel, MedCLIPOutput
from medclip.models.processor import MedCLIPProcessor

__all__ = ["MedCLIPConfig", "MedCLIPModel", "MedCLIPOutput", "MedCLIPProcessor"]

"""The model: two towers into one space. Knows no loss, no data and no device."""

from transformers import AutoConfig, AutoModel, AutoProcessor

from medclip.models.config import MedCLIPConfig
from medclip.models.model import MedCLIPModel, MedCLIPOutput
from medclip.models.processor import MedCLIPProcessor

AutoConfig.register(MedCLIPConfig.model_type, MedCLIPConfig, exist_ok=True)
AutoModel.register(MedCLIPConfig, MedCLIPModel, exist_ok=True)
AutoProcessor.register(MedCLIPConfig, MedCLIPProcessor, exist_ok=True)

__all__ = ["MedCLIPConfig", "MedCLIPModel", "MedCLIPOutput", "MedCLIPProcessor"]

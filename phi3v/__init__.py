"""Phi-3-Vision, native to transformers. Importing this package registers the architecture with the Auto classes."""

from transformers import (
    AutoConfig,
    AutoImageProcessor,
    AutoModel,
    AutoModelForCausalLM,
    AutoModelForImageTextToText,
    AutoModelForMultimodalLM,
    AutoProcessor,
    AutoTokenizer,
    PreTrainedTokenizerFast,
)

from .engine.answer_stream import AnswerStream, Stats
from .engine.engine import Answer, Phi3Vision
from .inputs.images import open_image
from .model.configuration_phi3_v import Phi3VConfig
from .model.image_processing_phi3_v import Phi3VImageProcessor
from .model.modeling_phi3_v import Phi3VForCausalLM, Phi3VModel, Phi3VPreTrainedModel
from .model.processing_phi3_v import Phi3VProcessor

__version__ = "0.2.0"

AutoConfig.register("phi3_v", Phi3VConfig)
AutoModel.register(Phi3VConfig, Phi3VModel)
AutoModelForCausalLM.register(Phi3VConfig, Phi3VForCausalLM)
AutoModelForImageTextToText.register(Phi3VConfig, Phi3VForCausalLM)
AutoModelForMultimodalLM.register(Phi3VConfig, Phi3VForCausalLM)
AutoImageProcessor.register(Phi3VConfig, image_processor_classes={"pil": Phi3VImageProcessor})
AutoTokenizer.register(Phi3VConfig, fast_tokenizer_class=PreTrainedTokenizerFast)
AutoProcessor.register(Phi3VConfig, Phi3VProcessor)

__all__ = [
    "Answer",
    "AnswerStream",
    "Phi3VConfig",
    "Phi3VForCausalLM",
    "Phi3VImageProcessor",
    "Phi3VModel",
    "Phi3VPreTrainedModel",
    "Phi3VProcessor",
    "Phi3Vision",
    "Stats",
    "open_image",
]

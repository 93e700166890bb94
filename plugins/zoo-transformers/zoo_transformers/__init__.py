"""Models of the mixer zoo for Hugging Face transformers.

Importing this lets ``AutoModelForCausalLM.from_pretrained`` load what ``zoo export`` wrote.
"""

from transformers import AutoConfig, AutoModelForCausalLM

from zoo_transformers.cache import StateCache
from zoo_transformers.configuration import ZooConfig
from zoo_transformers.modeling import ZooForCausalLM

__all__ = ["StateCache", "ZooConfig", "ZooForCausalLM"]

AutoConfig.register(ZooConfig.model_type, ZooConfig)
AutoModelForCausalLM.register(ZooConfig, ZooForCausalLM)

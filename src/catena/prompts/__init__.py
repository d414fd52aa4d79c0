"""Questions for models: templates and how they are rendered."""

from catena.prompts.nearest import examples_key, with_examples
from catena.prompts.render import Prompter

__all__ = ["Prompter", "examples_key", "with_examples"]

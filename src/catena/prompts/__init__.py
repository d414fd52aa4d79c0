"""Questions for models: templates and how they are rendered."""

from catena.prompts.examples import with_examples
from catena.prompts.render import Prompter

__all__ = ["Prompter", "with_examples"]

"""Questions for models: templates and how they are rendered."""

from catena.prompts.render import Prompter

__all__ = ["Prompter"]

"""What the linter says: a sentence, the field that it is about and the wizard's step with that field."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Finding:
    """`field`: dotted, as in the API's document. `blocks`: enabling would be senseless."""

    code: str
    sentence: str
    field: str
    step: str
    """numbers, forwarding, tagging, channels, integrations or terms."""
    blocks: bool = False
    look: str = ""
    """The address of a page that helps to decide, and in `look_for` what it is called there."""
    look_for: str = ""

    def document(self) -> dict[str, Any]:
        return {
            "code": self.code,
            "sentence": self.sentence,
            "field": self.field,
            "step": self.step,
            "blocks": self.blocks,
        }

"""What happens next in a call is a plan; no carrier's language is spoken where it is decided."""

import re
from pathlib import Path

VOICE = Path(__file__).parents[2] / "router" / "voice"
CARRIERS_WORDS = re.compile(
    r"twiml|twilio|VoiceResponse|answerOnBridge|statusCallback|<(?:Dial|Say|Number|Response)", re.IGNORECASE
)


def test_the_telephones_rules_name_no_carriers_language() -> None:
    modules = list(VOICE.glob("*.py"))
    assert len(modules) > 8
    for module in modules:
        assert CARRIERS_WORDS.findall(module.read_text()) == [], module.name

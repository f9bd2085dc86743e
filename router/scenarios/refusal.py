"""What cannot be used of a document, field by field, so that a form shows every error where it belongs."""

from collections.abc import Mapping

from router.web import Problem


class Refused(Exception):
    """Nothing was stored. `errors` maps a dotted field (`flow.destinations.0.to`) to a sentence that says what to do."""

    def __init__(self, errors: Mapping[str, str]) -> None:
        super().__init__("; ".join(f"{field}: {sentence}" for field, sentence in errors.items()))
        self.errors = dict(errors)

    def problem(self) -> Problem:
        """The first error as detail and field, all of them as `errors`."""
        field, sentence = next(iter(self.errors.items()))
        return Problem(422, sentence, field, errors=self.errors)

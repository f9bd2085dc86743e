"""Passwords: how they are kept, and which are refused."""

import pytest

from router.accounts.passwords import hash_password, password_matches, password_problem, random_password


def test_only_the_right_password_matches_its_hash() -> None:
    stored = hash_password("correct horse battery")
    assert stored.startswith("$argon2id$")
    assert password_matches(stored, "correct horse battery")
    assert not password_matches(stored, "correct horse batterx")


@pytest.mark.parametrize("stored", [None, "", "nonsense"])
def test_nobody_has_no_password_that_matches(stored: str | None) -> None:
    assert not password_matches(stored, "")


@pytest.mark.parametrize(
    ("password", "problem"),
    [
        ("ninechars", "at least 10"),
        ("x" * 201, "at most 200"),
        ("Alice.Miller@example.com", "not the e-mail"),
        ("alice.miller", "not the e-mail"),
        ("aaaaaaaaaaab", "three different"),
    ],
)
def test_a_weak_password_is_refused_with_a_sentence(password: str, problem: str) -> None:
    assert problem in (password_problem(password, "alice.miller@example.com") or "")


def test_a_long_one_and_a_made_one_are_taken() -> None:
    assert password_problem("correct horse battery", "alice@example.com") is None
    assert password_problem(random_password(), "alice@example.com") is None

"""Keys and tokens, without a server."""

from shared.api_keys import ApiKey, KeyState, Scope, Token, new_key_id


def make_key(token: Token, **changes: object) -> ApiKey:
    defaults = {"name": "ci", "scopes": frozenset({Scope.READ}), "created_at_ms": 1000}
    own = {"id": token.key_id, "digest": token.digest, "read_at_ms": 2000}
    return ApiKey(**defaults | own | changes)  # type: ignore[arg-type]


def test_a_token_says_which_key_it_is_of_and_is_read_as_it_was_written() -> None:
    token = Token.new(new_key_id())

    assert Token.parse(token.text) == token
    assert token.text.split("_")[:2] == ["rowmill", token.key_id]
    assert Token.new(token.key_id) != token


def test_what_is_no_token_is_none() -> None:
    text = Token.new(new_key_id()).text

    for wrong in ("", text[1:], text + " ", text + "\n", text.upper(), text.replace("_", "-")):
        assert Token.parse(wrong) is None, wrong


def test_neither_token_nor_key_shows_the_secret() -> None:
    token = Token.new(new_key_id())
    key = make_key(token)

    assert token.secret not in repr(token)
    assert token.digest not in repr(key)
    assert token.secret not in str(vars(key))


def test_a_key_is_proven_by_its_own_secret_alone() -> None:
    token = Token.new(new_key_id())
    key = make_key(token)

    assert key.is_proven_by(token)
    assert not key.is_proven_by(Token.new(token.key_id))


def test_a_key_is_live_until_it_expires_or_is_revoked() -> None:
    token = Token.new(new_key_id())

    assert make_key(token).state is KeyState.LIVE
    assert make_key(token, expires_at_ms=2001).state is KeyState.LIVE
    assert make_key(token, expires_at_ms=2000).state is KeyState.EXPIRED
    assert make_key(token).revoked().state is KeyState.REVOKED
    assert make_key(token, expires_at_ms=2000).revoked().state is KeyState.REVOKED


def test_a_key_that_is_rotated_keeps_all_but_its_secret() -> None:
    before, after = Token.new(new_key_id()), Token.new(new_key_id())

    key = make_key(before).rotated(after)

    assert (key.is_proven_by(after), key.is_proven_by(before)) == (True, False)
    assert (key.id, key.name, key.rotated_at_ms) == (before.key_id, "ci", 2000)

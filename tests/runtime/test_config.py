"""Settings: what is missing or wrong is named, and no secret is ever shown."""

import base64
from pathlib import Path

import pytest

from services.runtime.config import Login, Settings
from services.runtime.errors import BadSettings

KEY = base64.b64encode(bytes(range(32))).decode()
FEED_KEY = base64.b64encode(bytes(range(100, 132))).decode()
ALL = {
    "HOURBOOK_KAFKA": "127.0.0.1:9092,[::1]:9093",
    "HOURBOOK_KAFKA_USER": "matching",
    "HOURBOOK_KAFKA_PASSWORD": "open-kafka",
    "HOURBOOK_KAFKA_CA": __file__,
    "HOURBOOK_POSTGRES": "postgresql://u:sesame@127.0.0.1/d",
    "HOURBOOK_SHARDS": "2",
    "HOURBOOK_SHARD": "1",
    "HOURBOOK_DATA": "/data",
    "HOURBOOK_MASTER_KEY": KEY,
    "HOURBOOK_HTTP_PORT": "8080",
    "HOURBOOK_STATUS_PORT": "0",
    "HOURBOOK_LISTEN": "0.0.0.0",
    "HOURBOOK_RUN": "/run",
    "HOURBOOK_TOPIC_PREFIX": "t-",
    "HOURBOOK_NAME": "matching-1-b",
    "HOURBOOK_FEED_KEY": FEED_KEY,
    "HOURBOOK_FEED_PORT": "8081",
    "HOURBOOK_FEED_URL": "wss://feed.example/v1/feed",
    "HOURBOOK_MARKET": "http://market-data:8082",
    "PATH": "/bin",
}


def test_everything_is_read() -> None:
    settings = Settings.from_environment(ALL, needs=("kafka", "postgres", "master_key"))
    assert settings == Settings(
        "127.0.0.1:9092,[::1]:9093",
        "matching",
        "open-kafka",
        Path(__file__),
        "postgresql://u:sesame@127.0.0.1/d",
        2,
        1,
        Path("/data"),
        bytes(range(32)),
        8080,
        0,
        "0.0.0.0",
        Path("/run"),
        "t-",
        "matching-1-b",
        bytes(range(100, 132)),
        8081,
        "wss://feed.example/v1/feed",
        "http://market-data:8082",
    )


def test_a_login_is_a_user_and_a_password() -> None:
    assert Settings.from_environment(ALL).login == Login("matching", "open-kafka", Path(__file__))
    assert Settings.from_environment({}).login is None
    for name, other in (("USER", "PASSWORD"), ("PASSWORD", "USER")):
        with pytest.raises(BadSettings, match=rf"^HOURBOOK_KAFKA_{name} is set and HOURBOOK_KAFKA_{other} is not: "):
            Settings.from_environment({f"HOURBOOK_KAFKA_{name}": "x"})
    with pytest.raises(
        BadSettings, match=r"^HOURBOOK_KAFKA_CA is set and HOURBOOK_KAFKA_USER is not: TLS is for logins$"
    ):
        Settings.from_environment({"HOURBOOK_KAFKA_CA": __file__})


def test_secrets_are_not_shown() -> None:
    settings = Settings.from_environment(ALL)
    shown = repr(settings) + repr(settings.login)
    assert "open-kafka" not in shown
    assert "sesame" not in shown
    assert KEY not in shown
    assert FEED_KEY not in shown
    assert "defgh" not in shown, "the feed key as its letters"
    assert "x01" not in shown


def test_only_what_a_service_needs_must_be_there() -> None:
    assert Settings.from_environment({}) == Settings()
    with pytest.raises(BadSettings, match=r"^HOURBOOK_KAFKA is not set; HOURBOOK_DATA is not set$"):
        Settings.from_environment({"HOURBOOK_SHARDS": "2"}, needs=("kafka", "shards", "data"))


@pytest.mark.parametrize(
    ("variable", "value", "sentence"),
    [
        ("KAFKA", "localhost", "HOURBOOK_KAFKA is 'localhost', wanted is host:port"),
        ("KAFKA", "a:1,b", "wanted is host:port"),
        ("KAFKA", "supply:sesame@a", "HOURBOOK_KAFKA is '***@a', wanted is host:port"),
        ("KAFKA", "a:1,supply:sesame@b:2", "HOURBOOK_KAFKA is 'a:1,***@b:2', wanted is host:port"),
        ("MARKET", "http://ana:sesame@market/", "HOURBOOK_MARKET is 'http://***@market/', wanted is http://host:port"),
        ("SHARDS", "0", "HOURBOOK_SHARDS is '0', wanted is a whole number from 1 to 256"),
        ("SHARDS", "257", "from 1 to 256"),
        ("SHARDS", "-1", "from 1 to 256"),
        ("SHARDS", "²", "from 1 to 256"),
        ("SHARD", "2", "HOURBOOK_SHARD is 2, of 2 shards"),
        ("STATUS_PORT", "65536", "from 0 to 65535"),
        ("LISTEN", "localhost", "HOURBOOK_LISTEN is 'localhost', wanted is an IP address of this machine"),
        ("MASTER_KEY", "c2VzYW1l", "HOURBOOK_MASTER_KEY is 6 bytes long, wanted are 32"),
        ("MASTER_KEY", "not base64!", "HOURBOOK_MASTER_KEY is not base64"),
        ("FEED_KEY", "c2VzYW1l", "HOURBOOK_FEED_KEY is 6 bytes long, wanted are 32"),
        ("FEED_URL", "http://feed", "HOURBOOK_FEED_URL is 'http://feed', wanted is ws://host:port"),
        ("MARKET", "http://market_data:8082/", "wanted is http://host:port without a slash at the end"),
    ],
)
def test_a_wrong_value_is_named(variable: str, value: str, sentence: str) -> None:
    with pytest.raises(BadSettings) as caught:
        Settings.from_environment({**ALL, f"HOURBOOK_{variable}": value})
    assert sentence in str(caught.value)
    assert variable not in {"MASTER_KEY", "FEED_KEY"} or value not in str(caught.value)

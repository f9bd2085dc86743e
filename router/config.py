"""Typed settings from environment variables. Junk is refused with the variable's name; any secret may come from NAME_FILE."""

import os
import re
from collections.abc import Mapping
from dataclasses import replace
from ipaddress import IPv4Network, IPv6Network, ip_address
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal
from urllib.parse import parse_qsl, urlencode, urlsplit

from pydantic import BaseModel, ConfigDict, Field, ValidationError, ValidationInfo, field_validator

if TYPE_CHECKING:
    from router.lib.smtp import MailServer

Network = IPv4Network | IPv6Network
Networks = tuple[Network, ...]

SECRETS = (
    *("ROUTER_SECRET_KEY", "ROUTER_DATABASE_URL", "TWILIO_AUTH_TOKEN", "ROUTER_MAIL_URL"),
    *("ROUTER_S3_ACCESS_KEY", "ROUTER_S3_SECRET_KEY"),
)
PUBLIC_URL = re.compile(r"https?://[^/\s?#@]+(/[^\s?#]*)?")
BUCKET = re.compile(r"[a-z0-9][a-z0-9.-]{1,62}(/[A-Za-z0-9._/-]{1,100})?")
HOST_AND_PORT = re.compile(r"(?P<host>\[[0-9A-Fa-f:.]+\]|[^:\[\]]+)(:(?P<port>\d{1,5}))?")


class SettingsError(Exception):
    """A setting cannot be used; the message names its variable and says why."""


class Settings(BaseModel):
    """All that an operator can set. `read_settings` reads the environment; tests pass values by field name."""

    model_config = ConfigDict(extra="forbid", populate_by_name=True, frozen=True)

    data_dir: Path = Path("data")
    database_url: str = Field(default="", repr=False)
    prepared_statements: Literal["auto", "on", "off"] = "auto"
    host: str = "127.0.0.1"
    port: int = Field(default=8000, ge=0, le=65535)
    public_url: str = ""
    secret_key: str = Field(default="", repr=False)
    fallback_destination: str = ""
    destination_countries: tuple[str, ...] = ()
    record_silently: bool = False
    trusted_proxies: Networks = (IPv4Network("127.0.0.0/8"), IPv6Network("::1/128"))
    carrier: Literal["simulator", "twilio"] = "simulator"
    twilio_account_sid: str = Field(default="", validation_alias="TWILIO_ACCOUNT_SID")
    twilio_auth_token: str = Field(default="", validation_alias="TWILIO_AUTH_TOKEN", repr=False)
    carrier_url: str = ""
    carrier_pricing_url: str = ""
    carrier_media_url: str = ""
    carrier_permissions_url: str = ""
    carrier_numbers_url: str = ""
    number_price: int = Field(default=0, ge=0, le=10**12)
    mail_url: str = Field(default="", repr=False)
    mail_from: str = ""
    s3_bucket: str = ""
    s3_url: str = ""
    s3_region: str = ""
    s3_access_key: str = Field(default="", repr=False)
    s3_secret_key: str = Field(default="", repr=False)
    geoip: Path | None = None
    allow_private: Networks = ()
    ca_file: Path | None = None
    visit_rate: str = "600/minute"
    crawl_rate: str = "60/minute"
    candidate_leases: int = Field(default=50, ge=1, le=200)
    candidate_days: int = Field(default=30, ge=1, le=365)
    telephone_workers: int = Field(default=2, ge=1, le=64)
    web_workers: int = Field(default=2, ge=1, le=64)
    web_threads: int = Field(default=4, ge=1, le=64)
    log_level: Literal["debug", "info", "warning", "error"] = "info"
    demo: bool = False  # set by `router demo` alone, never from the environment

    @field_validator("trusted_proxies", "allow_private", "destination_countries", mode="before")
    @classmethod
    def _split(cls, value: object) -> object:
        if not isinstance(value, str):
            return value
        return tuple(part.strip() for part in value.split(",") if part.strip())

    @field_validator(
        *("public_url", "carrier_url", "carrier_pricing_url", "carrier_media_url", "carrier_permissions_url"),
        *("carrier_numbers_url", "s3_url"),
    )
    @classmethod
    def _address(cls, value: str) -> str:
        if value and not value.startswith(("http://", "https://")):
            raise ValueError("must begin with https:// (or http:// on a closed network)")
        if value and not PUBLIC_URL.fullmatch(value):
            raise ValueError("must be an address like https://calls.example.com, without a question mark or spaces")
        return value.rstrip("/")

    @field_validator("s3_bucket")
    @classmethod
    def _bucket(cls, value: str) -> str:
        if value and not BUCKET.fullmatch(value):
            raise ValueError("must be a bucket, or a bucket and a prefix, like recordings or company/recordings")
        return value.rstrip("/")

    @field_validator("database_url")
    @classmethod
    def _database_address(cls, value: str) -> str:
        if value and not value.startswith(("postgresql://", "postgres://", "postgresql+psycopg://", "sqlite:///")):
            raise ValueError("must be an address like postgresql://user:password@host/database")
        if value.startswith("postgres"):
            address_for_sqlalchemy(value)
        return value

    @field_validator("mail_url")
    @classmethod
    def _mail_address(cls, value: str) -> str:
        if value:
            from router.lib.smtp import parse_mail_url  # imports a mail client

            parse_mail_url(value)
        return value

    @field_validator("mail_from")
    @classmethod
    def _mail_sender(cls, value: str) -> str:
        if value:
            from router.lib.smtp import is_email_address

            if not (value.isascii() and is_email_address(value, dotless=True)):
                raise ValueError("must be an e-mail address like calls@example.com")
        return value

    @field_validator("fallback_destination")
    @classmethod
    def _destination(cls, value: str) -> str:
        if value:
            from router.lib.phones import read_destination  # loads the numbering plans of the world

            return read_destination(value)
        return value

    @field_validator("destination_countries")
    @classmethod
    def _countries(cls, codes: tuple[str, ...]) -> tuple[str, ...]:
        if codes:
            from phonenumbers import SUPPORTED_REGIONS  # loads the numbering plans of the world

            codes = tuple(dict.fromkeys(code.upper() for code in codes))
            if unknown := [code for code in codes if code not in SUPPORTED_REGIONS]:
                raise ValueError(f"“{unknown[0]}” is not a country: must be codes of two letters like US,CA,GB")
        return codes

    @field_validator("visit_rate", "crawl_rate")
    @classmethod
    def _rate(cls, value: str, info: ValidationInfo) -> str:
        """Views may have several limits, crawlers have one."""
        from limits import parse, parse_many

        if value != "off":
            (parse_many if info.field_name == "visit_rate" else parse)(value)
        return value

    @property
    def database(self) -> str:
        """SQLAlchemy's address of the database: the one that was set, else the embedded one in the data folder."""
        if not self.database_url:
            return f"sqlite:///{self.data_dir.absolute() / 'router.db'}"
        if self.database_url.startswith("sqlite"):
            return self.database_url
        return address_for_sqlalchemy(self.database_url)

    @property
    def embedded(self) -> bool:
        return self.database.startswith("sqlite")

    @property
    def base_url(self) -> str:
        """Where the outside world reaches this server, without a slash at the end."""
        return self.public_url or f"http://{self.host}:{self.port}"

    @property
    def mail_server(self) -> "MailServer | None":
        """Where e-mails are handed in; None: they are shown and logged only."""
        from router.lib.smtp import parse_mail_url

        return replace(parse_mail_url(self.mail_url), ca_file=self.ca_file) if self.mail_url else None

    @property
    def mail_sender(self) -> str:
        """The sender of e-mails: the one that was set, else `router@` and the host of our own address."""
        if self.mail_from:
            return self.mail_from
        host = urlsplit(self.base_url).hostname or "localhost"
        try:
            return f"router@[{'IPv6:' if ip_address(host).version == 6 else ''}{host}]"
        except ValueError:
            return f"router@{host}"


def address_for_sqlalchemy(url: str) -> str:
    """PostgreSQL's address, where several hosts may stand as libpq takes them: `postgresql://user:password@a:5432,b:5433/database`.

    Of several hosts the one that can be written to is taken, unless the address says otherwise.

    Raises:
        ValueError: a port is no number.
    """
    address = "postgresql+psycopg://" + url.partition("://")[2]
    before_query, _, query = url.partition("://")[2].partition("?")
    authority, slash, database = before_query.partition("/")
    user, at, hosts = authority.rpartition("@")
    options = parse_qsl(query, keep_blank_values=True)
    if "," in hosts:
        places = [HOST_AND_PORT.fullmatch(place) for place in hosts.split(",")]
        found = [place for place in places if place]
        if len(found) != len(places):
            raise ValueError("must name several hosts like postgresql://user:password@a:5432,b:5432/database")
        options.append(("host", ",".join(place["host"].strip("[]") for place in found)))
        if any(place["port"] for place in found):
            options.append(("port", ",".join(place["port"] or "" for place in found)))
        address = f"postgresql+psycopg://{user}{at}{slash}{database}?{urlencode(options)}"
    named = [value for name, value in options if name == "host"]
    if (len(named) > 1 or "," in "".join(named)) and "target_session_attrs" not in dict(options):
        address += "&target_session_attrs=read-write"
    return address


def read_settings(environ: Mapping[str, str] | None = None) -> Settings:
    """Settings from the environment.

    Raises:
        SettingsError: a value cannot be used, or a NAME_FILE cannot be read; the variable is named.
    """
    environ = os.environ if environ is None else environ
    values: dict[str, Any] = {}
    for field, info in Settings.model_fields.items():
        if field == "demo":
            continue
        variable = info.validation_alias if isinstance(info.validation_alias, str) else f"ROUTER_{field.upper()}"
        source, value = variable, environ.get(variable, "").strip()
        if variable in SECRETS and (path := environ.get(f"{variable}_FILE")):
            source = f"{variable}_FILE"
            try:
                value = Path(path).read_text("utf-8").strip()
            except OSError as error:
                raise SettingsError(f"{source}: cannot read {path}: {error.strerror}") from None
            except UnicodeDecodeError:
                raise SettingsError(f"{source}: {path} is not text in UTF-8") from None
            if not value:
                raise SettingsError(f"{source}: {path} is empty")
        fault = value_problem(value)
        if variable == "ROUTER_SECRET_KEY":
            keys = [key.strip() for key in value.split(",")]
            # a file has one reader: an old key may stand there as it was
            new = keys if source == variable else keys[:1]
            fault = next((KEY_ADVICE.format(what) for key in new if (what := ambiguous_in(key))), None)
        if fault:
            raise SettingsError(f"{source}: {fault}")
        if value:
            values[field] = value
    try:
        return Settings(**values)
    except ValidationError as error:
        sentences = []
        for problem in error.errors():
            name = str(problem["loc"][0]) if problem["loc"] else "settings"
            variable = name if name.isupper() else f"ROUTER_{name.upper()}"
            sentences.append(f"{variable}: {problem['msg'].removeprefix('Value error, ')}")
        raise SettingsError("; ".join(sentences)) from None


KEY_ADVICE = (
    "the key contains {}, which systemd, a shell and Docker read in different ways. Use letters and digits (openssl rand -hex 32), "
    "and put no comment behind the value. A key that is in use goes on behind a new one, see “The secret key” in docs/settings.md"
)
AMBIGUOUS = (
    (re.compile(r"\s"), "a blank or a line end"),
    (re.compile(r"[\x00-\x1f\x7f]"), "a control character"),
    (re.compile(r"#"), "a “#”"),
    (re.compile(r"[\"'`]"), "a quote"),
    (re.compile(r"\\"), "a backslash"),
    (re.compile(r"[^ -~]"), "a character that is not ASCII"),
    (re.compile(r"([$%&;|<>()~])"), "a “{}”"),
)
"""A shell ends a value at a blank, expands `$` and `~`, and takes quotes, backslashes and `& ; | < > ( )` for its own; systemd takes quotes
and backslashes in an EnvironmentFile, and `%` in Environment=; Docker's --env-file takes everything as it stands, Compose expands `$`."""


def ambiguous_in(key: str) -> str | None:
    """What in a secret is read in another way by other programs; None: nothing."""
    for pattern, what in AMBIGUOUS:
        if match := pattern.search(key):
            return what.format(match[0])
    return None


def value_problem(value: str) -> str | None:
    """What shows that a value is not what somebody meant to write: a comment behind it, quotes that were kept, another line."""
    if re.search(r"\s#", value):
        return "holds a comment (a “#” after a blank), which belongs on a line of its own: a shell ends the value there, systemd does not"
    if re.search(r"[\x00-\x1f\x7f]", value):
        return "holds a line break or another control character"
    if len(value) > 1 and value[0] == value[-1] and value[0] in "\"'":
        return "stands in quotes, which Docker takes for part of the value: leave them out"
    return None

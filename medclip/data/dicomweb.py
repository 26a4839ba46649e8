"""An archive that speaks DICOMweb: search (QIDO-RS), retrieve (WADO-RS) and store (STOW-RS), DICOM PS3.18.

Credentials come from the environment. What is logged or raised names the service, never a query, a patient or a UID.
"""

from __future__ import annotations

import logging
import os
import re
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit, urlunsplit

from labelers.errors import UserError
from medclip.utils.extras import install
from medclip.utils.text import suggest

logger = logging.getLogger(__name__)

#: How an archive is named: dicomweb:http://host/dicom-web?StudyDate=20260101
PREFIX = "dicomweb:"
#: Begin of the environment variables that hold a token (_TOKEN) or user:password (_LOGIN).
VARIABLES = "MEDCLIP_DICOMWEB"
#: What studies can be searched by in every archive (PS3.18, table 10.6.1-5); others may be ignored by one.
KEYS = ("StudyInstanceUID", "StudyDate", "StudyTime", "StudyID", "AccessionNumber", "PatientID", "PatientName",
        "ModalitiesInStudy", "ReferringPhysicianName")  # fmt: skip
#: Computed and digital radiography. Secondary captures are left out: answers of this package are such.
_FILMS = ("1.2.840.10008.5.1.4.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1", "1.2.840.10008.5.1.4.1.1.1.1.1")
_STUDY, _SERIES, _INSTANCE, _CLASS = "0020000D", "0020000E", "00080018", "00080016"
_UID = re.compile(r"(?=.{1,64}$)[0-9]+(\.[0-9]+)*")
_HERE = ("localhost", "127.0.0.1", "::1")
_PAGE = 100
#: Seconds to wait for a connection, and for the next bytes of an answer.
_TIMEOUT = (10, 300)
#: Chunked requests begin above this many bytes; not every server takes them.
_CHUNK = 1 << 30


@dataclass(frozen=True)
class Film:
    """Where an archive keeps a film.

    Attributes:
        study: UID of the study.
        series: UID of the series.
        instance: UID of the film.
    """

    study: str
    series: str
    instance: str

    @property
    def name(self) -> str:
        """Returns what the film is called here."""
        return f"{self.study}/{self.series}/{self.instance}.dcm"


class Archive:
    """A DICOMweb service.

    Args:
        address: `dicomweb:URL`, which may end in what studies are searched by: `?StudyDate=20260101-20260107`.
        option: The option that named it, for messages.
        variables: Begin of the names of the environment variables with its token or login.

    Attributes:
        url: The service, without what is searched for.
        filters: What studies are searched by.

    Raises:
        UserError: The address is none, holds a password, searches by what not every archive knows, or a password would
            travel unencrypted to another machine.
        ImportError: The package that speaks DICOMweb is missing.
    """

    def __init__(self, address: str, *, option: str, variables: str = VARIABLES) -> None:
        parts = _parts(address, option)
        self.url = urlunsplit((parts.scheme, parts.netloc, parts.path.rstrip("/"), "", ""))
        self.filters = dict(parse_qsl(parts.query, keep_blank_values=True))
        if wrong := [key for key in self.filters if key not in KEYS]:
            raise UserError(
                f"{option}: studies cannot be searched by {wrong[0]}.{suggest(wrong[0], KEYS)} Expected are "
                f"{', '.join(KEYS)}."
            )
        if blank := [key for key, value in self.filters.items() if not value.strip()]:
            raise UserError(f"{option}: {blank[0]} is blank, by which every study would be found. Write a value.")
        self._variables = variables
        self._client = _client(self.url, _login(parts, variables))

    def films(self) -> list[Film]:
        """Returns the films of the studies that are searched for, in the order of the archive.

        Raises:
            UserError: No study is found.
            ConnectionError: The service cannot be reached, refuses, or answers otherwise than DICOMweb.
        """
        with self._explained("the search"):
            studies = list(self._all(_STUDY, self._client.search_for_studies, search_filters=self.filters))
            rows = [
                (study, row)
                for study in dict.fromkeys(_value(row, _STUDY) for row in studies)
                for row in self._all(_INSTANCE, self._client.search_for_instances, study_instance_uid=study)
            ]
            found = [
                Film(study, _value(row, _SERIES), _value(row, _INSTANCE))
                for study, row in rows
                if _value(row, _CLASS) in _FILMS
            ]
        if not studies:
            raise UserError(f"{self.url} knows no study that is searched for. Look at what stands behind the '?'.")
        others = Counter(_value(row, _CLASS) not in _FILMS for _, row in rows)[True]
        logger.info(
            "%s: %d studies, %d films (computed or digital radiography), and %d other objects, left out",
            self.url, len(studies), len(found), others,
        )  # fmt: skip
        return found

    def retrieve(self, film: Film, target: Path) -> None:
        """Writes a film into a file, in the transfer syntax in which it is stored.

        Raises:
            ConnectionError: It cannot be had.
        """
        with self._explained("the retrieval"):
            data = self._client.retrieve_instance(film.study, film.series, film.instance)
            if data.get("SOPInstanceUID") != film.instance:
                raise ValueError("another object came")
            data.save_as(target, enforce_file_format=True)

    def store(self, made: Any) -> None:
        """Stores one object, a pydicom data set.

        Raises:
            ConnectionError: The service did not take it.
        """
        with self._explained("the storage"):
            said = self._client.store_instances([made])
            if failed := said.get("FailedSOPSequence"):
                raise ConnectionError(f"{self.url} did not take it (failure reason {failed[0].get('FailureReason')}).")

    def _all(self, key: str, search: Callable[..., list[Any]], **what: Any) -> Iterator[Any]:
        """Yields all rows of a search: page by page, until one brings nothing new."""
        seen: set[str] = set()
        while True:
            rows = search(limit=_PAGE, offset=len(seen), **what)
            new = [row for row in rows if _value(row, key) not in seen]
            seen |= {_value(row, key) for row in new}
            yield from new
            if not new:
                return

    @contextmanager
    def _explained(self, doing: str) -> Iterator[None]:
        """Turns what can go wrong into one message that holds no query and no UID."""
        import requests

        try:
            yield
        except requests.HTTPError as error:
            status = error.response.status_code
            credentials = f" Set {self._variables}_TOKEN, or {self._variables}_LOGIN to user:password."
            raise ConnectionError(
                f"{self.url} answers {doing} with {status} {error.response.reason}."
                + (credentials if status in (401, 403) else "")
            ) from None
        except requests.exceptions.SSLError:
            raise ConnectionError(
                f"{self.url} shows a certificate that is not trusted here. Name the file of your authority in the "
                "environment variable REQUESTS_CA_BUNDLE."
            ) from None
        except requests.ConnectionError:
            raise ConnectionError(f"{self.url} cannot be reached. Is the service running?") from None
        except requests.Timeout:
            raise ConnectionError(f"{self.url} does not answer {doing}: no word within {_TIMEOUT[1]} s.") from None
        except ConnectionError:
            raise
        except Exception as error:  # an answer that is not what the standard says can fail in any way
            raise ConnectionError(
                f"{self.url} answers {doing} otherwise than DICOMweb does ({type(error).__name__}). Does the address "
                "lead to the service itself, such as http://host:8042/dicom-web?"
            ) from None


def _parts(address: str, option: str) -> Any:
    url = address.removeprefix(PREFIX)
    parts = urlsplit(url)
    if url == address or parts.scheme not in ("http", "https") or not parts.hostname:
        raise UserError(f"{option}: expected {PREFIX}URL, such as {PREFIX}http://127.0.0.1:8042/dicom-web.")
    if parts.username or parts.password:
        raise UserError(f"{option}: leave the password out of the address; set {VARIABLES}_LOGIN to user:password.")
    return parts


def _login(parts: Any, variables: str) -> dict[str, Any]:
    """Returns the credentials of the environment, as settings of a session."""
    token, login = os.environ.get(f"{variables}_TOKEN", ""), os.environ.get(f"{variables}_LOGIN", "")
    if not token and not login:
        return {}
    if parts.scheme == "http" and parts.hostname not in _HERE:
        raise UserError(
            f"{variables}_{'TOKEN' if token else 'LOGIN'} would travel unencrypted to {parts.hostname}. Use https."
        )
    if login and ":" not in login:
        raise UserError(f"{variables}_LOGIN: expected user:password.")
    return {"token": token} if token else {"login": tuple(login.split(":", 1))}


def _client(url: str, credentials: dict[str, Any]) -> Any:
    try:
        import requests
        from dicomweb_client.web import DICOMwebClient
    except ImportError as error:
        raise ImportError(f"Asking an archive needs an extra package: {install('dicomweb')} ({error})") from error
    logging.getLogger("dicomweb_client").setLevel(logging.CRITICAL)  # it logs UIDs, and queries with patient ids

    def with_token(request: Any) -> Any:
        request.headers["Authorization"] = f"Bearer {credentials['token']}"
        return request

    session = requests.Session()
    session.auth = with_token if "token" in credentials else credentials.get("login")
    client = DICOMwebClient(url, session=session, timeout=_TIMEOUT, chunk_size=_CHUNK)
    client.set_http_retry_params(max_attempts=3)
    return client


def _value(row: Any, tag: str) -> str:
    """Returns the one value of an element in DICOM JSON, "" without one; UIDs name files, so nothing else is let in."""
    values = row.get(tag, {}).get("Value") or [""]
    value = str(values[0])
    if value and not _UID.fullmatch(value):
        raise ValueError("an element that is no UID")
    return value

"""Detectors for detect-secrets: credentials it does not know."""

import re
from collections.abc import Generator

from detect_secrets.plugins.base import RegexBasedDetector
from detect_secrets.plugins.keyword import KeywordDetector


class AzureKeyDetector(RegexBasedDetector):
    """Account keys, SAS tokens and client secrets."""

    secret_type = "Azure credential"
    denylist = (
        # Storage and Cosmos DB: 64 bytes in base64, also after a JSON string's "\n".
        re.compile(
            r"(?:(?<![A-Za-z0-9+/])|(?<=\\[nrt]))"
            r"(?<!sha512-)"  # a lock file's checksum has the same shape
            r"(?!Eby8vdM02xNOcqF)"  # Azurite's key is public
            r"[A-Za-z0-9+/]{86}==(?![A-Za-z0-9+/=])"
        ),
        re.compile(r"SharedAccessKey=[A-Za-z0-9+/]{43}="),  # Event Hubs
        re.compile(r"sig=[A-Za-z0-9%+/]{40,}(?:%3[Dd]|=)"),  # SAS
        re.compile(r"[\w~.-]{3}\dQ~[\w~.-]{31,34}"),  # Entra ID client secret
    )


class DatabricksTokenDetector(RegexBasedDetector):
    """Personal access tokens, and OAuth secrets of service principals."""

    secret_type = "Databricks token"
    denylist = (re.compile(r"(?:dapi|dose)[0-9a-f]{32}"),)


class GitHubFineGrainedTokenDetector(RegexBasedDetector):
    """The newer tokens, which GitHubTokenDetector does not know."""

    secret_type = "GitHub fine-grained token"
    denylist = (re.compile(r"github_pat_\w{82}"),)


class CredentialKeywordDetector(KeywordDetector):
    """Generated values with a telling name; a secret scope's name is no secret."""

    generated = re.compile(r"(?=\S*\d)(?=\S*[A-Za-z])(?!\$)[^\s(){}\[\]<>]{12,}(?:\s|$)")

    def analyze_string(
        self, string: str, denylist_regex_to_group: dict[re.Pattern[str], int] | None = None
    ) -> Generator[str, None, None]:
        """Yield the values which look generated."""
        values = super().analyze_string(string, denylist_regex_to_group)
        yield from filter(self.generated.match, values)

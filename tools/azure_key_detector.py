"""Additional detectors for the tool detect-secrets. They detect credentials that the tool itself does not detect."""

import re
from collections.abc import Generator

from detect_secrets.plugins.base import RegexBasedDetector
from detect_secrets.plugins.keyword import KeywordDetector


class AzureKeyDetector(RegexBasedDetector):
    """Detector of account keys, SAS tokens and client secrets of Azure."""

    secret_type = "Azure credential"
    denylist = (
        # Keys of Storage and Cosmos DB: 64 bytes in base64. A key may follow an escaped line break in a JSON string.
        re.compile(
            r"(?:(?<![A-Za-z0-9+/])|(?<=\\[nrt]))"
            r"(?<!sha512-)"  # checksums in lock files have the same form
            r"(?!Eby8vdM02xNOcqF)"  # the key of Azurite is public
            r"[A-Za-z0-9+/]{86}==(?![A-Za-z0-9+/=])"
        ),
        re.compile(r"SharedAccessKey=[A-Za-z0-9+/]{43}="),  # Event Hubs
        re.compile(r"sig=[A-Za-z0-9%+/]{40,}(?:%3[Dd]|=)"),  # SAS
        re.compile(r"[\w~.-]{3}\dQ~[\w~.-]{31,34}"),  # Entra ID client secret
    )


class DatabricksTokenDetector(RegexBasedDetector):
    """Detector of personal access tokens, and of OAuth secrets of service principals."""

    secret_type = "Databricks token"
    denylist = (re.compile(r"(?:dapi|dose)[0-9a-f]{32}"),)


class GitHubFineGrainedTokenDetector(RegexBasedDetector):
    """Detector of fine-grained tokens, which GitHubTokenDetector does not detect."""

    secret_type = "GitHub fine-grained token"
    denylist = (re.compile(r"github_pat_\w{82}"),)


class CredentialKeywordDetector(KeywordDetector):
    """Detector of values that are assigned to a name such as `password` and that look generated.

    Values that do not look generated, such as the name of a secret scope, are ignored.
    """

    generated = re.compile(r"(?=\S*\d)(?=\S*[A-Za-z])(?!\$)[^\s(){}\[\]<>]{12,}(?:\s|$)")

    def analyze_string(
        self, string: str, denylist_regex_to_group: dict[re.Pattern[str], int] | None = None
    ) -> Generator[str, None, None]:
        """Yield the values that look generated."""
        values = super().analyze_string(string, denylist_regex_to_group)
        yield from filter(self.generated.match, values)

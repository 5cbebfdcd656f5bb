"""Invented names and places of the demo shop. No name is taken from a list of persons.

First names are ordinary first names. Last names, cities and streets are made of syllables. The first names of a pool
are the most frequent.
"""

from __future__ import annotations

import itertools

import numpy as np
from numpy.typing import NDArray

_MALE = (
    "James,Oliver,Thomas,William,Michael,Daniel,José,Robert,Alexander,Joseph,Samuel,Benjamin,Seán,Andrew,Matthew,"
    "Christopher,Nicholas,Edward,Ciarán,Anthony,René,Frederick,Gregory,Stephen,Patrick,André,Timothy,Zachary,Tomás,Leonard,"
    "Jürgen,Vincent,Søren,Raymond,Philip,Rubén,Douglas,Kenneth,Ronald,Gerald,Óscar,Martin,Eugene,Hugo,Ivo,Jarek,Kasper,Lorcan"
).split(",")
_FEMALE = (
    "Elizabeth,Margaret,Catherine,Emily,Sofía,Alexandra,Susan,Jennifer,Rebecca,Chloë,Victoria,Patricia,Deborah,Samantha,"
    "Zoë,Barbara,Christine,Amelia,Siân,Josephine,Isabella,Theresa,Renée,Abigail,Madeleine,Pamela,Natalie,Aoife,Jacqueline,"
    "Róisín,Gabrielle,Penelope,Inés,Cynthia,Rosalind,Beatrice,Mónica,Harriet,Judith,Marjorie,Agnès,Winifred,Ottilie,Petra,"
    "Quilla,Rhona,Saskia,Thora"
).split(",")
_NICKNAMES = dict(
    pair.split(":")
    for pair in (
        "James:Jim,Oliver:Ollie,Thomas:Tom,William:Bill,Michael:Mike,Daniel:Dan,José:Pepe,Robert:Bob,Alexander:Alex,Joseph:Joe,"
        "Samuel:Sam,Benjamin:Ben,Andrew:Andy,Matthew:Matt,Christopher:Chris,Nicholas:Nick,Edward:Ted,Anthony:Tony,"
        "Frederick:Fred,Gregory:Greg,Stephen:Steve,Patrick:Paddy,Timothy:Tim,Zachary:Zach,Leonard:Len,Vincent:Vince,"
        "Raymond:Ray,Philip:Phil,Douglas:Doug,Kenneth:Ken,Ronald:Ron,Gerald:Gerry,Eugene:Gene,Elizabeth:Liz,Margaret:Peggy,"
        "Catherine:Kate,Alexandra:Alex,Susan:Sue,Jennifer:Jenny,Rebecca:Becky,Victoria:Vicky,Patricia:Pat,Deborah:Debbie,"
        "Samantha:Sam,Barbara:Babs,Christine:Chris,Josephine:Jo,Isabella:Bella,Theresa:Terry,Abigail:Abby,Madeleine:Maddy,"
        "Pamela:Pam,Natalie:Nat,Jacqueline:Jackie,Gabrielle:Gabby,Penelope:Penny,Cynthia:Cindy,Beatrice:Bea,Judith:Judy"
    ).split(",")
)
_HEADS = (
    "Bran,Cal,Dor,Elm,Fen,Gar,Hol,Ing,Jar,Kel,Lan,Mar,Nor,Ös,Pel,Quen,Rav,Sel,Tor,Ul,Vár,Wen,Yar,Zim,Ash,Black".split(
        ","
    )
)
_MIDDLES = "a,e,i,o,den,der,lo,mi,ne,ri,sa,ta,va,wo".split(",")
_TAILS = (
    "bury,combe,dale,field,gate,ham,kin,ley,mont,ner,nough,ridge,sen,son,stead,ström,thorpe,ton,well,worth,ski,vić"
).split(",")
_STREETS = (
    "Acre Lane,Beacon Road,Canal Walk,Dairy Street,East Parade,Ferry Road,Granary Lane,High Street,Inn Yard".split(",")
)

FIRST_NAMES = np.array([_MALE, _FEMALE], dtype=object)
"""First names: a row of male names and a row of female names."""

NICKNAMES = np.array([[_NICKNAMES.get(name, name) for name in row] for row in (_MALE, _FEMALE)], dtype=object)
"""Nickname of each first name. It is the first name if the name has no nickname."""

SHOP_EMAILS = np.array(["noreply@example.com", "test@example.com", "info@example.org"], dtype=object)
"""E-mail addresses that staff type if a customer gives none."""

EMAIL_HOSTS = np.array(
    ["example.com", "example.org", "example.net", "mail.example.com", "post.example.org"], dtype=object
)
COUNTRIES = np.array(["GB", "IE", "US"], dtype=object)
COUNTRY_NAMES = {"GB": ("United Kingdom", "GB"), "IE": ("Ireland", "IE"), "US": ("United States", "USA")}
"""Spellings of each country, the most frequent spelling first."""

CALLING_CODES = {"GB": "44", "IE": "353", "US": "1"}
CITIES = np.array(
    [h + m + t for h, m, t in itertools.product(_HEADS[:20], ("", "er"), ("port", "mouth", "minster"))], dtype=object
)
STREETS = np.array(_STREETS, dtype=object)


def last_names(seed: int) -> NDArray[np.object_]:
    """Return all last names in a random order of frequency."""
    names = sorted({h + m + t for h, m, t in itertools.product(_HEADS, _MIDDLES, _TAILS)})
    return np.random.default_rng(seed).permutation(np.array(names, dtype=object))


def zipf(rng: np.random.Generator, size: int, count: int, power: float = 0.7) -> NDArray[np.int64]:
    """Return `count` numbers below `size`. The number r is drawn with a probability that falls as (r + 5) ** -power."""
    weights = np.cumsum((np.arange(size) + 5.0) ** -power)
    drawn: NDArray[np.int64] = np.searchsorted(weights, rng.random(count) * weights[-1]).astype(np.int64)
    return drawn

"""The word list: which words make a text risky, in several languages, and what they mean to each label table."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal


__all__ = ["WORDS", "Level", "Word"]


Level = Literal["none", "low", "medium", "high"]


@dataclass(frozen=True, slots=True)
class Word:
    """One risk word. A table whose label is None does not know the risk: its services find nothing in the word.

    `library` names the customer's own word library that holds it, for label `customized`.
    """

    text: str
    language: str
    mainland: str | None
    international: str | None
    level: Level
    confidence: float
    library: str | None = None


# (label in the Chinese mainland, label in international markets, level, confidence): {language: words}
_LIST: dict[tuple[str | None, str | None, Level, float], dict[str, tuple[str, ...]]] = {
    ("pornographic_adult", "pornographic_adult", "high", 98.61): {
        "en": ("porn video", "adult video for free"),
        "zh": ("色情视频",),
        "es": ("video porno",),
        "ja": ("ポルノ動画",),
        "ru": ("порно видео",),
    },
    ("sexual_terms", "sexual_terms", "low", 58.2): {"en": ("sexual health",), "zh": ("性健康",)},
    ("sexual_suggestive", "sexual_suggestive", "medium", 81.22): {
        "en": ("sexy pics",),
        "zh": ("性感写真",),
        "es": ("fotos sensuales",),
    },
    (None, "sexual_orientation", "low", 55.1): {"en": ("coming-out story",)},
    ("political_n", "regional_controversial", "medium", 83.4): {
        "en": ("rigged election",),
        "zh": ("操纵选举",),
        "es": ("elecciones amañadas",),
    },
    ("violent_extremist", "violent_extremist", "high", 97.3): {
        "en": ("join the militia",),
        "zh": ("加入武装组织",),
        "fr": ("rejoindre la milice",),
    },
    ("violent_incidents", "violent_incidents", "high", 96.05): {
        "en": ("bomb attack",),
        "zh": ("爆炸袭击",),
        "de": ("Bombenanschlag",),
        "es": ("ataque con bomba",),
        "ko": ("폭탄 테러",),
    },
    ("violent_weapons", "violent_weapons", "high", 94.8): {
        "en": ("buy a gun", "ghost gun"),
        "zh": ("出售枪支",),
        "de": ("Waffen kaufen",),
        "es": ("comprar armas",),
        "ru": ("купить оружие",),
    },
    (None, "violence_unscList", "high", 99.0): {"en": ("sanctioned syndicate",)},
    ("contraband_drug", "contraband_drug", "high", 99.12): {
        "en": ("buy cocaine",),
        "zh": ("出售毒品",),
        "ar": ("شراء المخدرات",),
        "de": ("Drogen kaufen",),
        "es": ("comprar cocaína",),
        "fr": ("acheter de la cocaïne",),
        "id": ("beli narkoba",),
        "it": ("comprare cocaina",),
        "ja": ("薬物販売",),
        "ko": ("마약 판매",),
        "ru": ("купить наркотики",),
        "th": ("ซื้อยาเสพติด",),
        "vi": ("mua ma túy",),
    },
    ("contraband_gambling", "contraband_gambling", "high", 92.75): {
        "en": ("online casino",),
        "zh": ("在线赌场",),
        "ar": ("كازينو اون لاين",),
        "es": ("casino en línea",),
        "id": ("judi online",),
        "ja": ("オンラインカジノ",),
        "ko": ("온라인 카지노",),
        "pt": ("cassino online",),
        "ru": ("онлайн-казино",),
    },
    ("contraband_act", None, "medium", 79.9): {"en": ("fake passport",), "zh": ("假护照",)},
    ("inappropriate_discrimination", "regional_racism", "high", 90.33): {
        "en": ("go back to your country",),
        "zh": ("滚回你的国家",),
    },
    ("inappropriate_ethics", "inappropriate_ethics", "medium", 74.6): {
        "en": ("cheat on her husband",),
        "zh": ("婚外情",),
    },
    ("inappropriate_profanity", "inappropriate_profanity", "medium", 88.2): {
        "en": ("you idiot", "you moron"),
        "zh": ("大傻瓜",),
        "de": ("du Vollidiot",),
        "es": ("eres idiota",),
        "fr": ("espèce d'idiot",),
        "ja": ("バカ野郎",),
        "ko": ("바보야",),
        "pt": ("seu idiota",),
        "ru": ("ты придурок",),
    },
    ("inappropriate_oral", "inappropriate_oral", "low", 62.4): {
        "en": ("damn it",),
        "zh": ("我靠",),
        "de": ("verdammt nochmal",),
        "fr": ("zut alors",),
    },
    ("inappropriate_superstition", None, "low", 60.0): {"en": ("fortune telling",), "zh": ("算命",)},
    ("inappropriate_nonsense", None, "low", 51.7): {"en": ("asdf asdf asdf",)},
    (None, "inappropriate_religion", "medium", 77.0): {"en": ("blasphemous rant",)},
    ("religion_b", None, "low", 57.5): {"zh": ("佛教法会",)},
    ("pt_to_contact", "pt_to_contact", "medium", 82.15): {
        "en": ("add my whatsapp",),
        "zh": ("加我微信",),
        "es": ("agrégame a whatsapp",),
        "ko": ("카톡 추가",),
    },
    ("pt_to_sites", "pt_to_sites", "medium", 76.3): {
        "en": ("click this link",),
        "zh": ("点击链接",),
        "es": ("haz clic aquí",),
    },
    ("pt_by_recruitment", None, "medium", 80.0): {"en": ("earn money at home",), "zh": ("刷单兼职",)},
    ("customized", "customized", "high", 100.0): {
        "en": ("forbidden brand",),
        "zh": ("违禁品牌",),
        "es": ("marca prohibida",),
    },
}

WORDS: tuple[Word, ...] = tuple(
    Word(
        text,
        language,
        mainland,
        international,
        level,
        confidence,
        "Simulator Library" if mainland == "customized" else None,
    )
    for (mainland, international, level, confidence), words in _LIST.items()
    for language, texts in words.items()
    for text in texts
)

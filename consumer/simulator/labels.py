"""The labels of the vendor's tables, each with the description the simulator gives it."""

from __future__ import annotations


__all__ = ["AIGC", "BASELINE", "NO_RISK", "NO_RISK_LIBRARY", "TEXT_INTERNATIONAL", "TEXT_MAINLAND"]


NO_RISK = "nonLabel"
NO_RISK_LIBRARY = "nonLabel_lib"

_TEXT_COMMON = {
    "pornographic_adult": "Suspected pornographic content",
    "sexual_terms": "Suspected sexual health content",
    "sexual_suggestive": "Suspected vulgar content",
    "violent_extremist": "Suspected extremist organization",
    "violent_incidents": "Suspected extremist content",
    "violent_weapons": "Suspected weapons and ammunition",
    "contraband_drug": "Suspected drug-related content",
    "contraband_gambling": "Suspected gambling-related content",
    "inappropriate_ethics": "Suspected unethical content",
    "inappropriate_profanity": "Suspected offensive or abusive content",
    "inappropriate_oral": "Suspected vulgar language",
    "pt_to_sites": "Suspected redirection to external sites",
    "pt_to_contact": "Suspected contact information for advertising",
    "customized": "Hit a custom library",
}

# The text page: "Risk labels for services in the Chinese mainland".
TEXT_MAINLAND = {
    **_TEXT_COMMON,
    "political_figure": "Suspected political figure",
    "political_entity": "Suspected political entity",
    "political_n": "Suspected sensitive political content",
    "political_p": "Suspected politically prohibited figure",
    "political_a": "Enhanced detection of high-priority political content",
    "contraband_act": "Suspected prohibited behavior",
    "contraband_entity": "Suspected prohibited tools",
    "inappropriate_discrimination": "Suspected biased or discriminatory content",
    "inappropriate_superstition": "Suspected superstitious content",
    "inappropriate_nonsense": "Suspected spam or meaningless content",
    "pt_by_recruitment": "Suspected ads for part-time jobs",
    "religion_b": "Suspected content related to Buddhism",
    "religion_t": "Suspected content related to Taoism",
    "religion_c": "Suspected content related to Christianity",
    "religion_i": "Suspected content related to Islam",
    "religion_h": "Suspected content related to Hinduism",
}

# The text page: "Risk labels for services for international markets".
TEXT_INTERNATIONAL = {
    **_TEXT_COMMON,
    "sexual_orientation": "Suspected content related to sexual orientation",
    "regional_cn": "Suspected politically sensitive content",
    "regional_illegal": "Suspected illegal political content",
    "regional_controversial": "Suspected political controversy",
    "regional_racism": "Suspected racism",
    "violence_unscList": "United Nations sanctions list",
    "inappropriate_religion": "Suspected religious blasphemy",
}

# The image page, table 4: labels of baselineCheck_global. `_tii` means that the text in the image has the risk.
BASELINE = {
    "pornographic_adultContent": "Adult pornographic content",
    "pornographic_cartoon": "Pornographic cartoon",
    "pornographic_adultToys": "Adult toys",
    "pornographic_art": "Pornographic artwork",
    "pornographic_adultContent_tii": "Pornographic text",
    "pornographic_suggestive_tii": "Vulgar text",
    "pornographic_o_tii": "Inappropriate text",
    "pornographic_organs_tii": "Text about sexual organs",
    "pornographic_adultToys_tii": "Text about adult toys",
    "sexual_suggestiveContent": "Sexually suggestive content",
    "sexual_femaleUnderwear": "Underwear or swimwear",
    "sexual_cleavage": "Cleavage",
    "sexual_maleTopless": "Shirtless men",
    "sexual_cartoon": "Suggestive cartoon",
    "sexual_shoulder": "Suggestive shoulders",
    "sexual_femaleLeg": "Suggestive legs",
    "sexual_pregnancy": "Pregnancy or breastfeeding",
    "sexual_feet": "Suggestive feet",
    "sexual_kiss": "Kissing",
    "sexual_intimacy": "Intimate behaviour",
    "sexual_intimacyCartoon": "Intimate behaviour in a cartoon",
    "violent_explosion": "Smoke, fire or fireworks",
    "violent_burning": "Burning",
    "violent_armedForces": "Terrorist organization",
    "violent_weapon": "Military equipment",
    "violent_crowding": "Crowd gathering",
    "violent_gun": "Guns",
    "violent_knives": "Knives",
    "violent_horrific": "Horrific content",
    "violent_nazi": "Nazi symbols",
    "violent_bloody": "Bloody content",
    "violent_extremistGroups_tii": "Text about extremist groups",
    "violent_extremistIncident_tii": "Text about extremist incidents",
    "violence_weapons_tii": "Text about guns and knives",
    "violent_ACU": "Combat uniforms",
    "contraband_drug": "Drugs",
    "contraband_drug_tii": "Text about drugs",
    "contraband_gamble": "Gambling",
    "contraband_gamble_tii": "Text about gambling",
    "inappropriate_smoking": "Smoking",
    "inappropriate_drinking": "Alcohol",
    "inappropriate_tattoo": "Tattoos",
    "inappropriate_middleFinger": "Middle finger",
    "inappropriate_foodWasting": "Wasted food",
    "profanity_Offensive_tii": "Offensive text",
    "profanity_Oral_tii": "Coarse text",
    "religion_clothing": "Religious clothing",
    "religion_logo": "Religious logo",
    "religion_flag": "Religious flag",
    "religion_taboo1_tii": "Prohibited text",
    "religion_taboo2_tii": "Prohibited text",
    "flag_country": "Flag of a country",
    "political_historicalNihility": "Specific content",
    "political_historicalNihility_tii": "Specific text",
    "political_politicalFigure_1": "Political figure",
    "political_politicalFigure_2": "Political figure",
    "political_politicalFigure_3": "Political figure",
    "political_politicalFigure_4": "Political figure",
    "political_politicalFigure_name_tii": "Name of a political figure",
    "political_prohibitedPerson_1": "Prohibited person",
    "political_prohibitedPerson_2": "Prohibited person",
    "political_prohibitedPerson_tii": "Text about a prohibited person",
    "political_taintedCelebrity": "Tainted celebrity",
    "political_taintedCelebrity_tii": "Text about a tainted celebrity",
    "political_CNFlag": "National flag",
    "political_CNMap": "National map",
    "political_logo": "Political logo",
    "political_outfit": "Political outfit",
    "political_badge": "Political badge",
    "pt_logo": "Logo",
    "QRCode": "QR code",
    "pt_custom_01": "Custom label 01",
    "pt_custom_02": "Custom label 02",
}

# The page of AIGC detection: "An AIGC or user-generated content (UGC) label is returned".
AIGC = {"aigc": "Suspected AI-generated image", "ugc": "Not an AI-generated image"}

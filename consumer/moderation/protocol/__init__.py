"""The words of Content Moderation 2.0: requests, signatures, answers, codes, services, prices. Nothing is sent here."""

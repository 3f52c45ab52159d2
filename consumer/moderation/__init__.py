"""Content Moderation 2.0: what is sent, how it is signed, what comes back and what it means. No Kafka in here."""

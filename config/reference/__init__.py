"""The configuration's reference: its page and its JSON Schema, made from the models that check it."""

"""Commands of the developers and of CI, which are in no release."""

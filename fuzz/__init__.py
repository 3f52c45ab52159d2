"""Long runs of random input against promises that must never break; short forms of them are among the tests."""

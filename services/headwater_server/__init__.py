"""The three services of Headwater and what they run on."""
